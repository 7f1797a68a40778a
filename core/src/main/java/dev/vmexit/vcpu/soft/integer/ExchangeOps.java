package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.memory.WideExchange;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.decode.Instruction;

/**
 * XCHG, XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B. Each reads and writes memory as one step in the sight
 * of other vCPUs: so XCHG does always (SDM Vol. 3A, 8.1.2.1), and the others may without LOCK too.
 */
final class ExchangeOps {
  private static final int RAX = StateLayout.gpr(Gpr.RAX);
  private static final int RBX = StateLayout.gpr(Gpr.RBX);
  private static final int RCX = StateLayout.gpr(Gpr.RCX);
  private static final int RDX = StateLayout.gpr(Gpr.RDX);

  private ExchangeOps() {}

  static Op bindExchange(final Instruction insn) {
    if (Forms.isMemory(insn, 0)) {
      return new ExchangeMemory(insn, 1);
    }
    return Forms.isMemory(insn, 1) ? new ExchangeMemory(insn, 0) : new ExchangeRegisters(insn);
  }

  static Op bindExchangeAdd(final Instruction insn) {
    return Forms.isMemory(insn, 0) ? new AddMemory(insn) : new AddRegisters(insn);
  }

  static Op bindCompareExchange(final Instruction insn) {
    return Forms.isMemory(insn, 0) ? new CompareMemory(insn) : new CompareRegisters(insn);
  }

  static final class ExchangeRegisters extends Op {
    private final int size;
    private final int first;
    private final int second;

    ExchangeRegisters(final Instruction insn) {
      super(insn);
      size = insn.operandSizes[0];
      first = Forms.register(insn, 0);
      second = Forms.register(insn, 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long a = Registers.read(cpu, first, size);
      final long b = Registers.read(cpu, second, size);
      Registers.write(cpu, first, size, b);
      Registers.write(cpu, second, size, a);
    }
  }

  static final class ExchangeMemory extends Op {
    private final int size;
    private final int src;

    ExchangeMemory(final Instruction insn, final int registerOperand) {
      super(insn);
      size = insn.operandSizes[0];
      src = Forms.register(insn, registerOperand);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, size);
      final long replacement = Registers.read(cpu, src, size);
      long value;
      do {
        value = cpu.loadForWrite(linear, size);
      } while (!cpu.storeIfSame(linear, size, value, replacement));
      Registers.write(cpu, src, size, value);
    }
  }

  static final class AddRegisters extends Op {
    private final int size;
    private final int dst;
    private final int src;

    AddRegisters(final Instruction insn) {
      super(insn);
      size = insn.operandSizes[0];
      dst = Forms.register(insn, 0);
      src = Forms.register(insn, 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long a = Registers.read(cpu, dst, size);
      final long b = Registers.read(cpu, src, size);
      // The sum comes last: it wins where both are one register.
      Registers.write(cpu, src, size, a);
      Registers.write(cpu, dst, size, Alu.add(cpu, a, b, Alu.shiftOf(size)));
    }
  }

  static final class AddMemory extends Op {
    private final int size;
    private final int src;

    AddMemory(final Instruction insn) {
      super(insn);
      size = insn.operandSizes[0];
      src = Forms.register(insn, 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, size);
      final long b = Registers.read(cpu, src, size);
      long a;
      long r;
      do {
        a = cpu.loadForWrite(linear, size);
        r = a + b;
      } while (!cpu.storeIfSame(linear, size, a, r));
      Alu.addFlags(cpu, a, b, r, Alu.shiftOf(size));
      Registers.write(cpu, src, size, a);
    }
  }

  static final class CompareRegisters extends Op {
    private final int size;
    private final int dst;
    private final int src;

    CompareRegisters(final Instruction insn) {
      super(insn);
      size = insn.operandSizes[0];
      dst = Forms.register(insn, 0);
      src = Forms.register(insn, 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long accumulator = Registers.read(cpu, RAX, size);
      final long value = Registers.read(cpu, dst, size);
      final long replacement = Registers.read(cpu, src, size);
      Alu.cmp(cpu, accumulator, value, Alu.shiftOf(size));
      if (accumulator == value) {
        Registers.write(cpu, dst, size, replacement);
      } else {
        // A destination of 32 bits keeps its upper half: a register is not written back.
        Registers.write(cpu, RAX, size, value);
      }
    }
  }

  /** The destination is written whatever the comparison says (SDM Vol. 2, CMPXCHG). */
  static final class CompareMemory extends Op {
    private final int size;
    private final int src;

