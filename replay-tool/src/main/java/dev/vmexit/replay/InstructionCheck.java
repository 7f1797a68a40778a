package dev.vmexit.replay;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.mmu.ShadowMmu;
import dev.vmexit.mmu.Translation;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.PageFaultError;
import dev.vmexit.x86.decode.Decoder;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/**
 * Decodes the recorded bytes in the recorded mode and compares the exit with what the instruction
 * does: operation, address, size, direction, and values where registers or immediates give them.
 */
final class InstructionCheck {
  private static final long MASK_32 = 0xFFFF_FFFFL;
  private static final int PAGE_OFFSET = 0xFFF;

  /** Bits of CR0 that a write can set: SDM Vol. 3A, 2.5. */
  private static final long CR0_WRITABLE = 0xE005_002FL;

  private final Findings findings;
  private final SlotMap slots;
  private final Decoder decoder = new Decoder();
  private final Instruction insn = new Instruction();
  private final MemoryAccess access = new MemoryAccess();
  private final Translation.Result translation = new Translation.Result();

  InstructionCheck(final Findings findings, final SlotMap slots) {
    this.findings = findings;
    this.slots = slots;
  }

  /**
   * Checks one record.
   *
   * @param mmu as it stands at this record, or null where there is none to ask
   * @return false where the trace differs
   */
  boolean check(final ExitEvent event, final ShadowMmu mmu) {
    switch (event.kind) {
      case PIO, CR, MSR, CPUID, HLT, INVLPG, TSC -> {
        // A task switch: whatever led to it, the new CR3 is from the TSS.
        if (event.kind == ExitKind.CR && event.instructionLength == 0 && event.address == 3) {
          return findings.same("value", event.value, event.cr3);
        }
        // Without its instruction such a record cannot be.
        if (event.instructionLength == 0) {
          return findings.differ("instruction bytes", "none", "some");
        }
      }
      case MMIO -> {
        if (!placed(event)) {
          return false;
        }
        // The delivery of an event, or a fetch: no instruction to ask.
        if (event.instructionLength == 0) {
          return true;
        }
      }
      // The bytes are those that KVM had fetched, in a mode of its own.
      case KERNEL -> {
        return true;
      }
      default -> {
        if (event.instructionLength == 0) {
          return true;
        }
      }
    }
    final int codeSize = event.mode & ExitEvent.MODE_CODE_SIZE;
    if (codeSize != 2 && codeSize != 4 && codeSize != 8) {
      return findings.differ("code size", Integer.toString(codeSize), "2, 4 or 8");
    }
    final int status =
        decoder.decode(event.instruction, 0, event.instructionLength, codeSize, insn);
    if (status != Decoder.STATUS_OK) {
      return findings.differ("instruction", "exits as " + event.kind, status(status));
    }
    if (insn.length != event.instructionLength) {
      return findings.same("instruction length", event.instructionLength, insn.length);
    }
    return switch (event.kind) {
      case PIO -> portAccess(event);
      case MMIO -> memoryAccess(event, mmu);
      case CR -> controlRegister(event);
      case MSR -> modelSpecificRegister(event);
      case CPUID -> cpuid(event);
      case HLT -> halt(event);
      case INVLPG -> invalidate(event);
      case TSC -> timeStamp(event);
      case PAGE_FAULT -> faultingAccess(event);
      default -> true;
    };
  }

  private static String status(final int status) {
    return switch (status) {
      case Decoder.STATUS_INVALID -> "invalid opcode";
      case Decoder.STATUS_TOO_LONG -> "longer than 15 bytes";
      default -> "bytes end before the instruction";
    };
  }

  private boolean operation(final boolean matches, final String recorded) {
    return matches || findings.differ("operation", recorded, insn.mnemonic.toString());
  }

  /** Low bytes of a value. */
  private static long low(final long value, final int bytes) {
    return bytes == 8 ? value : value & (1L << bytes * 8) - 1;
  }

  private boolean valueFits(final ExitEvent event) {
    return low(event.value, event.size) == event.value
        || findings.differ("value", Findings.hex(event.value), "at most " + event.size + " bytes");
  }

  // ---- port I/O ----

  private boolean portAccess(final ExitEvent event) {
    final int port;
    final int size;
    final boolean write;
    switch (insn.mnemonic) {
      case IN -> {
        write = false;
        size = insn.operandSizes[0];
        port = port(event, 1);
      }
      case OUT -> {
        write = true;
        size = insn.operandSizes[1];
        port = port(event, 0);
      }
      case INS, OUTS -> {
        write = insn.mnemonic == Mnemonic.OUTS;
        size = insn.operandSizes[0];
        port = (int) EffectiveAddress.register(event, Gpr.RDX) & 0xFFFF;
      }
      default -> {
        return operation(false, event.write ? "OUT" : "IN");
      }
    }
    if (write != event.write) {
      return findings.differ("direction", event.write ? "OUT" : "IN", insn.mnemonic.toString());
    }
    if (!findings.same("port", event.address, port)
        || !findings.same("size", event.size, size)
        || !valueFits(event)
        || !elementsFit(event)) {
      return false;
    }
    return insn.mnemonic != Mnemonic.OUT
        || findings.same(
            "value", event.value, low(EffectiveAddress.register(event, Gpr.RAX), size));
  }

