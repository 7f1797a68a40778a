package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;

/** Loads segment registers from descriptor tables, with the checks of SDM Vol. 3A, 5.5 to 5.8. */
final class SegmentLoader {
  private SegmentLoader() {}

  /** Address of a selector's descriptor; raises {@code vector(selector)} beyond the limit. */
  static long descriptorAddress(final SoftVcpu cpu, final int selector, final int vector) {
    return descriptorAddress(cpu, selector, vector, 8, 0);
  }

  private static long descriptorAddress(
      final SoftVcpu cpu, final int selector, final int vector, final int bytes, final int ext) {
    final long s = cpu.state;
    final int error = selector & 0xFFFC | ext;
    final long base;
    final long limit;
    if ((selector & 4) != 0) {
      if ((cpu.rights(Seg.LDTR) & StateLayout.SEG_UNUSABLE) != 0) {
        throw cpu.raise(vector, error);
      }
      base = cpu.segmentBase(Seg.LDTR);
      limit = cpu.segmentLimit(Seg.LDTR);
    } else {
      base = HostMemory.getLong(s + StateLayout.GDTR_BASE);
      limit = HostMemory.getLong(s + StateLayout.GDTR_LIMIT);
    }
    final int offset = selector & 0xFFF8;
    if (offset + bytes - 1 > limit) {
      throw cpu.raise(vector, error);
    }
    return base + offset;
  }

  static long descriptor(final SoftVcpu cpu, final int selector, final int vector) {
    return cpu.loadSystem(descriptorAddress(cpu, selector, vector), 8);
  }

  /** Sets the accessed bit where it is clear. */
  static long markAccessed(final SoftVcpu cpu, final int selector, final long raw) {
    if ((raw >>> 40 & Descriptor.ACCESSED) == 0) {
      final long address = descriptorAddress(cpu, selector, Vector.GP);
      cpu.storeSystem(address + 5, 1, raw >>> 40 & 0xFF | Descriptor.ACCESSED);
    }
    return raw | 1L << 40;
  }

  /** MOV, POP, LxS to ES, SS, DS, FS or GS. */
  static void load(final SoftVcpu cpu, final int segment, final int selector) {
    if (cpu.isVm86()) {
      cpu.setSegment(segment, selector, (long) selector << 4, 0xFFFF, 0xF3);
      return;
    }
    if (!cpu.isProtected()) {
      // What protected mode left of a limit stays: "unreal mode". Of a null selector nothing did.
      final boolean none = (cpu.rights(segment) & StateLayout.SEG_UNUSABLE) != 0;
      cpu.setSegment(
          segment,
          selector,
          (long) selector << 4,
          none ? 0xFFFF : cpu.segmentLimit(segment),
          none ? 0x93 : cpu.rights(segment));
      return;
    }
    if (segment == Seg.SS) {
      loadStack(cpu, selector, cpu.cpl(), Vector.GP);
      return;
    }
    if ((selector & 0xFFFC) == 0) {
      loadNull(cpu, segment, selector);
      return;
    }
    final int error = selector & 0xFFFC;
    long raw = descriptor(cpu, selector, Vector.GP);
    final int rights = Descriptor.rights(raw);
    final int rpl = selector & 3;
    final boolean data = (rights & (Descriptor.S | Descriptor.CODE)) == Descriptor.S;
    final boolean readable =
        data || Descriptor.isCode(rights) && (rights & Descriptor.READ_WRITE) != 0;
    if (!readable
        || !Descriptor.isConforming(rights) && Math.max(rpl, cpu.cpl()) > Descriptor.dpl(rights)) {
      throw cpu.raise(Vector.GP, error);
    }
    if ((rights & Descriptor.PRESENT) == 0) {
      throw cpu.raise(Vector.NP, error);
    }
    raw = markAccessed(cpu, selector, raw);
    cpu.setSegment(
        segment, selector, Descriptor.base(raw), Descriptor.limit(raw), Descriptor.rights(raw));
  }

  /** Null clears the base too, as Intel's processors do: FS and GS keep none by this. */
  static void loadNull(final SoftVcpu cpu, final int segment, final int selector) {
    cpu.setSegment(segment, selector, 0, 0, StateLayout.SEG_UNUSABLE);
  }

  /**
   * Loads SS for a privilege level.
   *
   * @param vector of the faults other than not-present: GP, or TS for a stack from the TSS
   */
  static void loadStack(
      final SoftVcpu cpu, final int selector, final int newCpl, final int vector) {
    if ((selector & 0xFFFC) == 0) {
      if (cpu.longMode64() && newCpl != 3 && (selector & 3) == newCpl) {
        cpu.setSegment(Seg.SS, selector, 0, 0, StateLayout.SEG_UNUSABLE | newCpl << 5);
        return;
      }
      throw cpu.raise(vector, 0);
    }
    final long raw = checkedStack(cpu, selector, newCpl, vector, 0);
    cpu.setSegment(
        Seg.SS, selector, Descriptor.base(raw), Descriptor.limit(raw), Descriptor.rights(raw));
  }

