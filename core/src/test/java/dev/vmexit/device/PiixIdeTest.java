package dev.vmexit.device;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Drives the controller as drivers do, by its ports alone. */
final class PiixIdeTest {
  private static final int SECTORS = 300_000;
  private static final int ERROR = 1;
  private static final int DATA = 8;
  private static final int IDLE = 0x50;

  /** Where the test puts the bus masters. */
  private static final int MASTER = 0xC000;

  private final Store disk = new Store(SECTORS * 512);
  private final Store disc = new Store(2048 * 700);
  private final PortBus ports = new PortBus();
  private final ManualTime time = new ManualTime();
  private final RecordingLine first = new RecordingLine();
  private final RecordingLine second = new RecordingLine();
  private final Memory memory = new Memory();
  private PiixIde ide;

  /** Bytes that fail when told to. */
  private static final class Store implements BlockStore {
    private final byte[] bytes;
    private boolean broken;
    private boolean writable = true;
    private int flushes;

    Store(final int size) {
      bytes = new byte[size];
      new Random(size).nextBytes(bytes);
    }

    @Override
    public long bytes() {
      return bytes.length;
    }

    @Override
    public boolean isWritable() {
      return writable;
    }

    @Override
    public boolean read(final long offset, final byte[] to, final int at, final int length) {
      System.arraycopy(bytes, (int) offset, to, at, length);
      return !broken;
    }

    @Override
    public boolean write(final long offset, final byte[] from, final int at, final int length) {
      System.arraycopy(from, at, bytes, (int) offset, length);
      return !broken;
    }

    @Override
    public boolean flush() {
      flushes++;
      return !broken;
    }

    byte[] part(final int offset, final int length) {
      return Arrays.copyOfRange(bytes, offset, offset + length);
    }
  }

  private static final class Memory implements GuestDma {
    private final byte[] bytes = new byte[1 << 20];

    private boolean inside(final long gpa, final int length) {
      return gpa >= 0 && gpa + length <= bytes.length;
    }

    @Override
    public boolean read(final long gpa, final byte[] to, final int at, final int length) {
      if (!inside(gpa, length)) {
        return false;
      }
      System.arraycopy(bytes, (int) gpa, to, at, length);
      return true;
    }

    @Override
    public boolean write(final long gpa, final byte[] from, final int at, final int length) {
      if (!inside(gpa, length)) {
        return false;
      }
      System.arraycopy(from, at, bytes, (int) gpa, length);
      return true;
    }

    void put32(final int at, final int value) {
      for (int i = 0; i < 4; i++) {
        bytes[at + i] = (byte) (value >>> 8 * i);
      }
    }
  }

  @BeforeEach
  void plug() {
    ide = new PiixIde(ports, memory, time, time.timers(), first, second, List.of(disk), disc);
    ide.write(0x20, 4, MASTER);
    ide.write(PciFunction.COMMAND, 2, PciFunction.COMMAND_IO | PciFunction.COMMAND_MASTER);
  }

  private void task(final int base, final int... registers) {
    for (int i = 0; i < registers.length; i++) {
      ports.write(base + 1 + i, 1, registers[i]);
    }
  }

  private int status(final int base) {
    return ports.read(base + 7, 1);
  }

  private byte[] pull(final int base, final int length) {
    final byte[] bytes = new byte[length];
    ports.readString(base, 2, length / 2, bytes);
    return bytes;
  }

  private void push(final int base, final byte[] bytes) {
    for (int i = 0; i < bytes.length; i += 2) {
      ports.write(base, 2, bytes[i] & 0xFF | (bytes[i + 1] & 0xFF) << 8);
    }
  }

  private static byte[] random(final int length) {
    final byte[] bytes = new byte[length];
    new Random(length).nextBytes(bytes);
    return bytes;
  }

  // ---- disk, PIO ----

