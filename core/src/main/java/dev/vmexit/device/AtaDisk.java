package dev.vmexit.device;

/**
 * An ATA disk (ATA/ATAPI-6, T13 1410D): 28- and 48-bit addresses and those by cylinder, head and
 * sector; PIO by one sector or several, and multiword DMA.
 */
final class AtaDisk extends IdeDrive {
  static final int SECTOR = 512;

  private static final int DEVICE_LBA = 1 << 6;
  private static final int MAX_MULTIPLE = 16;
  private static final int HEADS = 16;
  private static final int SECTORS = 63;
  private static final int MAX_CYLINDERS = 16_383;
  private static final long MAX_28_BITS = 0x0FFF_FFFFL;

  private final long sectors;
  private final String serial;

  /** Sectors a block in the commands READ and WRITE MULTIPLE; 0: not set. */
  private int multiple = MAX_MULTIPLE;

  // As INITIALIZE DEVICE PARAMETERS sets them.
  private int heads = HEADS;
  private int sectorsPerTrack = SECTORS;

  /** Multiword DMA mode that SET FEATURES chose. */
  private int dmaMode = 2;

  AtaDisk(final BlockStore store, final String serial) {
    super(store);
    this.sectors = store.bytes() / SECTOR;
    this.serial = serial;
    signature();
  }

  @Override
  void signature() {
    count = 1;
    low = 1;
    mid = 0;
    high = 0;
    device = 0;
    error = 1;
    status = STATUS_READY | STATUS_SEEK;
  }

  @Override
  void command(final int command) {
    switch (command) {
      case 0xEC -> send(identify(), SECTOR, SECTOR, false);
      case 0x20, 0x21 -> transfer(false, false, SECTOR, false);
      case 0x24 -> transfer(true, false, SECTOR, false);
      case 0x30, 0x31 -> transfer(false, true, SECTOR, false);
      case 0x34 -> transfer(true, true, SECTOR, false);
      case 0xC4 -> multiple(false, false);
      case 0x29 -> multiple(true, false);
      case 0xC5 -> multiple(false, true);
      case 0x39 -> multiple(true, true);
      case 0xC8, 0xC9 -> transfer(false, false, SECTOR, true);
      case 0x25 -> transfer(true, false, SECTOR, true);
      case 0xCA, 0xCB -> transfer(false, true, SECTOR, true);
      case 0x35 -> transfer(true, true, SECTOR, true);
      case 0x40, 0x41 -> verify(false);
      case 0x42 -> verify(true);
      case 0xC6 -> setMultiple();
      case 0xEF -> setFeatures();
      case 0xE7, 0xEA -> flush();
      case 0x91 -> {
        heads = (device & 0xF) + 1;
        sectorsPerTrack = count == 0 ? SECTORS : count;
        done();
      }
      case 0xF8 -> nativeMax(false);
      case 0x27 -> nativeMax(true);
      case 0xE5 -> {
        count = 0xFF; // active
        done();
      }
      case 0xE0, 0xE1, 0xE2, 0xE3 -> done();
      default -> {
        if (command >>> 4 == 1 || command >>> 4 == 7) {
          done(); // RECALIBRATE, SEEK
        } else {
          fail(ERROR_ABORT);
        }
      }
    }
  }

  private void done() {
    ready();
    interrupts(true);
  }

  // ---- addresses ----

  private long sectorCount(final boolean extended) {
    if (extended) {
      final int number = countBefore << 8 | count;
      return number == 0 ? 65_536 : number;
    }
    return count == 0 ? 256 : count;
  }

  /** The first sector, or -1 where the address is none. */
  private long address(final boolean extended) {
    if (extended) {
      return (long) highBefore << 40
          | (long) midBefore << 32
          | (long) lowBefore << 24
          | high << 16
          | mid << 8
          | low;
    }
    if ((device & DEVICE_LBA) != 0) {
      return (long) (device & 0xF) << 24 | high << 16 | mid << 8 | low;
    }
    if (low == 0) {
      return -1;
    }
    return ((long) (high << 8 | mid) * heads + (device & 0xF)) * sectorsPerTrack + low - 1;
  }

  private boolean inside(final long first, final long number) {
    return first >= 0 && first <= sectors - number;
  }

  private void transfer(
      final boolean extended, final boolean write, final int block, final boolean byDma) {
    final long first = address(extended);
    final long number = sectorCount(extended);
    if (!inside(first, number)) {
      fail(ERROR_NOT_FOUND);
    } else if (write && !store.isWritable()) {
      fail(ERROR_ABORT);
    } else {
      stream(first * SECTOR, number * SECTOR, block, write, byDma);
    }
  }

  private void multiple(final boolean extended, final boolean write) {
    if (multiple == 0) {
      fail(ERROR_ABORT);
    } else {
      transfer(extended, write, multiple * SECTOR, false);
    }
  }

