package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.Seg;

/**
 * {@code struct kvm_sregs} and how it maps to {@link StateLayout}.
 *
 * <pre>
 *   0    cs ds es fs gs ss tr ldt    8 x 24: base 8, limit 4, selector 2, type, present, dpl, db,
 *                                    s, l, g, avl, unusable: 1 each
 *   192  gdt idt                     2 x 16: base 8, limit 2
 *   224  cr0 cr2 cr3 cr4 cr8 efer apic_base    7 x 8
 *   280  interrupt_bitmap            4 x 8
 * </pre>
 */
final class KvmSregs {
  static final int SIZE = 312;
  static final int SEGMENT_SIZE = 24;
  static final int CS = 0;
  static final int SS = 120;
  static final int GDT = 192;
  static final int IDT = 208;
  static final int CR0 = 224;
  static final int CR2 = 232;
  static final int CR3 = 240;
  static final int CR4 = 248;
  static final int CR8 = 256;
  static final int EFER = 264;
  static final int APIC_BASE = 272;
  static final int INTERRUPT_BITMAP = 280;

  static final int SEGMENT_BASE = 0;
  static final int SEGMENT_LIMIT = 8;
  static final int SEGMENT_SELECTOR = 12;
  static final int SEGMENT_TYPE = 14;
  static final int SEGMENT_PRESENT = 15;
  static final int SEGMENT_DPL = 16;
  static final int SEGMENT_DB = 17;
  static final int SEGMENT_S = 18;
  static final int SEGMENT_L = 19;
  static final int SEGMENT_G = 20;
  static final int SEGMENT_AVL = 21;
  static final int SEGMENT_UNUSABLE = 22;
  static final int TABLE_BASE = 0;
  static final int TABLE_LIMIT = 8;

  /** Place in the struct by {@link Seg} number: ES CS SS DS FS GS LDTR TR. */
  private static final int[] SEGMENTS = {48, 0, 120, 24, 72, 96, 168, 144};

  /** Rights of a busy 32-bit TSS: VMX enters no guest whose TR has none. */
  private static final int BUSY_TSS = 0x8B;

  private KvmSregs() {}

  /** Copies what every record needs but for the segments: CR0, CR2, CR3, CR4, EFER. */
  static void loadControl(final long sregs, final long state) {
    HostMemory.putLong(state + StateLayout.CR0, HostMemory.getLong(sregs + CR0));
    HostMemory.putLong(state + StateLayout.CR2, HostMemory.getLong(sregs + CR2));
    HostMemory.putLong(state + StateLayout.CR3, HostMemory.getLong(sregs + CR3));
    HostMemory.putLong(state + StateLayout.CR4, HostMemory.getLong(sregs + CR4));
    HostMemory.putLong(state + StateLayout.EFER, HostMemory.getLong(sregs + EFER));
  }

  /** Copies the bases of ES, DS, FS and GS. */
  static void loadDataSegments(final long sregs, final long state) {
    loadBase(sregs, state, Seg.ES);
    loadBase(sregs, state, Seg.DS);
    loadBase(sregs, state, Seg.FS);
    loadBase(sregs, state, Seg.GS);
  }

  private static void loadBase(final long sregs, final long state, final int number) {
    HostMemory.putLong(
        state + StateLayout.segment(number) + StateLayout.SEG_BASE,
        HostMemory.getLong(sregs + SEGMENTS[number] + SEGMENT_BASE));
  }

  /** Copies all. */
  static void load(final long sregs, final long state) {
    loadControl(sregs, state);
    for (int i = 0; i < Seg.COUNT; i++) {
      loadSegment(sregs, state, i);
    }
    table(sregs + GDT, state + StateLayout.GDTR_BASE, state + StateLayout.GDTR_LIMIT);
    table(sregs + IDT, state + StateLayout.IDTR_BASE, state + StateLayout.IDTR_LIMIT);
  }

  private static void table(final long from, final long base, final long limit) {
    HostMemory.putLong(base, HostMemory.getLong(from + TABLE_BASE));
    HostMemory.putLong(limit, HostMemory.getShort(from + TABLE_LIMIT));
  }