  /**
   * Descriptor of a stack segment for a privilege level, accessed bit set.
   *
   * @param ext bit 0 of the error codes: met while delivering an event from outside the program
   */
  static long checkedStack(
      final SoftVcpu cpu, final int selector, final int newCpl, final int vector, final int ext) {
    final int error = selector & 0xFFFC | ext;
    final long raw = cpu.loadSystem(descriptorAddress(cpu, selector, vector, 8, ext), 8);
    final int rights = Descriptor.rights(raw);
    if ((selector & 3) != newCpl
        || !Descriptor.isWritableData(rights)
        || Descriptor.dpl(rights) != newCpl) {
      throw cpu.raise(vector, error);
    }
    if ((rights & Descriptor.PRESENT) == 0) {
      throw cpu.raise(Vector.SS, error);
    }
    return markAccessed(cpu, selector, raw);
  }

  /**
   * Checks a code segment for a far JMP or CALL without a gate and gives its descriptor, accessed
   * bit set. The new CS selector's RPL is the CPL.
   */
  static long checkedCode(final SoftVcpu cpu, final int selector) {
    if ((selector & 0xFFFC) == 0) {
      throw cpu.raise(Vector.GP, 0);
    }
    final int error = selector & 0xFFFC;
    final long raw = descriptor(cpu, selector, Vector.GP);
    final int rights = Descriptor.rights(raw);
    final int dpl = Descriptor.dpl(rights);
    final boolean allowed =
        Descriptor.isConforming(rights)
            ? dpl <= cpu.cpl()
            : dpl == cpu.cpl() && (selector & 3) <= cpu.cpl();
    if (!Descriptor.isCode(rights) || !allowed) {
      throw cpu.raise(Vector.GP, error);
    }
    checkLongBits(cpu, rights, error);
    if ((rights & Descriptor.PRESENT) == 0) {
      throw cpu.raise(Vector.NP, error);
    }
    return markAccessed(cpu, selector, raw);
  }

  /** L and D both set is reserved in long mode. */
  static void checkLongBits(final SoftVcpu cpu, final int rights, final int error) {
    if (cpu.isLong()
        && (rights & (Descriptor.LONG | Descriptor.BIG)) == (Descriptor.LONG | Descriptor.BIG)) {
      throw cpu.raise(Vector.GP, error);
    }
  }

  static void setCode(final SoftVcpu cpu, final int selector, final long raw) {
    cpu.setSegment(
        Seg.CS, selector, Descriptor.base(raw), Descriptor.limit(raw), Descriptor.rights(raw));
  }

  static void loadLdt(final SoftVcpu cpu, final int selector) {
    if ((selector & 0xFFFC) == 0) {
      cpu.setSegment(Seg.LDTR, selector, 0, 0, StateLayout.SEG_UNUSABLE);
      return;
    }
    final long address = systemDescriptorAddress(cpu, selector);
    final long raw = cpu.loadSystem(address, 8);
    final int rights = Descriptor.rights(raw);
    if ((rights & (Descriptor.S | Descriptor.TYPE)) != Descriptor.TYPE_LDT) {
      throw cpu.raise(Vector.GP, selector & 0xFFFC);
    }
    checkPresent(cpu, rights, selector);
    cpu.setSegment(
        Seg.LDTR, selector, systemBase(cpu, address, raw), Descriptor.limit(raw), rights);
  }

  static void loadTask(final SoftVcpu cpu, final int selector) {
    if ((selector & 0xFFFC) == 0) {
      throw cpu.raise(Vector.GP, 0);
    }
    final long address = systemDescriptorAddress(cpu, selector);
    final long raw = cpu.loadSystem(address, 8);
    final int rights = Descriptor.rights(raw);
    final int type = rights & (Descriptor.S | Descriptor.TYPE);
    if (type != Descriptor.TYPE_TSS32_AVAILABLE
        && (cpu.isLong() || type != Descriptor.TYPE_TSS16_AVAILABLE)) {
      throw cpu.raise(Vector.GP, selector & 0xFFFC);
    }
    checkPresent(cpu, rights, selector);
    final long base = systemBase(cpu, address, raw);
    cpu.storeSystem(address + 5, 1, raw >>> 40 & 0xFF | Descriptor.TSS_BUSY);
    cpu.setSegment(Seg.TR, selector, base, Descriptor.limit(raw), rights | Descriptor.TSS_BUSY);
  }

  private static void checkPresent(final SoftVcpu cpu, final int rights, final int selector) {
    if ((rights & Descriptor.PRESENT) == 0) {
      throw cpu.raise(Vector.NP, selector & 0xFFFC);
    }
  }

  private static long systemDescriptorAddress(final SoftVcpu cpu, final int selector) {
    if ((selector & 4) != 0) {
      throw cpu.raise(Vector.GP, selector & 0xFFFC);
    }
    return descriptorAddress(cpu, selector, Vector.GP, cpu.isLong() ? 16 : 8, 0);
  }

  /** System descriptors are 16 bytes long in long mode. */
  private static long systemBase(final SoftVcpu cpu, final long address, final long raw) {
    return cpu.isLong()
        ? Descriptor.base(raw) | cpu.loadSystem(address + 8, 4) << 32
        : Descriptor.base(raw);
  }
}
