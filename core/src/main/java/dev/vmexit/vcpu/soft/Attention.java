package dev.vmexit.vcpu.soft;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/**
 * The one word that the loop looks at between two blocks: all that is rare sets a bit in it. Other
 * threads set {@link #KICK}, hence only atomic updates.
 */
final class Attention {
  /** Someone wants the vCPU to leave; from any thread. */
  static final int KICK = 1;

  /** The run loop waits for an interrupt to be acceptable. */
  static final int WINDOW = 1 << 1;

  /** The shadow of STI, MOV SS or POP SS. */
  static final int SHADOW = 1 << 2;

  /** RFLAGS.TF. */
  static final int STEP = 1 << 3;

  /** An exit that follows a completed instruction. */
  static final int NOTICE = 1 << 4;

  /** The next instruction runs alone. */
  static final int ONCE = 1 << 5;

  /** An interrupt whose delivery faulted waits to be delivered again. */
  static final int DEFERRED = 1 << 6;

  /** A breakpoint is armed. */
  static final int BREAKPOINTS = 1 << 7;

  /** What makes instructions run one by one. */
  static final int ALONE = SHADOW | STEP | ONCE | BREAKPOINTS;

  private static final VarHandle WORD;

  static {
    try {
      WORD = MethodHandles.lookup().findVarHandle(Attention.class, "word", int.class);
    } catch (final ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  @SuppressWarnings("UnusedVariable") // through WORD
  private int word;

  /** All that is set; a bit of another thread is seen at one of the next calls. */
  int bits() {
    return (int) WORD.getOpaque(this);
  }

  boolean has(final int bits) {
    return (bits() & bits) != 0;
  }

  void set(final int bits) {
    WORD.getAndBitwiseOr(this, bits);
  }

  void clear(final int bits) {
    WORD.getAndBitwiseAnd(this, ~bits);
  }
}