  static void loadSegment(final long sregs, final long state, final int number) {
    final long from = sregs + SEGMENTS[number];
    final long to = state + StateLayout.segment(number);
    HostMemory.putLong(to + StateLayout.SEG_BASE, HostMemory.getLong(from + SEGMENT_BASE));
    HostMemory.putLong(to + StateLayout.SEG_LIMIT, HostMemory.getUnsignedInt(from + SEGMENT_LIMIT));
    HostMemory.putInt(
        to + StateLayout.SEG_RIGHTS,
        HostMemory.getByte(from + SEGMENT_TYPE)
            | HostMemory.getByte(from + SEGMENT_S) << 4
            | HostMemory.getByte(from + SEGMENT_DPL) << 5
            | HostMemory.getByte(from + SEGMENT_PRESENT) << 7
            | HostMemory.getByte(from + SEGMENT_AVL) << 12
            | HostMemory.getByte(from + SEGMENT_L) << 13
            | HostMemory.getByte(from + SEGMENT_DB) << 14
            | HostMemory.getByte(from + SEGMENT_G) << 15
            | (HostMemory.getByte(from + SEGMENT_UNUSABLE) != 0 ? StateLayout.SEG_UNUSABLE : 0));
    HostMemory.putInt(to + StateLayout.SEG_SELECTOR, HostMemory.getShort(from + SEGMENT_SELECTOR));
  }

  /** Copies all into a struct for {@code KVM_SET_SREGS}, with no interrupt queued. */
  static void store(final long state, final long sregs, final long apicBase) {
    for (int i = 0; i < Seg.COUNT; i++) {
      storeSegment(state, sregs, i);
    }
    HostMemory.putLong(sregs + GDT, HostMemory.getLong(state + StateLayout.GDTR_BASE));
    HostMemory.putShort(
        sregs + GDT + TABLE_LIMIT, (int) HostMemory.getLong(state + StateLayout.GDTR_LIMIT));
    HostMemory.putLong(sregs + IDT, HostMemory.getLong(state + StateLayout.IDTR_BASE));
    HostMemory.putShort(
        sregs + IDT + TABLE_LIMIT, (int) HostMemory.getLong(state + StateLayout.IDTR_LIMIT));
    HostMemory.putLong(sregs + CR0, HostMemory.getLong(state + StateLayout.CR0));
    HostMemory.putLong(sregs + CR2, HostMemory.getLong(state + StateLayout.CR2));
    HostMemory.putLong(sregs + CR3, HostMemory.getLong(state + StateLayout.CR3));
    HostMemory.putLong(sregs + CR4, HostMemory.getLong(state + StateLayout.CR4));
    HostMemory.putLong(sregs + CR8, HostMemory.getLong(state + StateLayout.CR8));
    HostMemory.putLong(sregs + EFER, HostMemory.getLong(state + StateLayout.EFER));
    HostMemory.putLong(sregs + APIC_BASE, apicBase);
    HostMemory.fill(sregs + INTERRUPT_BITMAP, 32, 0);
  }

  private static void storeSegment(final long state, final long sregs, final int number) {
    final long from = state + StateLayout.segment(number);
    final long to = sregs + SEGMENTS[number];
    int rights = HostMemory.getInt(from + StateLayout.SEG_RIGHTS);
    if (number == Seg.TR && (rights & 0x80) == 0) {
      rights = BUSY_TSS;
    }
    HostMemory.putLong(to + SEGMENT_BASE, HostMemory.getLong(from + StateLayout.SEG_BASE));
    HostMemory.putInt(to + SEGMENT_LIMIT, HostMemory.getInt(from + StateLayout.SEG_LIMIT));
    HostMemory.putShort(to + SEGMENT_SELECTOR, HostMemory.getInt(from + StateLayout.SEG_SELECTOR));
    HostMemory.putByte(to + SEGMENT_TYPE, rights & 0xF);
    HostMemory.putByte(to + SEGMENT_S, rights >> 4 & 1);
    HostMemory.putByte(to + SEGMENT_DPL, rights >> 5 & 3);
    HostMemory.putByte(to + SEGMENT_PRESENT, rights >> 7 & 1);
    HostMemory.putByte(to + SEGMENT_AVL, rights >> 12 & 1);
    HostMemory.putByte(to + SEGMENT_L, rights >> 13 & 1);
    HostMemory.putByte(to + SEGMENT_DB, rights >> 14 & 1);
    HostMemory.putByte(to + SEGMENT_G, rights >> 15 & 1);
    HostMemory.putByte(to + SEGMENT_UNUSABLE, (rights & StateLayout.SEG_UNUSABLE) != 0 ? 1 : 0);
  }
}