    CompareMemory(final Instruction insn) {
      super(insn);
      size = insn.operandSizes[0];
      src = Forms.register(insn, 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, size);
      final long accumulator = Registers.read(cpu, RAX, size);
      final long replacement = Registers.read(cpu, src, size);
      long value;
      boolean equal;
      do {
        value = cpu.loadForWrite(linear, size);
        equal = accumulator == value;
      } while (!cpu.storeIfSame(linear, size, value, equal ? replacement : value));
      Alu.cmp(cpu, accumulator, value, Alu.shiftOf(size));
      if (!equal) {
        Registers.write(cpu, RAX, size, value);
      }
    }
  }

  /** CMPXCHG8B: EDX:EAX with memory, ECX:EBX to it; ZF alone tells. */
  static final class Compare8 extends Op {
    Compare8(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, 8);
      final long expected = join(cpu.reg32(RDX), cpu.reg32(RAX));
      final long replacement = join(cpu.reg32(RCX), cpu.reg32(RBX));
      long value;
      boolean equal;
      do {
        value = cpu.loadForWrite(linear, 8);
        equal = value == expected;
      } while (!cpu.storeIfSame(linear, 8, value, equal ? replacement : value));
      if (!equal) {
        cpu.reg32(RAX, (int) value);
        cpu.reg32(RDX, (int) (value >>> 32));
      }
      setZero(cpu, equal);
    }

    private static long join(final int high, final int low) {
      return (long) high << 32 | (low & 0xFFFF_FFFFL);
    }
  }

  /** CMPXCHG16B: RDX:RAX with memory, RCX:RBX to it; #GP(0) unless aligned to 16 bytes. */
  static final class Compare16 extends Op {
    Compare16(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, 16);
      if ((linear & 15) != 0) {
        throw cpu.raise(Vector.GP, 0);
      }
      final long host = cpu.hostWrite(linear, 16);
      if (host == 0) {
        inHalves(cpu, linear);
        return;
      }
      final long operands = cpu.state + StateLayout.SCRATCH;
      HostMemory.putLong(operands, cpu.reg64(RAX));
      HostMemory.putLong(operands + 8, cpu.reg64(RDX));
      HostMemory.putLong(operands + 16, cpu.reg64(RBX));
      HostMemory.putLong(operands + 24, cpu.reg64(RCX));
      final boolean equal = WideExchange.compareAndSet(host, operands);
      if (!equal) {
        cpu.reg64(RAX, HostMemory.getLong(operands));
        cpu.reg64(RDX, HostMemory.getLong(operands + 8));
      }
      setZero(cpu, equal);
    }

    /** A device, or a page that is watched: not one step. */
    private static void inHalves(final SoftCpu cpu, final long linear) {
      // Aligned, both halves lie in one page: the second cannot fault where the first did not.
      final long low = cpu.loadForWrite(linear, 8);
      final long high = cpu.loadForWrite(linear + 8, 8);
      final boolean equal = low == cpu.reg64(RAX) && high == cpu.reg64(RDX);
      cpu.store64(linear, equal ? cpu.reg64(RBX) : low);
      cpu.store64(linear + 8, equal ? cpu.reg64(RCX) : high);
      if (!equal) {
        cpu.reg64(RAX, low);
        cpu.reg64(RDX, high);
      }
      setZero(cpu, equal);
    }
  }

  /** Changes ZF alone. */
  private static void setZero(final SoftCpu cpu, final boolean zero) {
    if (cpu.zf() != zero) {
      final int flags = cpu.arithmeticFlags();
      cpu.setArithmeticFlags(zero ? flags | Flags.ZF : flags & ~Flags.ZF);
    }
  }

  /** BSWAP; of 16 bits, undefined, it yields 0 as processors do. */
  static final class SwapBytes extends Op {
    private final int size;
    private final int dst;

    SwapBytes(final Instruction insn) {
      super(insn);
      size = insn.operandSizes[0];
      dst = Forms.register(insn, 0);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      switch (size) {
        case 8 -> cpu.reg64(dst, Long.reverseBytes(cpu.reg64(dst)));
        case 4 -> cpu.reg32(dst, Integer.reverseBytes(cpu.reg32(dst)));
        default -> cpu.reg16(dst, 0);
      }
    }
  }

  /** MOVBE: a load or a store with the bytes in reverse order. */
  static final class MoveSwapped extends Op {
    private final int size;
    private final boolean store;
    private final int register;

    MoveSwapped(final Instruction insn) {
      super(insn);
      size = insn.operandSizes[0];
      store = Forms.isMemory(insn, 0);
      register = Forms.register(insn, store ? 1 : 0);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (store) {
        final long value = Registers.read(cpu, register, size);
        cpu.store(writeAddress(cpu, size), size, swap(value));
      } else {
        final long value = cpu.load(readAddress(cpu, size), size);
        Registers.write(cpu, register, size, swap(value));
      }
    }

    private long swap(final long value) {
      return Long.reverseBytes(value) >>> Alu.shiftOf(size);
    }
  }
}