  /** Several elements are those of a string with a repeat prefix, and no more than its count. */
  private boolean elementsFit(final ExitEvent event) {
    if (event.dataLength == 0) {
      return true;
    }
    if (insn.mnemonic != Mnemonic.INS && insn.mnemonic != Mnemonic.OUTS
        || !insn.hasPrefix(Instruction.PREFIX_REP | Instruction.PREFIX_REPNE)
        || event.dataLength % event.size != 0) {
      return findings.differ(
          "elements", event.dataLength + " bytes", "one of " + event.size + " bytes");
    }
    final long mask = insn.addressSize == 8 ? -1L : (1L << insn.addressSize * 8) - 1;
    final long count = EffectiveAddress.register(event, Gpr.RCX) & mask;
    return Long.compareUnsigned(event.dataLength / event.size, count) <= 0
        || findings.differ(
            "elements",
            Integer.toString(event.dataLength / event.size),
            "at most " + Long.toUnsignedString(count));
  }

  private int port(final ExitEvent event, final int operand) {
    return insn.operandKind[operand] == Instruction.IMMEDIATE
        ? (int) insn.immediate & 0xFF
        : (int) EffectiveAddress.register(event, Gpr.RDX) & 0xFFFF;
  }

  // ---- memory-mapped I/O ----

  /** An exit is no MMIO where memory takes the access. */
  private boolean placed(final ExitEvent event) {
    if (event.size != 1 && event.size != 2 && event.size != 4 && event.size != 8) {
      return findings.differ("size", Integer.toString(event.size), "1, 2, 4 or 8");
    }
    if (slots.isBacked(event.address) && !slots.isReadOnly(event.address)) {
      return findings.differ("address", Findings.hex(event.address) + " (MMIO)", "in RAM");
    }
    return valueFits(event);
  }

  private boolean memoryAccess(final ExitEvent event, final ShadowMmu mmu) {
    access.of(event, insn);
    if (!(event.write ? access.writes : access.reads)) {
      return operation(false, event.write ? "memory write" : "memory read");
    }
    if (!access.located) {
      return true;
    }
    final int known = EffectiveAddress.knownBits(event, access.segment);
    if (known == 0) {
      return true;
    }
    if (known < 12) {
      final long mask = (1L << known) - 1;
      // Which byte of the operand this piece starts at is unknown but for the operand's length.
      return access.size > 1
          || findings.same("address, low bits", event.address & mask, access.offset & mask);
    }
    // The piece's place in the operand: in the operand's first page, or in the next one.
    final int first = (int) access.offset & PAGE_OFFSET;
    final int at = (int) event.address & PAGE_OFFSET;
    final int skipped = at - first & PAGE_OFFSET;
    if (skipped + event.size > access.size) {
      return findings.differ(
          "address",
          Findings.hex(event.address),
          "page offset 0x" + Integer.toHexString(first) + ", " + access.size + " bytes");
    }
    if (event.write && access.storesKnown && access.size <= 8) {
      final long stored = low(access.stored >>> skipped * 8, event.size);
      if (!findings.same("value", event.value, stored)) {
        return false;
      }
    }
    return mmu == null || translates(event, mmu, access.offset + skipped);
  }

  private boolean translates(final ExitEvent event, final ShadowMmu mmu, final long offset) {
    final long gva = (event.mode & ExitEvent.MODE_CODE_SIZE) == 8 ? offset : offset & MASK_32;
    int kind = event.write || access.modifies() ? Translation.WRITE : Translation.READ;
    if ((event.mode & ExitEvent.MODE_CPL) == ExitEvent.MODE_CPL) {
      kind |= Translation.USER;
    } else if ((event.rflags & Flags.AC) != 0 || (event.cr4 & ControlRegisters.CR4_SMAP) == 0) {
      kind |= Translation.SMAP_OVERRIDE;
    }
    mmu.translate(gva, kind, translation);
    if (translation.outcome != Translation.Result.NO_SLOT) {
      return findings.differ(
          "address",
          Findings.hex(event.address) + " (MMIO)",
          translation.outcome == Translation.Result.OK
              ? Findings.hex(translation.gpa) + " (RAM) for gva " + Findings.hex(gva)
              : "no translation of gva " + Findings.hex(gva));
    }
    return findings.same("address", event.address, translation.gpa);
  }

