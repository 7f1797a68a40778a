package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.HostCode;

/**
 * The real-time signal that calls a thread out of KVM_RUN, and its handler, for the whole process.
 *
 * <p>A thread inside KVM_RUN leaves it for any signal that has a handler. One that is about to
 * enter, past all looks at flags of ours, would take the signal first and then go in: so {@code
 * kvm_run.immediate_exit} must be set before the handler returns. Who sends the signal sets it
 * beforehand, and the handler does nothing; a timer cannot, so for its signals the handler does,
 * through the {@link ImmediateExit} whose address the timer's signal carries. The handler is
 * machine code that calls nothing, as none of Java may run inside a signal.
 *
 * <p>Signals whose action somebody else has set, HotSpot's and the C library's own among them, are
 * left alone: the first that has none is taken. Handler and page stay until the process ends, so a
 * late signal does no harm.
 */
final class WakeSignal {
  /** From the middle of the real-time signals up, and then down: most programs take the ends. */
  private static final int MIDDLE = 41;

  /** SIGRTMIN as programs see it: the C library keeps 32 and 33. */
  private static final int FIRST = 34;

  private static final int LAST = 64;

  /**
   * The handler, by {@code void (int signal, siginfo_t *info, void *context)}. Offsets in
   * siginfo_t: si_code 8, si_value of a timer 24.
   */
  private static final int[] HANDLER = {
    0x83, 0x7E, 0x08, 0xFE, // cmp dword [rsi+8], SI_TIMER (-2)
    0x75, 0x17, //             jne end
    0x48, 0x8B, 0x46, 0x18, // mov rax, [rsi+24]
    0xF0, 0xFF, 0x40, 0x08, // lock inc dword [rax+8]    ImmediateExit.WRITERS
    0x48, 0x8B, 0x08, //       mov rcx, [rax]            ImmediateExit.TARGET
    0x48, 0x85, 0xC9, //       test rcx, rcx
    0x74, 0x03, //             jz out
    0xC6, 0x01, 0x01, //       mov byte [rcx], 1
    0xF0, 0xFF, 0x48, 0x08, // out: lock dec dword [rax+8]
    0xC3, //                   end: ret
  };

  private static final int NO_CODE = -1;
  private static final int NO_SIGNAL = -2;

  private static final int NUMBER = install();

  private WakeSignal() {}

  /**
   * The signal's number; the first call installs the handler.
   *
   * @throws KvmUnavailableException where all are taken, or this host runs no code of ours
   */
  static int number() {
    if (NUMBER < 0) {
      throw new KvmUnavailableException(
          NUMBER == NO_CODE
              ? "mprotect(PROT_EXEC) is refused to this process: a vCPU of KVM cannot be woken"
              : "no real-time signal from " + FIRST + " to " + LAST + " is free to wake vCPUs by");
    }
    return NUMBER;
  }

  private static int install() {
    final byte[] code = new byte[HANDLER.length];
    for (int i = 0; i < code.length; i++) {
      code[i] = (byte) HANDLER[i];
    }
    final long handler = HostCode.address(code);
    if (handler == 0) {
      return NO_CODE;
    }
    for (int i = 0; i <= LAST - FIRST; i++) {
      final int signal = MIDDLE + i <= LAST ? MIDDLE + i : LAST - i;
      if (!Libc.hasSignalAction(signal)) {
        Libc.handleSignal(signal, handler);
        return signal;
      }
    }
    return NO_SIGNAL;
  }
}
