package dev.vmexit.device;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * A CD drive with a disc in it: packets over ATA (ATA/ATAPI-6, T13 1410D, 9.8), commands of SPC-3
 * and MMC-5. The disc is one track of data in blocks of 2,048 bytes.
 */
final class AtapiDrive extends IdeDrive {
  static final int BLOCK_BYTES = 2048;

  private static final int PACKET = 12;
  private static final int LEAD_OUT = 0xAA;

  // Interrupt reason, in the register of the sector count.
  private static final int REASON_COMMAND = 1;
  private static final int REASON_TO_HOST = 2;

  private static final int FEATURE_DMA = 1;
  private static final int CHECK_CONDITION = 1;

  private static final int NO_SENSE = 0;
  private static final int MEDIUM_ERROR = 3;
  private static final int ILLEGAL_REQUEST = 5;
  private static final int UNIT_ATTENTION = 6;

  private static final int UNRECOVERED_READ = 0x11;
  private static final int BAD_COMMAND = 0x20;
  private static final int BAD_ADDRESS = 0x21;
  private static final int BAD_FIELD = 0x24;
  private static final int POWER_ON = 0x29;

  private final long blocks;
  private int senseKey = UNIT_ATTENTION;
  private int senseCode = POWER_ON;
  private int dmaMode = 2;

  AtapiDrive(final BlockStore store) {
    super(store);
    this.blocks = store.bytes() / BLOCK_BYTES;
    signature();
  }

  @Override
  void signature() {
    count = 1;
    low = 1;
    mid = 0x14;
    high = 0xEB;
    device = 0;
    error = 1;
    status = 0;
  }

  @Override
  void command(final int command) {
    switch (command) {
      case 0xA0 -> {
        expect(PACKET);
        count = REASON_COMMAND;
        error = 0;
        status = STATUS_READY | STATUS_SEEK | STATUS_DATA;
      }
      case 0xA1 -> send(identify(), AtaDisk.SECTOR, AtaDisk.SECTOR, false);
      case 0x08 -> {
        reset();
        interrupts(true);
      }
      case 0xEC -> {
        signature();
        fail(ERROR_ABORT);
      }
      case 0xEF -> setFeatures();
      case 0xE0, 0xE1, 0xE2, 0xE3 -> done();
      case 0xE5 -> {
        count = 0xFF; // active
        done();
      }
      default -> fail(ERROR_ABORT);
    }
  }

  private void done() {
    ready();
    interrupts(true);
  }

  private void setFeatures() {
    if (features != 0x03) {
      fail(ERROR_ABORT);
    } else if (count >>> 3 <= 1) {
      done();
    } else if (count >>> 3 == 4 && (count & 7) <= 2) {
      dmaMode = count & 7;
      done();
    } else {
      fail(ERROR_ABORT);
    }
  }

  // ---- phases ----

  @Override
  void blockReady(final int bytes, final boolean first) {
    count = REASON_TO_HOST;
    mid = bytes & 0xFF;
    high = bytes >>> 8;
    status = STATUS_READY | STATUS_SEEK | STATUS_DATA;
    interrupts(true);
  }

  @Override
  void streamDone(final boolean byDma) {
    good();
  }

  private void good() {
    senseKey = NO_SENSE;
    senseCode = 0;
    count = REASON_COMMAND | REASON_TO_HOST;
    done();
  }

  @Override
  void streamFailed() {
    check(MEDIUM_ERROR, UNRECOVERED_READ);
  }

  private void check(final int key, final int code) {
    senseKey = key;
    senseCode = code;
    count = REASON_COMMAND | REASON_TO_HOST;
    fail(key << 4 | ERROR_ABORT);
    status = STATUS_READY | STATUS_SEEK | CHECK_CONDITION;
  }

  /** Sends a response, cut to what the guest allows; one of no length is no data phase. */
  private void respond(final byte[] bytes, final int allowed) {
    final int length = Math.min(bytes.length, allowed);
    if (length == 0) {
      good();
    } else {
      send(bytes, length, byteLimit(), byDma());
    }
  }

  private boolean byDma() {
    return (features & FEATURE_DMA) != 0;
  }

