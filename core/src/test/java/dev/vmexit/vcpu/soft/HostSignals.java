package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.util.Arrays;

/**
 * Handlers of the signals that faults become, in front of the JVM's own: a fault of the code under
 * test is noted down and ends it, every other signal is passed on to who had it before.
 *
 * <p>Only a signal that meets the flag "in guest" on the signal stack is the code's: no other
 * thread has that stack. Layouts: Linux's struct ucontext and struct sigaction of x86-64.
 */
final class HostSignals implements AutoCloseable {
  // Offsets of what the handler notes down.
  static final int RIP = 0;
  static final int FLAGS = 8;

  /** CS in the low word, SS in the high one. */
  static final int SELECTORS = 16;

  static final int ERROR = 24;
  static final int TRAP = 32;
  static final int ADDRESS = 40;
  private static final int PREVIOUS = 64;

  /** SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV. */
  private static final int[] SIGNALS = {4, 5, 7, 8, 11};

  // struct ucontext: uc_mcontext.gregs.
  private static final int UC_RIP = 168;
  private static final int UC_FLAGS = 176;
  private static final int UC_SELECTORS = 184;
  private static final int UC_ERROR = 192;
  private static final int UC_TRAP = 200;
  private static final int UC_ADDRESS = 216;

  // struct sigaction of the C library.
  private static final int ACTION_SIZE = 152;
  private static final int ACTION_FLAGS = 136;
  private static final int SA_SIGINFO = 4;
  private static final int SA_ONSTACK = 0x0800_0000;
  private static final int SA_NODEFER = 0x4000_0000;
  private static final int SIGNAL_STACK_WINDOW_SHIFT = 18;

  private final byte[][] previous = new byte[SIGNALS.length][ACTION_SIZE];
  private final byte[] previousStack = new byte[24];
  private final Thread owner = Thread.currentThread();

  HostSignals(final long handler, final long notes, final long stack, final int stackSize) {
    final byte[] alternative = new byte[24];
    FloatValues.put(alternative, 0, 8, stack);
    FloatValues.put(alternative, 16, 8, stackSize);
    HostCall.invoke("sigaltstack", alternative, previousStack);
    for (int i = 0; i < SIGNALS.length; i++) {
      HostCall.invoke("sigaction", SIGNALS[i], null, previous[i]);
      long old = 0;
      for (int k = 7; k >= 0; k--) {
        old = old << 8 | previous[i][k] & 0xFF;
      }
      HostMemory.putLong(notes + PREVIOUS + 8L * SIGNALS[i], old);
      final byte[] mine = Arrays.copyOf(previous[i], ACTION_SIZE);
      FloatValues.put(mine, 0, 8, handler);
      final int flags = previous[i][ACTION_FLAGS] & 0xFF;
      FloatValues.put(mine, ACTION_FLAGS, 4, flags | SA_SIGINFO | SA_ONSTACK | SA_NODEFER);
      HostCall.invoke("sigaction", SIGNALS[i], mine, null);
    }
  }

  /** The handler: signal number in rdi, struct ucontext in rdx. */
  static void writeHandler(
      final Assembler a, final long inGuest, final long notes, final Label exit, final long stack) {
    final Label other = a.label();
    final Memory flag = Memory.absolute(inGuest).asDword();
    a.cmp(flag, 0);
    a.jcc(Condition.E, other);
    // The stack is aligned to its size: one shift tells whether this thread is on it.
    a.mov(Register.RAX, Register.RSP);
    a.shr(Register.RAX, SIGNAL_STACK_WINDOW_SHIFT - 1);
    a.cmp(Register.RAX, stack >>> SIGNAL_STACK_WINDOW_SHIFT - 1);
    final Label mine = a.label();
    a.jcc(Condition.E, mine);
    a.cmp(Register.RAX, (stack >>> SIGNAL_STACK_WINDOW_SHIFT - 1) + 1);
    a.jcc(Condition.NE, other);
    a.bind(mine);
    final int[] from = {UC_RIP, UC_FLAGS, UC_SELECTORS, UC_ERROR, UC_TRAP, UC_ADDRESS};
    final int[] to = {RIP, FLAGS, SELECTORS, ERROR, TRAP, ADDRESS};
    for (int i = 0; i < from.length; i++) {
      a.mov(Register.RAX, Memory.at(Register.RDX, from[i]));
      a.mov(Memory.absolute(notes + to[i]), Register.RAX);
    }
    a.lea(Register.RAX, Memory.rip(exit));
    a.mov(Memory.at(Register.RDX, UC_RIP), Register.RAX);
    a.mov(Memory.at(Register.RDX, UC_FLAGS).asQword(), 0x202);
    // GS and FS between CS and SS stay.
    a.mov(Memory.at(Register.RDX, UC_SELECTORS).asWord(), UserContext.CODE64);
    a.mov(Memory.at(Register.RDX, UC_SELECTORS + 6).asWord(), UserContext.DATA32);
    a.ret();
    a.bind(other);
    a.lea(Register.RAX, Memory.absolute(notes + PREVIOUS));
    a.mov(Register.RAX, Memory.at(Register.RAX, Register.RDI, 8, 0));
    a.jmp(Register.RAX);
  }

  @Override
  public void close() {
    if (Thread.currentThread() != owner) {
      throw new IllegalStateException("a signal stack belongs to the thread that made it");
    }
    for (int i = 0; i < SIGNALS.length; i++) {
      HostCall.invoke("sigaction", SIGNALS[i], previous[i], null);
    }
    HostCall.invoke("sigaltstack", previousStack, null);
  }
}
