package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;

/** MOVS, STOS, LODS, SCAS, CMPS, INS, OUTS. */
final class StringOps {
  /** Overlapping strings closer than this are copied by the element. */
  private static final long CLOSE = 64;

  private StringOps() {}

  static final class Move extends StringOp {
    Move(final Instruction insn) {
      super(insn);
    }

    @Override
    void element(final SoftCpu cpu) {
      final long from = source(cpu);
      final long to = destination(cpu, true);
      cpu.store(to, size, cpu.load(from, size));
      advance(cpu, RSI, 1);
      advance(cpu, RDI, 1);
    }

    @Override
    long chunk(final SoftCpu cpu, final long count) {
      final long from = source(cpu);
      final long to = destination(cpu, true);
      final long hostFrom = cpu.hostRead(from, size);
      final long hostTo = cpu.hostWrite(to, size);
      if (hostFrom == 0 || hostTo == 0) {
        return 0;
      }
      final long elements = destinationRoom(cpu, to, sourceRoom(cpu, from, count));
      copyUpwards(hostFrom, hostTo, elements * size);
      advance(cpu, RSI, elements);
      advance(cpu, RDI, elements);
      return elements;
    }

    /**
     * Copies as a loop over elements would: where the destination begins inside the source, what
     * was copied is copied again.
     */
    private void copyUpwards(final long from, final long to, final long bytes) {
      final long distance = to - from;
      if (distance <= 0 || distance >= bytes) {
        HostMemory.copy(from, to, bytes);
      } else if (distance < CLOSE) {
        for (long i = 0; i < bytes; i += size) {
          HostMemory.put(to + i, size, HostMemory.get(from + i, size));
        }
      } else {
        // A piece as long as the distance overlaps nothing, and is whole before the next reads it.
        for (long i = 0; i < bytes; i += distance) {
          HostMemory.copy(from + i, to + i, Math.min(distance, bytes - i));
        }
      }
    }
  }

  static final class Store extends StringOp {
    Store(final Instruction insn) {
      super(insn);
    }

    @Override
    void element(final SoftCpu cpu) {
      cpu.store(destination(cpu, true), size, cpu.reg64(RAX));
      advance(cpu, RDI, 1);
    }

    @Override
    long chunk(final SoftCpu cpu, final long count) {
      final long to = destination(cpu, true);
      final long host = cpu.hostWrite(to, size);
      if (host == 0) {
        return 0;
      }
      final long elements = destinationRoom(cpu, to, count);
      final long value = cpu.reg64(RAX);
      final long bytes = elements * size;
      if (isUniform(value)) {
        HostMemory.fill(host, bytes, (int) value);
      } else {
        for (long i = 0; i < bytes; i += size) {
          HostMemory.put(host + i, size, value);
        }
      }
      advance(cpu, RDI, elements);
      return elements;
    }

    /** Whether all bytes of the element are the same. */
    private boolean isUniform(final long value) {
      final long repeated = (value & 0xFF) * 0x0101_0101_0101_0101L;
      return (repeated ^ value) << Alu.shiftOf(size) == 0;
    }
  }

  static final class Load extends StringOp {
    Load(final Instruction insn) {
      super(insn);
    }

    @Override
    void element(final SoftCpu cpu) {
      Registers.write(cpu, RAX, size, cpu.load(source(cpu), size));
      advance(cpu, RSI, 1);
    }

    @Override
    long chunk(final SoftCpu cpu, final long count) {
      // Nobody repeats LODS.
      return 0;
    }
  }

  /** A comparison: repeats while ZF is as the prefix says. */
  abstract static class Comparison extends StringOp {
    private final boolean whileEqual;

    Comparison(final Instruction insn) {
      super(insn);
      whileEqual = !insn.hasPrefix(Instruction.PREFIX_REPNE);
    }

    @Override
    final boolean ended(final SoftCpu cpu) {
      return cpu.zf() != whileEqual;
    }

    /** Whether a pair of elements ends the repetition. */
    final boolean ends(final long a, final long b) {
      return (a == b) != whileEqual;
    }
  }

  /** SCAS: rAX less ES:rDI. */
  static final class Scan extends Comparison {
    Scan(final Instruction insn) {
      super(insn);
    }

    @Override
    void element(final SoftCpu cpu) {
      final long b = cpu.load(destination(cpu, false), size);
      Alu.cmp(cpu, Registers.read(cpu, RAX, size), b, Alu.shiftOf(size));
      advance(cpu, RDI, 1);
    }

    @Override
    long chunk(final SoftCpu cpu, final long count) {
      final long at = destination(cpu, false);
      final long host = cpu.hostRead(at, size);
      final long elements = host == 0 ? 0 : destinationRoom(cpu, at, count);
      if (elements == 0) {
        return 0;
      }
      final long a = Registers.read(cpu, RAX, size);
      long done = 0;
      long b;
      do {
        b = HostMemory.get(host + done * size, size);
        done++;
      } while (done < elements && !ends(a, b));
      Alu.cmp(cpu, a, b, Alu.shiftOf(size));
      advance(cpu, RDI, done);
      return done;
    }
  }

