package dev.vmexit.replay;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.decode.Instruction;

/**
 * Addresses of memory operands from recorded registers (SDM Vol. 1, 3.7.5).
 *
 * <p>A record has the base of CS alone. The others are known to be zero in 64-bit code but for FS
 * and GS; paged 32-bit code whose CS is flat is taken to have flat data segments; in real and
 * virtual-8086 mode a base is a multiple of 16. {@link #knownBits} says what can be relied on.
 */
final class EffectiveAddress {
  private EffectiveAddress() {}

  /** Value of a register that may take part in an address. */
  static long register(final ExitEvent event, final int register) {
    return event.registers[Gpr.kvmIndex(register)];
  }

  /** Offset of the ModRM or moffs operand in its segment. */
  static long offset(final ExitEvent event, final Instruction insn) {
    long address = insn.displacement;
    if (insn.base == Gpr.RIP) {
      address += event.rip + insn.length;
    } else if (insn.base >= 0) {
      address += register(event, insn.base);
    }
    if (insn.index >= 0) {
      address += register(event, insn.index) << insn.scaleShift;
    }
    return truncate(address, insn.addressSize);
  }

  /** Offset of a string operand. */
  static long string(final ExitEvent event, final Instruction insn, final boolean source) {
    return truncate(register(event, source ? Gpr.RSI : Gpr.RDI), insn.addressSize);
  }

  static long truncate(final long address, final int size) {
    return switch (size) {
      case 2 -> address & 0xFFFF;
      case 4 -> address & 0xFFFF_FFFFL;
      default -> address;
    };
  }

  /**
   * Low bits of the linear address that equal those of the offset: 64 where the base is zero, 4 in
   * real mode, 0 where the base could be anything.
   */
  static int knownBits(final ExitEvent event, final int segment) {
    final int codeSize = event.mode & ExitEvent.MODE_CODE_SIZE;
    if (codeSize == 8) {
      return segment == Seg.FS || segment == Seg.GS ? 0 : 64;
    }
    if ((event.cr0 & ControlRegisters.CR0_PE) == 0 || (event.mode & ExitEvent.MODE_VM86) != 0) {
      return 4;
    }
    final boolean flat =
        codeSize == 4
            && event.csBase == 0
            && (event.mode & ExitEvent.MODE_PAGING) != 0
            && segment != Seg.FS
            && segment != Seg.GS;
    return flat ? 64 : 0;
  }
}
