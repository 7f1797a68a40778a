package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.GuestFault;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;

/**
 * Memory accesses under a mask of sign bits: masked moves and gathers. What the mask leaves out is
 * not accessed and cannot fault.
 */
final class VexMasks {
  private static final int RESULT = StateLayout.XMM_SCRATCH + 3 * StateLayout.XMM_SIZE;

  private VexMasks() {}

  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case VMASKMOVPS, VPMASKMOVD -> masked(insn, 4);
      case VMASKMOVPD, VPMASKMOVQ -> masked(insn, 8);
      case VPGATHERDD, VGATHERDPS -> gather(insn, 4, 4);
      case VPGATHERDQ, VGATHERDPD -> gather(insn, 8, 4);
      case VPGATHERQD, VGATHERQPS -> gather(insn, 4, 8);
      case VPGATHERQQ, VGATHERQPD -> gather(insn, 8, 8);
      default -> null;
    };
  }

  private static Op masked(final Instruction insn, final int element) {
    return insn.operandKind[0] == Instruction.MEMORY
        ? new Store(insn, element)
        : new Load(insn, element);
  }

  /** Mask, destination and indexes must be three registers; else #UD. */
  private static Op gather(final Instruction insn, final int element, final int indexSize) {
    final int to = insn.operandRegister[0];
    final int mask = insn.operandRegister[2];
    return to == mask || to == insn.index || mask == insn.index
        ? null
        : new Gather(withoutIndex(insn), insn.index, element, indexSize);
  }

  /** The index is a vector, which {@link Op} must not take for a general register. */
  private static Instruction withoutIndex(final Instruction insn) {
    final Instruction copy = VexOps.copyOf(insn);
    copy.index = -1;
    return copy;
  }

  private static boolean isSet(final SoftCpu cpu, final int mask, final int at, final int element) {
    return cpu.reg8(mask + at + element - 1) >= 0x80;
  }

  private static final class Load extends VexOp {
    private final int element;
    private final int mask;

    Load(final Instruction insn, final int element) {
      super(insn);
      this.element = element;
      mask = register(insn, 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      final long result = cpu.state + RESULT;
      for (int i = 0; i < size; i += element) {
        long value = 0;
        if (isSet(cpu, mask, i, element)) {
          value = cpu.load(displacedAddress(cpu, i, element, false), element);
        }
        HostMemory.put(result + i, element, value);
      }
      copy(result, cpu.state + destination, size);
      clearAbove(cpu);
    }
  }

  private static final class Store extends VexOp {
    private final int element;
    private final int mask;
    private final int source;

    Store(final Instruction insn, final int element) {
      super(insn);
      this.element = element;
      mask = register(insn, 1);
      source = register(insn, 2);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      for (int i = 0; i < size; i += element) {
        if (isSet(cpu, mask, i, element)) {
          cpu.probeWrite(displacedAddress(cpu, i, element, true), element);
        }
      }
      for (int i = 0; i < size; i += element) {
        if (isSet(cpu, mask, i, element)) {
          cpu.store(
              displacedAddress(cpu, i, element, true),
              element,
              HostMemory.get(cpu.state + source + i, element));
        }
      }
    }
  }

  private static final class Gather extends VexOp {
    private final int element;
    private final int indexSize;
    private final int indexes;
    private final int mask;
    private final int scale;

    /** Bytes of the destination that are gathered. */
    private final int width;

    Gather(final Instruction insn, final int index, final int element, final int indexSize) {
      super(insn);
      this.element = element;
      this.indexSize = indexSize;
      indexes = StateLayout.XMM + index * StateLayout.XMM_SIZE;
      mask = register(insn, 2);
      scale = insn.scaleShift;
      final int vector = insn.hasPrefix(Instruction.PREFIX_VEX_L) ? 32 : 16;
      width = vector * element / Math.max(element, indexSize);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      final long result = cpu.state + RESULT;
      copy(cpu.state + destination, result, 32);
      int done = 0;
      try {
        for (; done < width; done += element) {
          if (isSet(cpu, mask, done, element)) {
            final int at = indexes + done / element * indexSize;
            final long index = indexSize == 8 ? cpu.reg64(at) : cpu.reg32(at);
            final long linear = displacedAddress(cpu, index << scale, element, false);
            HostMemory.put(result + done, element, cpu.load(linear, element));
          }
        }
      } catch (final GuestFault fault) {
        // What was gathered before the fault stays, and is not gathered again.
        copy(result, cpu.state + destination, 32);
        HostMemory.fill(cpu.state + mask, done, 0);
        throw fault;
      }
      HostMemory.fill(result + width, StateLayout.XMM_SIZE - width, 0);
      copy(result, cpu.state + destination, 32);
      HostMemory.fill(cpu.state + mask, StateLayout.XMM_SIZE, 0);
    }
  }
}