  /** Bytes that the guest takes a block, even; what is not said is as much as there is. */
  private int byteLimit() {
    final int limit = (high << 8 | mid) & 0xFFFE;
    return limit == 0 ? 0xFFFE : limit;
  }

  // ---- packets ----

  @Override
  void blockWritten(final byte[] p) {
    final int operation = p[0] & 0xFF;
    if (senseKey == UNIT_ATTENTION && operation != 0x12 && operation != 0x03) {
      check(UNIT_ATTENTION, POWER_ON);
      // Told once.
      senseKey = NO_SENSE;
      attentionTold = true;
      return;
    }
    switch (operation) {
      case 0x00, 0x1B, 0x1E, 0x2B, 0xBB -> good();
      case 0x03 -> requestSense(p);
      case 0x12 -> respond(inquiry(), (p[3] & 0xFF) << 8 | p[4] & 0xFF);
      case 0x25 -> respond(capacity(), 8);
      case 0x28 -> read(u32(p, 2), u16(p, 7));
      case 0xA8 -> read(u32(p, 2), u32(p, 6));
      case 0x43 -> readToc(p);
      case 0x46 -> respond(configuration(), u16(p, 7));
      case 0x4A -> event(p);
      case 0x51 -> respond(discInformation(), u16(p, 7));
      case 0x5A -> modeSense(p);
      default -> check(ILLEGAL_REQUEST, BAD_COMMAND);
    }
  }

  /** The unit attention was reported; its sense is still there to be asked for. */
  private boolean attentionTold;

  private static int u16(final byte[] p, final int at) {
    return (p[at] & 0xFF) << 8 | p[at + 1] & 0xFF;
  }

  private static long u32(final byte[] p, final int at) {
    return (long) u16(p, at) << 16 | u16(p, at + 2);
  }

  private static void put32(final byte[] to, final int at, final long value) {
    for (int i = 0; i < 4; i++) {
      to[at + i] = (byte) (value >>> 24 - 8 * i);
    }
  }

  private void read(final long first, final long number) {
    if (first > blocks || number > blocks - first) {
      check(ILLEGAL_REQUEST, BAD_ADDRESS);
    } else if (number == 0) {
      good();
    } else {
      stream(first * BLOCK_BYTES, number * BLOCK_BYTES, byteLimit(), false, byDma());
    }
  }

  private void requestSense(final byte[] p) {
    final byte[] sense = new byte[18];
    sense[0] = 0x70;
    sense[2] = (byte) (attentionTold ? UNIT_ATTENTION : senseKey);
    sense[7] = 10;
    sense[12] = (byte) (attentionTold ? POWER_ON : senseCode);
    attentionTold = false;
    respond(sense, p[4] & 0xFF);
  }

  private static byte[] inquiry() {
    final byte[] data = new byte[36];
    data[0] = 5; // CD
    data[1] = (byte) 0x80; // removable
    data[3] = 0x21;
    data[4] = 31;
    final byte[] names = "vmexit  CD drive        1.0 ".getBytes(StandardCharsets.US_ASCII);
    System.arraycopy(names, 0, data, 8, names.length);
    return data;
  }

  private byte[] capacity() {
    final byte[] data = new byte[8];
    put32(data, 0, blocks - 1);
    put32(data, 4, BLOCK_BYTES);
    return data;
  }

  private void readToc(final byte[] p) {
    final boolean msf = (p[1] & 2) != 0;
    final int format = (p[2] & 0xF) != 0 ? p[2] & 0xF : (p[9] & 0xFF) >>> 6;
    final int start = p[6] & 0xFF;
    switch (format) {
      case 0 -> {
        if (start > 1 && start != LEAD_OUT) {
          check(ILLEGAL_REQUEST, BAD_FIELD);
          return;
        }
        final boolean track = start <= 1;
        final byte[] toc = new byte[4 + (track ? 16 : 8)];
        toc[1] = (byte) (toc.length - 2);
        toc[2] = 1;
        toc[3] = 1;
        if (track) {
          tocEntry(toc, 4, 1, 0, msf);
        }
        tocEntry(toc, toc.length - 8, LEAD_OUT, blocks, msf);
        respond(toc, u16(p, 7));
      }
      case 1 -> {
        // One session.
        final byte[] toc = new byte[12];
        toc[1] = 10;
        toc[2] = 1;
        toc[3] = 1;
        tocEntry(toc, 4, 1, 0, msf);
        respond(toc, u16(p, 7));
      }
      default -> check(ILLEGAL_REQUEST, BAD_FIELD);
    }
  }

