package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;

/**
 * The host's own processor as an oracle for user code of 64, 32 and 16 bits, faults included: the
 * code is entered by IRET, into the compatibility-mode segments of Linux or an LDT's where it is
 * not of 64 bits, and left by a jump behind it or by a signal handler.
 *
 * <p>One mapping below 2 GiB: trampoline, state, and the code and data of {@link UserContext}; far
 * behind them a stack of its own for signals, since the code's stack pointer may be anything. The
 * code must not enter the kernel but by faults and must not load FS, which belongs to the C
 * library. One thread alone may use it, the one that made it.
 */
final class HostUser implements AutoCloseable {
  private static final int PAGE = UserContext.PAGE;
  private static final int STRETCH = 0x1_0000;

  /** Trampoline and state stand where no 16-bit segment reaches. */
  private static final int TRAMPOLINE = STRETCH;

  private static final int STATE = TRAMPOLINE + PAGE;
  private static final int SIGNAL_STACK = 0x2_0000;
  private static final int SIGNAL_STACK_SIZE = 0x4_0000;
  private static final int MAPPING_SIZE = SIGNAL_STACK + SIGNAL_STACK_SIZE;

  // The state page.
  private static final int GPRS = STATE;
  private static final int FRAME = STATE + 0x80;
  private static final int HOST_RSP = STATE + 0xB0;
  private static final int IN_GUEST = STATE + 0xB8;
  private static final int OUT_FLAGS = STATE + 0xC0;
  private static final int OUT_DS = STATE + 0xC8;
  private static final int OUT_ES = STATE + 0xD0;
  private static final int OUT_SS = STATE + 0xD8;
  private static final int SIGNAL = STATE + 0xE0;
  private static final int IN_DS = STATE + 0x240;
  private static final int IN_ES = STATE + 0x248;
  private static final int HOST_FX = STATE + 0x400;
  private static final int FX = STATE + 0x600;
  private static final int YMM = STATE + 0x800;

  /** Flags that compare: user code can set them, and faults show RF. */
  static final long FLAGS = Flags.ARITHMETIC | Flags.DF | Flags.TF | Flags.AC | Flags.NT | Flags.RF;

  private static final int NOT_TAKEN = -1;

  private final long base;
  private final HostSignals signals;
  private final HostCall trampoline;
  private final long exit;
  private final boolean avx = HostProcessor.hasFlags("avx");
  private boolean closed;

  HostUser() {
    base = HostCall.map(MAPPING_SIZE);
    final Assembler a = new Assembler(8, base + TRAMPOLINE);
    final Label exitLabel = a.label("exit");
    enter(a);
    a.bind(exitLabel);
    leave(a);
    a.align(16);
    final Label handler = a.here();
    HostSignals.writeHandler(a, base + IN_GUEST, base + SIGNAL, exitLabel, base + SIGNAL_STACK);
    final byte[] code = a.assemble();
    exit = a.addressOf(exitLabel);
    if (code.length > PAGE) {
      throw new IllegalStateException("trampoline of " + code.length + " bytes");
    }
    // Inside the mapping made above, which lives until close(); this thread alone knows it.
    HostMemory.copyIn(code, 0, base + TRAMPOLINE, code.length);
    for (int at = 0; at < STRETCH; at += PAGE) {
      if (at != UserContext.CODE && (at < UserContext.DATA || at >= UserContext.DATA_END)) {
        HostCall.forbid(base + at, PAGE);
      }
    }
    HostCall.forbid(base + STATE + PAGE, SIGNAL_STACK - STATE - PAGE);
    HostCall.writeLdt(base);
    trampoline = new HostCall(base + TRAMPOLINE);
    signals =
        new HostSignals(
            a.addressOf(handler), base + SIGNAL, base + SIGNAL_STACK, SIGNAL_STACK_SIZE);
  }

  /** Whether this host can be the oracle. */
  static boolean isSupported() {
    return HostProcessor.isSupported();
  }

  /** Start of the stretch of code and data. */
  long base() {
    return base;
  }

  /** Of the stack pointer, where IRET to a 16-bit stack does not load it. */
  static long upperHalf(final long base) {
    return base + FRAME & 0xFFFF_0000L;
  }

  /** Zeroes the data outside the window too. */
  void clearData() {
    HostMemory.fill(base + UserContext.DATA, UserContext.DATA_END - UserContext.DATA, 0);
  }

  /** Runs the code on the state, which becomes what it left. */
  void run(final UserContext c) {
    if (closed) {
      throw new IllegalStateException("closed");
    }
    final long start = base + c.codeOffset;
    writeCode(c, start);
    for (int i = 0; i < Gpr.COUNT; i++) {
      HostMemory.putLong(base + GPRS + 8L * i, c.gprs[i]);
    }
    HostMemory.putLong(base + FRAME, c.codeSize == 2 ? c.codeOffset : start);
    HostMemory.putLong(base + FRAME + 8, c.codeSelector());
    HostMemory.putLong(base + FRAME + 16, c.flags | Flags.RESERVED_1 | Flags.IF);
    HostMemory.putLong(base + FRAME + 24, c.gprs[Gpr.RSP]);
    HostMemory.putLong(base + FRAME + 32, c.ss);
    HostMemory.putLong(base + IN_DS, c.ds);
    HostMemory.putLong(base + IN_ES, c.es);
    HostMemory.copyIn(c.fx, 0, base + FX, HostProcessor.FX_SIZE);
    for (int i = 0; i < 16; i++) {
      HostMemory.copyIn(c.fx, 160 + 16 * i, base + YMM + 32L * i, 16);
      HostMemory.copyIn(c.high, 16 * i, base + YMM + 32L * i + 16, 16);
    }
    HostMemory.copyIn(c.memory, 0, base + c.windowOffset, UserContext.WINDOW);
    HostMemory.putLong(base + SIGNAL + HostSignals.TRAP, NOT_TAKEN);
    trampoline.call();
    HostMemory.copyOut(base + c.windowOffset, c.memory, 0, UserContext.WINDOW);
    for (int i = 0; i < Gpr.COUNT; i++) {
      c.gprs[i] = HostMemory.getLong(base + GPRS + 8L * i);
    }
    HostMemory.copyOut(base + FX, c.fx, 0, HostProcessor.FX_SIZE);
    for (int i = 0; i < 16; i++) {
      HostMemory.copyOut(base + YMM + 32L * i + 16, c.high, 16 * i, 16);
    }
    c.ds = (int) HostMemory.getLong(base + OUT_DS) & 0xFFFF;
    c.es = (int) HostMemory.getLong(base + OUT_ES) & 0xFFFF;
    outcome(c, start);
  }

