package dev.vmexit.exit;

/**
 * What a checkpoint's record carries in its data: the vectors that the guest has asked for, so that
 * a replay that starts there knows which injections it can have meant.
 *
 * <pre>
 *   0       256 bits, the lowest vector first: in an entry of the I/O APIC, of the local vector
 *           table, in the ICR or SVR, or waiting in the IRR
 *   32      register that the I/O APIC's window shows
 *   33, 37  master and slave 8259: base, IMR, the ICW that is expected (0: none), flags
 *   41      end
 * </pre>
 */
public final class VectorState {
  /** Vectors, a bit each. */
  public static final int VECTORS = 0;

  /** The I/O APIC's register select. */
  public static final int IOAPIC_SELECT = 32;

  /** The first 8259. */
  public static final int PIC = 33;

  /** From one 8259 to the next. */
  public static final int PIC_LENGTH = 4;

  /** First vector, within an 8259. */
  public static final int PIC_BASE = 0;

  /** Lines that are masked. */
  public static final int PIC_IMR = 1;

  /** 2, 3 or 4 while it is being initialized. */
  public static final int PIC_NEXT_ICW = 2;

  /** The two below. */
  public static final int PIC_FLAGS = 3;

  public static final int PIC_SINGLE = 1;
  public static final int PIC_NEEDS_ICW4 = 1 << 1;

  /** Bytes. */
  public static final int LENGTH = PIC + 2 * PIC_LENGTH;

  private VectorState() {}

  /** Puts a vector into the set. */
  public static void add(final byte[] state, final int vector) {
    state[VECTORS + (vector >>> 3)] |= (byte) (1 << (vector & 7));
  }

  /** Whether a vector is in the set. */
  public static boolean has(final byte[] state, final int vector) {
    return (state[VECTORS + (vector >>> 3)] >>> (vector & 7) & 1) != 0;
  }
}