  @Test
  void shouldIdentifyTheDisk() {
    task(0x1F0, 0, 0, 0, 0, 0, 0xA0, 0xEC);
    assertTrue(first.level());
    assertEquals(IDLE | DATA, ports.read(0x3F6, 1), "the other status leaves the interrupt");
    assertTrue(first.level());
    assertEquals(IDLE | DATA, status(0x1F0));
    assertFalse(first.level());
    final byte[] id = pull(0x1F0, 512);
    assertEquals(
        "mvxetid si k", new String(id, 54, 12, java.nio.charset.StandardCharsets.US_ASCII));
    assertEquals(SECTORS, word(id, 60) | word(id, 61) << 16);
    assertEquals(SECTORS, word(id, 100) | word(id, 101) << 16);
    assertEquals(IDLE, status(0x1F0));
    assertFalse(first.level(), "the end of a read by PIO has no interrupt");
  }

  private static int word(final byte[] bytes, final int index) {
    return bytes[2 * index] & 0xFF | (bytes[2 * index + 1] & 0xFF) << 8;
  }

  @Test
  void shouldReadByLbaWithAnInterruptForEachSector() {
    task(0x1F0, 0, 3, 0x45, 0x23, 0x01, 0xE0, 0x20);
    for (int i = 0; i < 3; i++) {
      assertTrue(first.level());
      assertEquals(IDLE | DATA, status(0x1F0));
      assertArrayEquals(disk.part((0x12345 + i) * 512, 512), pull(0x1F0, 512));
    }
    assertEquals(IDLE, status(0x1F0));
    assertEquals(0, ports.read(0x1F0, 2), "no more data");
  }

  @Test
  void shouldReadByCylinderHeadAndSector() {
    // Cylinder 2, head 3, sector 4 of 16 heads and 63 sectors.
    task(0x1F0, 0, 1, 4, 2, 0, 0xA3, 0x20);
    assertArrayEquals(disk.part(((2 * 16 + 3) * 63 + 3) * 512, 512), pull(0x1F0, 512));
    task(0x1F0, 0, 1, 0, 0, 0, 0xA0, 0x20);
    assertEquals(IDLE | ERROR, status(0x1F0), "there is no sector 0");
    assertEquals(0x10, ports.read(0x1F1, 1));
  }

  @Test
  void shouldReadSeveralSectorsABlockByFortyEightBits() {
    task(0x1F0, 0, 8, 0, 0, 0, 0xE0, 0xC6);
    assertEquals(IDLE, status(0x1F0));
    // The high halves first: 0x12345 and 20 sectors.
    task(0x1F0, 0, 0, 0, 0, 0);
    task(0x1F0, 0, 20, 0x45, 0x23, 0x01, 0xE0, 0x29);
    assertArrayEquals(disk.part(0x12345 * 512, 8 * 512), pull(0x1F0, 8 * 512));
    assertEquals(IDLE | DATA, status(0x1F0));
    assertArrayEquals(disk.part(0x1234D * 512, 8 * 512), pull(0x1F0, 8 * 512));
    assertArrayEquals(disk.part(0x12355 * 512, 4 * 512), pull(0x1F0, 4 * 512));
    assertEquals(IDLE, status(0x1F0));
  }

  @Test
  void shouldWriteAndFlush() {
    final byte[] sectors = random(1024);
    task(0x1F0, 0, 2, 7, 0, 0, 0xE0, 0x30);
    assertFalse(first.level(), "the first block is asked for without an interrupt");
    assertEquals(IDLE | DATA, status(0x1F0));
    push(0x1F0, Arrays.copyOf(sectors, 512));
    assertTrue(first.level());
    assertEquals(IDLE | DATA, status(0x1F0));
    ports.writeString(0x1F0, 2, 256, Arrays.copyOfRange(sectors, 512, 1024));
    assertTrue(first.level());
    assertEquals(IDLE, status(0x1F0));
    assertArrayEquals(sectors, disk.part(7 * 512, 1024));
    task(0x1F0, 0, 0, 0, 0, 0, 0xE0, 0xE7);
    assertEquals(IDLE, status(0x1F0));
    assertEquals(1, disk.flushes);
  }

