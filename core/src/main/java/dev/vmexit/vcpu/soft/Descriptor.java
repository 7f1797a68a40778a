package dev.vmexit.vcpu.soft;

/** Fields of a segment or gate descriptor's eight bytes (SDM Vol. 3A, 3.4.5 and 6.11). */
final class Descriptor {
  static final int TYPE = 0xF;
  static final int CODE = 8;
  static final int CONFORMING = 4;
  static final int EXPAND_DOWN = 4;

  /** Writable data, or readable code. */
  static final int READ_WRITE = 2;

  static final int ACCESSED = 1;
  static final int S = 1 << 4;
  static final int PRESENT = 1 << 7;
  static final int LONG = 1 << 13;
  static final int BIG = 1 << 14;
  static final int GRANULAR = 1 << 15;

  static final int TYPE_TSS16_AVAILABLE = 1;
  static final int TYPE_LDT = 2;
  static final int TYPE_TSS32_AVAILABLE = 9;
  static final int TSS_BUSY = 2;

  private Descriptor() {}

  static long base(final long raw) {
    return raw >>> 16 & 0xFF_FFFFL | raw >>> 32 & 0xFF00_0000L;
  }

  static long limit(final long raw) {
    final long limit = raw & 0xFFFFL | raw >>> 32 & 0xF_0000L;
    return (rights(raw) & GRANULAR) != 0 ? limit << 12 | 0xFFF : limit;
  }

  /** As {@code StateLayout.SEG_RIGHTS} has them. */
  static int rights(final long raw) {
    return (int) (raw >>> 40) & 0xF0FF;
  }

  static int dpl(final int rights) {
    return rights >>> 5 & 3;
  }

  static boolean isCode(final int rights) {
    return (rights & (S | CODE)) == (S | CODE);
  }

  static boolean isConforming(final int rights) {
    return (rights & (S | CODE | CONFORMING)) == (S | CODE | CONFORMING);
  }

  static boolean isWritableData(final int rights) {
    return (rights & (S | CODE | READ_WRITE)) == (S | READ_WRITE);
  }
}