  private void verify(final boolean extended) {
    if (inside(address(extended), sectorCount(extended))) {
      done();
    } else {
      fail(ERROR_NOT_FOUND);
    }
  }

  private void setMultiple() {
    if (count > MAX_MULTIPLE || Integer.bitCount(count) > 1) {
      fail(ERROR_ABORT);
    } else {
      multiple = count;
      done();
    }
  }

  private void setFeatures() {
    switch (features) {
      case 0x03 -> {
        // Transfer mode: PIO default and flow control, multiword DMA 0 to 2.
        final int type = count >>> 3;
        final int mode = count & 7;
        if (type <= 1) {
          done();
        } else if (type == 4 && mode <= 2) {
          dmaMode = mode;
          done();
        } else {
          fail(ERROR_ABORT);
        }
      }
      // Write cache, look-ahead, defaults at reset: as they are.
      case 0x02, 0x82, 0xAA, 0x55, 0x66, 0xCC -> done();
      default -> fail(ERROR_ABORT);
    }
  }

  private void flush() {
    if (store.flush()) {
      done();
    } else {
      fail(ERROR_ABORT);
    }
  }

  private void nativeMax(final boolean extended) {
    final long last = extended ? sectors - 1 : Math.min(sectors, MAX_28_BITS) - 1;
    low = (int) last & 0xFF;
    mid = (int) (last >> 8) & 0xFF;
    high = (int) (last >> 16) & 0xFF;
    if (extended) {
      lowBefore = (int) (last >> 24) & 0xFF;
      midBefore = (int) (last >> 32) & 0xFF;
      highBefore = (int) (last >> 40) & 0xFF;
    } else {
      device = device & 0xF0 | (int) (last >> 24) & 0xF;
    }
    done();
  }

  // ---- streams ----

  @Override
  void blockReady(final int bytes, final boolean first) {
    status = STATUS_READY | STATUS_SEEK | STATUS_DATA;
    // The first block of a write is asked for without an interrupt.
    if (!first || !writing()) {
      interrupts(true);
    }
  }

  private boolean writing() {
    return dmaToDrive();
  }

  @Override
  void streamDone(final boolean byDma) {
    ready();
    count = 0;
    // The last block of a read by PIO has had its interrupt.
    if (byDma || writing()) {
      interrupts(true);
    }
  }

  @Override
  void streamFailed() {
    fail(writing() ? ERROR_ABORT : ERROR_UNCORRECTABLE);
  }

  @Override
  void blockWritten(final byte[] block) {
    throw new IllegalStateException("a disk takes no packets");
  }

  // ---- IDENTIFY DEVICE ----

  private byte[] identify() {
    final byte[] id = new byte[SECTOR];
    final int cylinders = (int) Math.min(sectors / (HEADS * SECTORS), MAX_CYLINDERS);
    word(id, 0, 0x0040); // fixed
    word(id, 1, cylinders);
    word(id, 3, HEADS);
    word(id, 6, SECTORS);
    text(id, 10, 10, serial);
    text(id, 23, 4, "1.0");
    text(id, 27, 20, "vmexit disk");
    word(id, 47, 0x8000 | MAX_MULTIPLE);
    word(id, 49, 0x0F00); // IORDY, LBA, DMA
    word(id, 50, 0x4000);
    word(id, 51, 0x0200);
    word(id, 53, 0x0003);
    final int current = (int) Math.min(sectors / (heads * sectorsPerTrack), 65_535);
    word(id, 54, current);
    word(id, 55, heads);
    word(id, 56, sectorsPerTrack);
    final int capacity = current * heads * sectorsPerTrack;
    word(id, 57, capacity);
    word(id, 58, capacity >>> 16);
    word(id, 59, multiple == 0 ? 0 : 0x0100 | multiple);
    final long short28 = Math.min(sectors, MAX_28_BITS);
    word(id, 60, (int) short28);
    word(id, 61, (int) (short28 >> 16));
    word(id, 63, 0x0007 | 0x0100 << dmaMode);
    word(id, 64, 0x0003); // PIO 3 and 4
    word(id, 65, 120);
    word(id, 66, 120);
    word(id, 67, 120);
    word(id, 68, 120);
    word(id, 80, 0x007E); // ATA-1 to ATA/ATAPI-6
    word(id, 81, 0x0019);
    word(id, 82, 0x4020); // NOP, write cache
    word(id, 83, 0x7400); // 48-bit addresses, FLUSH CACHE and EXT
    word(id, 84, 0x4000);
    word(id, 85, 0x4020);
    word(id, 86, 0x3400);
    word(id, 87, 0x4000);
    word(id, 93, 0x6001); // passed its reset
    for (int i = 0; i < 4; i++) {
      word(id, 100 + i, (int) (sectors >> 16 * i));
    }
    return id;
  }
}