  @Test
  void shouldReportWhatCannotBeDone() {
    // The last sector and one beyond it.
    final int last = SECTORS - 1;
    task(0x1F0, 0, 2, last & 0xFF, last >> 8 & 0xFF, last >> 16, 0xE0, 0x20);
    assertEquals(IDLE | ERROR, status(0x1F0));
    assertEquals(0x10, ports.read(0x1F1, 1));
    task(0x1F0, 0, 0, 0, 0, 0, 0xE0, 0xA1);
    assertEquals(IDLE | ERROR, status(0x1F0), "no packets");
    assertEquals(4, ports.read(0x1F1, 1));
    disk.writable = false;
    task(0x1F0, 0, 1, 0, 0, 0, 0xE0, 0x30);
    assertEquals(IDLE | ERROR, status(0x1F0));
    disk.broken = true;
    task(0x1F0, 0, 1, 0, 0, 0, 0xE0, 0x20);
    assertEquals(IDLE | ERROR, status(0x1F0));
    assertEquals(0x40, ports.read(0x1F1, 1), "uncorrectable");
  }

  @Test
  void shouldShowAnEmptySecondPlaceAndResetBoth() {
    ports.write(0x1F6, 1, 0xB0);
    assertEquals(0, status(0x1F0));
    ports.write(0x3F6, 1, 4);
    ports.write(0x1F6, 1, 0xA0);
    assertEquals(0x80, ports.read(0x3F6, 1), "busy while it is reset");
    ports.write(0x3F6, 1, 0);
    assertEquals(List.of(1, 1, 1, 0, 0), registers(0x1F0), "the signature of a disk");
    ports.write(0x376, 1, 4);
    ports.write(0x376, 1, 0);
    assertEquals(List.of(1, 1, 1, 0x14, 0xEB), registers(0x170), "of a packet device");
  }

  private List<Integer> registers(final int base) {
    return List.of(
        ports.read(base + 1, 1),
        ports.read(base + 2, 1),
        ports.read(base + 3, 1),
        ports.read(base + 4, 1),
        ports.read(base + 5, 1));
  }

  @Test
  void shouldKeepTheInterruptToItselfWhenTold() {
    ports.write(0x3F6, 1, 2);
    task(0x1F0, 0, 1, 0, 0, 0, 0xE0, 0x40);
    assertFalse(first.level());
    ports.write(0x3F6, 1, 0);
    assertTrue(first.level(), "it waits in the drive");
  }

  // ---- bus master ----

  private void prd(final int at, final int gpa, final int size, final boolean last) {
    memory.put32(at, gpa);
    memory.put32(at + 4, size & 0xFFFF | (last ? 1 << 31 : 0));
  }

  @Test
  void shouldReadByDmaOverSeveralPieces() {
    prd(0x1000, 0x8000, 0x400, false);
    prd(0x1008, 0x2_0000, 0x1_0000, true);
    ports.write(MASTER + 4, 4, 0x1000);
    task(0x1F0, 0, 130, 5, 0, 0, 0xE0, 0xC8);
    assertFalse(first.level());
    ports.write(MASTER, 1, 9);
    assertEquals(1, ports.read(MASTER + 2, 1), "active");
    assertArrayEquals(new byte[1024], Arrays.copyOfRange(memory.bytes, 0x8000, 0x8400));
    time.advance(1_000_000);
    assertEquals(4, ports.read(MASTER + 2, 1), "interrupt, no error");
    assertTrue(first.level());
    assertEquals(IDLE, status(0x1F0));
    assertArrayEquals(disk.part(5 * 512, 0x400), Arrays.copyOfRange(memory.bytes, 0x8000, 0x8400));
    assertArrayEquals(
        disk.part(7 * 512, 0x1_0000), Arrays.copyOfRange(memory.bytes, 0x2_0000, 0x3_0000));
    ports.write(MASTER, 1, 0);
    ports.write(MASTER + 2, 1, 4);
    assertEquals(0, ports.read(MASTER + 2, 1));
  }