  /** CMPS: DS:rSI less ES:rDI. */
  static final class Compare extends Comparison {
    Compare(final Instruction insn) {
      super(insn);
    }

    @Override
    void element(final SoftCpu cpu) {
      final long a = cpu.load(source(cpu), size);
      final long b = cpu.load(destination(cpu, false), size);
      Alu.cmp(cpu, a, b, Alu.shiftOf(size));
      advance(cpu, RSI, 1);
      advance(cpu, RDI, 1);
    }

    @Override
    long chunk(final SoftCpu cpu, final long count) {
      final long first = source(cpu);
      final long second = destination(cpu, false);
      final long hostFirst = cpu.hostRead(first, size);
      final long hostSecond = cpu.hostRead(second, size);
      if (hostFirst == 0 || hostSecond == 0) {
        return 0;
      }
      final long elements = destinationRoom(cpu, second, sourceRoom(cpu, first, count));
      if (elements == 0) {
        return 0;
      }
      long done = 0;
      long a;
      long b;
      do {
        a = HostMemory.get(hostFirst + done * size, size);
        b = HostMemory.get(hostSecond + done * size, size);
        done++;
      } while (done < elements && !ends(a, b));
      Alu.cmp(cpu, a, b, Alu.shiftOf(size));
      advance(cpu, RSI, done);
      advance(cpu, RDI, done);
      return done;
    }
  }

  /** INS: the destination is probed first, as a port read cannot be taken back. */
  static final class Input extends StringOp {
    Input(final Instruction insn) {
      super(insn);
    }

    @Override
    public boolean isTerminator() {
      return true;
    }

    @Override
    void element(final SoftCpu cpu) {
      final int port = cpu.reg16(RDX);
      cpu.checkPort(port, size);
      final long to = destination(cpu, true);
      cpu.probeWrite(to, size);
      cpu.store(to, size, cpu.portIn(port, size));
      advance(cpu, RDI, 1);
    }

    /**
     * Several elements in one exit. Executed again with the answer, it must ask for as many as
     * before: their number depends on registers and segments alone, not on what is mapped.
     */
    @Override
    long chunk(final SoftCpu cpu, final long count) {
      final int port = cpu.reg16(RDX);
      cpu.checkPort(port, size);
      final long to = destination(cpu, true);
      final int elements =
          (int) Math.min(destinationRoom(cpu, to, count), VcpuExit.MAX_DATA / size);
      // A page that does not take stores at once gets its element singly; and what was asked for
      // singly is taken so.
      final int answered = cpu.portAnswered();
      if (elements <= 1 || (answered == 0 ? cpu.hostWrite(to, size) == 0 : answered == 1)) {
        return 0;
      }
      final byte[] data = cpu.portInMany(port, size, elements);
      for (int i = 0; i < elements; i++) {
        long value = 0;
        for (int b = 0; b < size; b++) {
          value |= (data[i * size + b] & 0xFFL) << 8 * b;
        }
        cpu.store(to + (long) i * size, size, value);
      }
      advance(cpu, RDI, elements);
      return elements;
    }
  }

  static final class Output extends StringOp {
    Output(final Instruction insn) {
      super(insn);
    }

    @Override
    public boolean isTerminator() {
      return true;
    }

    @Override
    void element(final SoftCpu cpu) {
      final int port = cpu.reg16(RDX);
      cpu.checkPort(port, size);
      cpu.portOut(port, size, (int) cpu.load(source(cpu), size));
      advance(cpu, RSI, 1);
    }

    /** Several elements in one exit, as many as {@link Input#chunk} would read. */
    @Override
    long chunk(final SoftCpu cpu, final long count) {
      final int port = cpu.reg16(RDX);
      cpu.checkPort(port, size);
      final long from = source(cpu);
      final int elements = (int) Math.min(sourceRoom(cpu, from, count), VcpuExit.MAX_DATA / size);
      final int answered = cpu.portAnswered();
      final long host = answered == 0 ? cpu.hostRead(from, size) : 0;
      if (elements <= 1 || (answered == 0 ? host == 0 : answered == 1)) {
        return 0;
      }
      cpu.portOutMany(port, size, elements, host);
      advance(cpu, RSI, elements);
      return elements;
    }
  }

  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case MOVS -> new Move(insn);
      case STOS -> new Store(insn);
      case LODS -> new Load(insn);
      case SCAS -> new Scan(insn);
      case CMPS -> new Compare(insn);
      case INS -> new Input(insn);
      case OUTS -> new Output(insn);
      default -> null;
    };
  }
}