  /** A fault on data must be at the instruction's operand, where that is all it touches. */
  private boolean faultingAccess(final ExitEvent event) {
    if ((event.errorCode & PageFaultError.FETCH) != 0) {
      return true;
    }
    access.of(event, insn);
    if (!access.located || EffectiveAddress.knownBits(event, access.segment) < 64) {
      return true;
    }
    final boolean wide = (event.mode & ExitEvent.MODE_CODE_SIZE) == 8;
    final long distance = event.address - access.offset & (wide ? -1L : MASK_32);
    // At its first byte, or where it crosses into the next page.
    return distance == 0
        || (distance > 0 && distance < access.size && (event.address & PAGE_OFFSET) == 0)
        || findings.differ(
            "gva",
            Findings.hex(event.address),
            Findings.hex(access.offset) + ", " + access.size + " bytes");
  }

  // ---- registers ----

  private boolean controlRegister(final ExitEvent event) {
    final int number = (int) event.address;
    final long state =
        switch (number) {
          case 0 -> event.cr0;
          case 3 -> event.cr3;
          case 4 -> event.cr4;
          default -> event.value;
        };
    if (!findings.same("value", event.value, state)) {
      return false;
    }
    if (insn.mnemonic == Mnemonic.LMSW || insn.mnemonic == Mnemonic.CLTS) {
      return findings.same("register", number, 0);
    }
    if (!operation(
        insn.mnemonic == Mnemonic.MOV && insn.operandKind[0] == Instruction.CONTROL,
        "write of a control register")) {
      return false;
    }
    if (!findings.same("register", number, insn.operandRegister[0])) {
      return false;
    }
    long source = EffectiveAddress.register(event, insn.operandRegister[1]);
    if (insn.codeSize != 8) {
      source &= MASK_32;
    }
    return switch (number) {
      case 0 -> findings.same("value", event.value & CR0_WRITABLE, source & CR0_WRITABLE);
      case 3 ->
          findings.same(
              "value",
              event.value & ~ControlRegisters.CR3_NO_FLUSH,
              source & ~ControlRegisters.CR3_NO_FLUSH);
      default -> findings.same("value", event.value, source);
    };
  }

  private boolean modelSpecificRegister(final ExitEvent event) {
    final boolean write = insn.mnemonic == Mnemonic.WRMSR;
    if (!operation(write || insn.mnemonic == Mnemonic.RDMSR, "RDMSR or WRMSR")) {
      return false;
    }
    if (write != event.write) {
      return findings.differ("direction", event.write ? "write" : "read", insn.mnemonic.toString());
    }
    if (!findings.same(
        "index", event.address, EffectiveAddress.register(event, Gpr.RCX) & MASK_32)) {
      return false;
    }
    return !write || findings.same("value", event.value, edxEax(event));
  }

  private static long edxEax(final ExitEvent event) {
    return EffectiveAddress.register(event, Gpr.RDX) << 32
        | EffectiveAddress.register(event, Gpr.RAX) & MASK_32;
  }

  private boolean cpuid(final ExitEvent event) {
    return operation(insn.mnemonic == Mnemonic.CPUID, "CPUID")
        && findings.same("leaf", event.address, EffectiveAddress.register(event, Gpr.RAX) & MASK_32)
        && findings.same(
            "subleaf", event.value, EffectiveAddress.register(event, Gpr.RCX) & MASK_32);
  }

  private boolean halt(final ExitEvent event) {
    final int enabled = (event.rflags & Flags.IF) != 0 ? 1 : 0;
    return operation(
            insn.mnemonic == Mnemonic.HLT || insn.mnemonic == Mnemonic.MWAIT, "HLT or MWAIT")
        && findings.same("RFLAGS.IF", event.detail, enabled);
  }

  private boolean invalidate(final ExitEvent event) {
    if (insn.mnemonic == Mnemonic.INVPCID) {
      // The address stands in memory.
      return true;
    }
    if (!operation(insn.mnemonic == Mnemonic.INVLPG, "INVLPG or INVPCID")) {
      return false;
    }
    final int known = EffectiveAddress.knownBits(event, insn.segment);
    if (known == 0) {
      return true;
    }
    final long mask = known == 64 ? -1L : (1L << known) - 1;
    return findings.same(
        "address", event.address & mask, EffectiveAddress.offset(event, insn) & mask);
  }

  private boolean timeStamp(final ExitEvent event) {
    final int form =
        switch (insn.mnemonic) {
          case RDTSC -> ExitEvent.TSC_RDTSC;
          case RDTSCP -> ExitEvent.TSC_RDTSCP;
          case RDRAND -> ExitEvent.TSC_RDRAND;
          case RDSEED -> ExitEvent.TSC_RDSEED;
          default -> -1;
        };
    return operation(form >= 0, "RDTSC, RDTSCP, RDRAND or RDSEED")
        && findings.same("form", event.address, form);
  }
}