  @Test
  void shouldWriteByDma() {
    final byte[] sectors = random(1024);
    System.arraycopy(sectors, 0, memory.bytes, 0x8000, 1024);
    prd(0x1000, 0x8000, 1024, true);
    ports.write(MASTER + 4, 4, 0x1000);
    task(0x1F0, 0, 0, 0, 0, 0);
    task(0x1F0, 0, 2, 9, 0, 0, 0xE0, 0x35);
    ports.write(MASTER, 1, 1);
    time.advance(1_000_000);
    assertEquals(4, ports.read(MASTER + 2, 1));
    assertArrayEquals(sectors, disk.part(9 * 512, 1024));
  }

  @Test
  void shouldWaitForTheDriveWhenTheBusMasterIsStartedFirst() {
    prd(0x1000, 0x8000, 512, true);
    ports.write(MASTER + 4, 4, 0x1000);
    ports.write(MASTER, 1, 9);
    time.advance(1_000_000);
    assertEquals(1, ports.read(MASTER + 2, 1));
    task(0x1F0, 0, 1, 3, 0, 0, 0xE0, 0xC8);
    time.advance(1_000_000);
    assertEquals(4, ports.read(MASTER + 2, 1));
    assertArrayEquals(disk.part(3 * 512, 512), Arrays.copyOfRange(memory.bytes, 0x8000, 0x8200));
  }

  @Test
  void shouldReportATransferThatCannotBe() {
    final byte[] before = disk.part(0, 512);
    for (final int[] bad :
        new int[][] {
          {0x1000, 0x0FFF_0000, 9}, // no memory there
          {0x7FFF_0000, 0x8000, 9}, // no table there
          {0x1000, 0x8000, 1} // the wrong direction
        }) {
      prd(0x1000, bad[1], 512, true);
      ports.write(MASTER + 4, 4, bad[0]);
      task(0x1F0, 0, 1, 0, 0, 0, 0xE0, 0xC8);
      ports.write(MASTER, 1, bad[2]);
      time.advance(1_000_000);
      assertEquals(6, ports.read(MASTER + 2, 1), "error and interrupt");
      assertEquals(IDLE | ERROR, status(0x1F0));
      ports.write(MASTER, 1, 0);
      ports.write(MASTER + 2, 1, 6);
    }
    assertArrayEquals(before, disk.part(0, 512));
  }

  @Test
  void shouldEndAtTheLastDescriptorWhoseTableIsTooShort() {
    prd(0x1000, 0x8000, 512, true);
    ports.write(MASTER + 4, 4, 0x1000);
    task(0x1F0, 0, 2, 0, 0, 0, 0xE0, 0xC8);
    ports.write(MASTER, 1, 9);
    time.advance(1_000_000);
    assertEquals(6, ports.read(MASTER + 2, 1));
  }

  @Test
  void shouldMoveItsPortsWithTheBaseAddress() {
    assertEquals(0, ports.read(MASTER + 2, 1));
    ide.write(0x20, 4, -1);
    assertEquals(0xFF, ports.read(MASTER + 2, 1));
    ide.write(0x20, 4, 0xD000);
    assertEquals(0, ports.read(0xD002, 1));
    ide.write(PciFunction.COMMAND, 2, 0);
    assertEquals(0xFF, ports.read(0xD002, 1));
    ide.write(0x20, 4, 0x1F0);
    ide.write(PciFunction.COMMAND, 2, PciFunction.COMMAND_IO);
    task(0x1F0, 0, 1, 0, 0, 0, 0xE0, 0x40);
    assertEquals(IDLE, status(0x1F0), "ports that are taken stay whose they are");
  }

  // ---- CD ----

