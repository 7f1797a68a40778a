package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;

/**
 * Descriptors named by gates and by task-state segments: the checks of SDM Vol. 3A, 5.8 and 8.3,
 * where the exception and bit 0 of its error code depend on who asked.
 *
 * <p>All accesses are the processor's own: the caller is in a supervisor context.
 */
final class Selectors {
  private Selectors() {}

  /** Part of a selector that an error code shows. */
  static int error(final int selector, final int ext) {
    return selector & 0xFFFC | ext;
  }

  static boolean isNull(final int selector) {
    return (selector & 0xFFFC) == 0;
  }

  /**
   * Linear address of a descriptor.
   *
   * @param bytes of the descriptor that must lie within its table
   * @param vector raised, with the selector, where they do not
   * @param ext bit 0 of the error code: 1 while an event from outside the program is delivered
   */
  static long address(
      final SoftVcpu cpu, final int selector, final int bytes, final int vector, final int ext) {
    final boolean local = (selector & 4) != 0;
    if (local && (cpu.rights(Seg.LDTR) & StateLayout.SEG_UNUSABLE) != 0) {
      throw cpu.raise(vector, error(selector, ext));
    }
    final long s = cpu.state;
    final long base =
        local ? cpu.segmentBase(Seg.LDTR) : HostMemory.getLong(s + StateLayout.GDTR_BASE);
    final long limit =
        local ? cpu.segmentLimit(Seg.LDTR) : HostMemory.getLong(s + StateLayout.GDTR_LIMIT);
    final int offset = selector & 0xFFF8;
    if (offset + bytes - 1 > limit) {
      throw cpu.raise(vector, error(selector, ext));
    }
    return base + offset;
  }

  /** Eight bytes of a descriptor. */
  static long read(final SoftVcpu cpu, final int selector, final int vector, final int ext) {
    return cpu.loadSystem(address(cpu, selector, 8, vector, ext), 8);
  }

  static void present(
      final SoftVcpu cpu, final int rights, final int selector, final int vector, final int ext) {
    if ((rights & Descriptor.PRESENT) == 0) {
      throw cpu.raise(vector, error(selector, ext));
    }
  }

  /** Sets the accessed bit of a code or data descriptor where it is clear. */
  static long accessed(final SoftVcpu cpu, final int selector, final long raw) {
    if ((raw >>> 40 & Descriptor.ACCESSED) == 0) {
      final long address = address(cpu, selector, 8, Vector.GP, 0);
      cpu.storeSystem(address + 5, 1, raw >>> 40 & 0xFF | Descriptor.ACCESSED);
    }
    return raw | 1L << 40;
  }

  /** A stack segment for a privilege level, from a TSS: #TS, or #SS where it is not present. */
  static long stack(final SoftVcpu cpu, final int selector, final int newCpl, final int ext) {
    if (isNull(selector)) {
      throw cpu.raise(Vector.TS, error(selector, ext));
    }
    final long raw = read(cpu, selector, Vector.TS, ext);
    final int rights = Descriptor.rights(raw);
    if ((selector & 3) != newCpl
        || Descriptor.dpl(rights) != newCpl
        || !Descriptor.isWritableData(rights)) {
      throw cpu.raise(Vector.TS, error(selector, ext));
    }
    present(cpu, rights, selector, Vector.SS, ext);
    return accessed(cpu, selector, raw);
  }
}