  private void outcome(final UserContext c, final long start) {
    c.vector = (int) HostMemory.getLong(base + SIGNAL + HostSignals.TRAP);
    if (c.vector < 0) {
      c.flags = HostMemory.getLong(base + OUT_FLAGS) & FLAGS;
      c.ss = (int) HostMemory.getLong(base + OUT_SS) & 0xFFFF;
      return;
    }
    c.flags = HostMemory.getLong(base + SIGNAL + HostSignals.FLAGS) & FLAGS;
    final long selectors = HostMemory.getLong(base + SIGNAL + HostSignals.SELECTORS);
    c.ss = (int) (selectors >>> 48);
    c.errorCode = HostMemory.getLong(base + SIGNAL + HostSignals.ERROR);
    c.address = HostMemory.getLong(base + SIGNAL + HostSignals.ADDRESS);
    final boolean based = ((int) selectors & 0xFFF7) == UserContext.CODE16;
    c.rip = HostMemory.getLong(base + SIGNAL + HostSignals.RIP) - (based ? start - base : start);
  }

  /** Puts the code and a jump out of it, as far as the page reaches: behind it a fetch faults. */
  private void writeCode(final UserContext c, final long start) {
    final byte[] exitJump = new byte[8];
    final int length;
    if (c.codeSize == 8) {
      exitJump[0] = (byte) 0xE9;
      FloatValues.put(exitJump, 1, 4, exit - (start + c.code.length + 5));
      length = 5;
    } else {
      final int at = c.codeSize == 2 ? 1 : 0;
      exitJump[0] = 0x66;
      exitJump[at] = (byte) 0xEA;
      FloatValues.put(exitJump, at + 1, 4, exit);
      FloatValues.put(exitJump, at + 5, 2, UserContext.CODE64);
      length = 7 + at;
    }
    final long end = base + UserContext.CODE + PAGE;
    final int code = (int) Math.min(c.code.length, end - start);
    HostMemory.copyIn(c.code, 0, start, code);
    if (start + code + length <= end) {
      HostMemory.copyIn(exitJump, 0, start + code, length);
    }
  }

  private void enter(final Assembler a) {
    for (final Register register : HostCall.SAVED) {
      a.push(register);
    }
    a.mov(at(HOST_RSP), Register.RSP);
    a.fxsave(at(HOST_FX));
    a.fxrstor(at(FX));
    HostCall.moveYmm(a, 0x6F, base + YMM, avx);
    a.mov(Register.RAX, at(IN_DS));
    a.mov(Register.DS, Register.EAX);
    a.mov(Register.RAX, at(IN_ES));
    a.mov(Register.ES, Register.EAX);
    for (int i = 0; i < Gpr.COUNT; i++) {
      if (i != Gpr.RSP) {
        a.mov(Register.gpr(i, 8), at(GPRS + 8 * i));
      }
    }
    a.mov(at(IN_GUEST).asDword(), 1);
    a.mov(Register.RSP, base + FRAME);
    a.db(0x48, 0xCF); // IRETQ
  }

  private void leave(final Assembler a) {
    for (int i = 0; i < Gpr.COUNT; i++) {
      a.mov(at(GPRS + 8 * i), Register.gpr(i, 8));
    }
    // Back to the host's stack before anything is pushed.
    a.mov(Register.RSP, at(HOST_RSP));
    a.mov(at(IN_GUEST).asDword(), 0);
    a.pushf();
    a.pop(at(OUT_FLAGS).asQword());
    a.push(Flags.RESERVED_1);
    a.popf();
    a.mov(Register.EAX, Register.DS);
    a.mov(at(OUT_DS), Register.RAX);
    a.mov(Register.EAX, Register.ES);
    a.mov(at(OUT_ES), Register.RAX);
    a.mov(Register.EAX, Register.SS);
    a.mov(at(OUT_SS), Register.RAX);
    a.mov(Register.EAX, UserContext.DATA32);
    a.mov(Register.SS, Register.EAX);
    a.xor(Register.EAX, Register.EAX);
    a.mov(Register.DS, Register.EAX);
    a.mov(Register.ES, Register.EAX);
    a.fxsave(at(FX));
    HostCall.moveYmm(a, 0x7F, base + YMM, avx);
    if (avx) {
      a.db(0xC5, 0xF8, 0x77); // VZEROUPPER
    }
    a.fxrstor(at(HOST_FX));
    for (int i = HostCall.SAVED.length - 1; i >= 0; i--) {
      a.pop(HostCall.SAVED[i]);
    }
    a.ret();
  }

  /** The mapping lies below 2 GiB, so that absolute addresses reach it. */
  private Memory at(final int offset) {
    return Memory.absolute(base + offset);
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      signals.close();
      HostCall.unmap(base, MAPPING_SIZE);
    }
  }
}