  /** Sends a packet; the status after it. */
  private int packet(final int features, final int limit, final int... bytes) {
    task(0x170, features, 0, 0, limit & 0xFF, limit >> 8, 0xA0, 0xA0);
    assertEquals(IDLE | DATA, status(0x170));
    assertEquals(1, ports.read(0x172, 1), "it wants a command");
    final byte[] packet = new byte[12];
    for (int i = 0; i < bytes.length; i++) {
      packet[i] = (byte) bytes[i];
    }
    push(0x170, packet);
    return status(0x170);
  }

  @Test
  void shouldTellOfItsPowerOnOnce() {
    assertEquals(IDLE | ERROR, packet(0, 0, 0x00));
    assertEquals(0x64, ports.read(0x171, 1), "unit attention");
    assertEquals(IDLE | DATA, packet(0, 18, 0x03, 0, 0, 0, 18));
    final byte[] sense = pull(0x170, 18);
    assertEquals(6, sense[2]);
    assertEquals(0x29, sense[12]);
    assertEquals(IDLE, packet(0, 0, 0x00));
    assertEquals(3, ports.read(0x172, 1), "done");
  }

  @Test
  void shouldReadTheDiscInBlocksOfTheGuestsSize() {
    packet(0, 0, 0x00);
    assertEquals(IDLE | DATA, packet(0, 2048, 0x28, 0, 0, 0, 0, 100, 0, 0, 3));
    for (int i = 0; i < 3; i++) {
      assertTrue(i == 0 || second.level());
      assertEquals(2, ports.read(0x172, 1), "data to the host");
      assertEquals(2048, ports.read(0x174, 1) | ports.read(0x175, 1) << 8);
      assertArrayEquals(disc.part((100 + i) * 2048, 2048), pull(0x170, 2048));
    }
    assertTrue(second.level(), "the end is told");
    assertEquals(IDLE, status(0x170));
    assertEquals(3, ports.read(0x172, 1));
    assertEquals(IDLE | ERROR, packet(0, 2048, 0x28, 0, 0, 0, 2, 0xBC, 0, 0, 1), "block 700");
    assertEquals(0x54, ports.read(0x171, 1));
  }

  @Test
  void shouldReadTheDiscByDma() {
    packet(0, 0, 0x00);
    prd(0x1000, 0x8000, 4096, true);
    ports.write(MASTER + 12, 4, 0x1000);
    packet(1, 0, 0xA8, 0, 0, 0, 0, 7, 0, 0, 0, 2);
    ports.write(MASTER + 8, 1, 9);
    time.advance(1_000_000);
    assertEquals(4, ports.read(MASTER + 10, 1));
    assertEquals(IDLE, status(0x170));
    assertArrayEquals(disc.part(7 * 2048, 4096), Arrays.copyOfRange(memory.bytes, 0x8000, 0x9000));
  }

  @Test
  void shouldAnswerWhatBootLoadersAsk() {
    packet(0, 0, 0x00);
    packet(0, 8, 0x25);
    assertArrayEquals(new byte[] {0, 0, 2, (byte) 0xBB, 0, 0, 8, 0}, pull(0x170, 8));
    packet(0, 36, 0x12, 0, 0, 0, 36);
    final byte[] inquiry = pull(0x170, 36);
    assertEquals(5, inquiry[0]);
    packet(0, 20, 0x43, 0, 0, 0, 0, 0, 0, 0, 20);
    final byte[] toc = pull(0x170, 20);
    assertArrayEquals(new byte[] {0, 18, 1, 1}, Arrays.copyOf(toc, 4));
    assertEquals((byte) 0xAA, toc[14]);
    assertEquals(IDLE | ERROR, packet(0, 0, 0xFF));
    assertEquals(0x54, ports.read(0x171, 1), "illegal request");
    task(0x170, 0, 0, 0, 0, 0, 0xA0, 0xEC);
    assertEquals(IDLE | ERROR, status(0x170), "IDENTIFY DEVICE names another kind");
    assertEquals(0x14, ports.read(0x174, 1));
    task(0x170, 0, 0, 0, 0, 0, 0xA0, 0xA1);
    assertEquals(0x85C0, word(pull(0x170, 512), 0));
  }
}
