package dev.vmexit.exit;

/**
 * What the {@code changes} of an {@code ExitRecord} hold.
 *
 * <p>A record is a row of 64-bit columns. Bit n of {@code changed} says that column n has a word in
 * {@code changes}, in the order of the columns; no bit, no word: the column equals its base. The
 * base is that of the last record of the same ring, and zero after a record with the {@code full}
 * state bit, so that a reader may start there.
 *
 * <pre>
 *   column  0..15  general registers, order of kvm_regs   XOR the last
 *          16      rip                                    XOR the last
 *          17      rflags                                 XOR the last
 *          18      base of CS                             XOR the last
 *          19      cr0                                    XOR the last
 *          20      cr3                                    XOR the last
 *          21      cr4                                    XOR the last
 *          22      efer                                   XOR the last
 *          23      retired instructions                   minus the last
 *          24      host time, ns                          minus the last
 *          25      time in guest, ns                      itself
 *          26      time in handler, ns                    itself
 *          27      address                                XOR the last of the same kind
 *          28      value                                  XOR the last of the same kind
 *          29      error code, 32 bits                    itself
 *          30      high half of the sequence              itself; only where it is not zero
 * </pre>
 *
 * After the columns' words, with no bits of their own:
 *
 * <pre>
 *   CPUID:             eax | ebx &lt;&lt; 32, then ecx | edx &lt;&lt; 32
 *   each walk entry:   address XOR the frame in the entry before (the first: cr3's frame),
 *                      value XOR the value that the last walk read at this position
 *   each table write:  address, size, value
 * </pre>
 *
 * With the {@code data} state bit, which PIO, DMA and checkpoints have, two bytes of length and the
 * bytes that were moved stand behind the instruction.
 *
 * <p>A word is stored little-endian without its leading zero bytes. After the last word come the
 * words' lengths, 0 to 8, in 4 bits each, the first in the low half of the first byte.
 */
final class ExitColumns {
  static final int RIP = 16;
  static final int RFLAGS = 17;
  static final int CS_BASE = 18;
  static final int CR0 = 19;
  static final int CR3 = 20;
  static final int CR4 = 21;
  static final int EFER = 22;
  static final int RETIRED = 23;
  static final int HOST_TIME = 24;
  static final int GUEST_TIME = 25;
  static final int HANDLER_TIME = 26;
  static final int ADDRESS = 27;
  static final int VALUE = 28;
  static final int ERROR_CODE = 29;
  static final int SEQUENCE_HIGH = 30;
  static final int COUNT = 31;

  /** Columns that are kept from record to record. */
  static final int KEPT = 25;

  /** The physical address in a paging-structure entry. */
  static final long FRAME = 0x000F_FFFF_FFFF_F000L;

  /** Bits of the record's state. */
  static final int STATE_INTERRUPT = 0xF;

  static final int STATE_WRITE = 1 << 4;
  static final int STATE_FULL = 1 << 5;
  static final int STATE_DATA = 1 << 6;

  /** Kinds that a per-kind base has room for. */
  static final int KINDS = 32;

  /** Most words that a record can have. */
  static final int MAX_WORDS = COUNT + 2 + 2 * ExitEvent.MAX_WALK + 3 * ExitEvent.MAX_WRITES;

  private ExitColumns() {}
}