  private static void tocEntry(
      final byte[] toc, final int at, final int track, final long block, final boolean msf) {
    toc[at + 1] = 0x14; // data, current position
    toc[at + 2] = (byte) track;
    if (msf) {
      final long frame = block + 150;
      toc[at + 5] = (byte) (frame / 75 / 60);
      toc[at + 6] = (byte) (frame / 75 % 60);
      toc[at + 7] = (byte) (frame % 75);
    } else {
      put32(toc, at + 4, block);
    }
  }

  /** The profile CD-ROM, current. */
  private static byte[] configuration() {
    final byte[] data = new byte[16];
    put32(data, 0, 12);
    data[7] = 8;
    data[10] = 3; // persistent, current
    data[11] = 4;
    data[13] = 8;
    data[14] = 1;
    return data;
  }

  private void event(final byte[] p) {
    if ((p[1] & 1) == 0) {
      check(ILLEGAL_REQUEST, BAD_FIELD); // asynchronous
      return;
    }
    final boolean media = (p[4] & 0x10) != 0;
    final byte[] data = new byte[media ? 8 : 4];
    data[1] = (byte) (data.length - 2);
    data[2] = (byte) (media ? 4 : 0x80);
    data[3] = 0x10;
    if (media) {
      data[5] = 2; // a medium is there
    }
    respond(data, u16(p, 7));
  }

  private static byte[] discInformation() {
    final byte[] data = new byte[34];
    data[1] = 32;
    data[2] = 0x0E; // finalized
    data[3] = 1;
    data[4] = 1;
    data[5] = 1;
    data[6] = 1;
    return data;
  }

  private void modeSense(final byte[] p) {
    final int page = p[2] & 0x3F;
    final byte[] data =
        switch (page) {
          case 0x01 -> Arrays.copyOf(new byte[0], 8 + 8);
          case 0x2A -> Arrays.copyOf(new byte[0], 8 + 20);
          default -> null;
        };
    if (data == null) {
      check(ILLEGAL_REQUEST, BAD_FIELD);
      return;
    }
    data[1] = (byte) (data.length - 2);
    data[2] = 0x01; // 120 mm disc with data
    data[8] = (byte) page;
    data[9] = (byte) (data.length - 10);
    if (page == 0x2A) {
      data[14] = 0x29; // tray, eject, lock
      data[16] = 0x02; // 706 kB/s, 4x, at most
      data[17] = (byte) 0xC2;
      data[22] = 0x02;
      data[23] = (byte) 0xC2;
    }
    respond(data, u16(p, 7));
  }

  // ---- IDENTIFY PACKET DEVICE ----

  private byte[] identify() {
    final byte[] id = new byte[AtaDisk.SECTOR];
    word(id, 0, 0x85C0); // CD, removable, DRQ within 50 us, 12-byte packets
    text(id, 10, 10, "1");
    text(id, 23, 4, "1.0");
    text(id, 27, 20, "vmexit CD drive");
    word(id, 49, 0x0F00); // IORDY, LBA, DMA
    word(id, 53, 0x0002);
    word(id, 63, 0x0007 | 0x0100 << dmaMode);
    word(id, 64, 0x0003);
    word(id, 65, 120);
    word(id, 66, 120);
    word(id, 67, 120);
    word(id, 68, 120);
    word(id, 80, 0x007E);
    word(id, 81, 0x0019);
    word(id, 82, 0x4210); // NOP, DEVICE RESET, PACKET
    word(id, 83, 0x4000);
    word(id, 84, 0x4000);
    word(id, 85, 0x4210);
    word(id, 86, 0x0000);
    word(id, 87, 0x4000);
    word(id, 93, 0x6001);
    return id;
  }
}
