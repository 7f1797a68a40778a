package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.mmu.Translation;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import java.util.Arrays;

/**
 * The software vCPU with the face of {@link HostUser}: long mode, CPL 3, segments as Linux has
 * them. Every vector of the IDT leads to a HLT of its own, so that the exit names the exception and
 * the stack has its frame. A HLT behind the code, #GP at CPL 3, is its end.
 */
final class SoftUser implements AutoCloseable {
  private static final int PAGE = UserContext.PAGE;
  private static final int SLOT_SIZE = 0x2_0000;
  private static final int IDT = 0x1_0000;
  private static final int HANDLERS = 0x1_1000;
  private static final int GDT = 0x1_2000;
  private static final int LDT = 0x1_2100;
  private static final int TSS = 0x1_2200;
  private static final int KERNEL_STACK = 0x1_4000;

  private static final int HLT = 0xF4;
  private static final int PAGE_FAULT = 14;
  private static final int GENERAL_PROTECTION = 13;
  private static final int MOST_INSTRUCTIONS = 100_000;

  /** Vectors that push an error code: 8, 10 to 14, 17. */
  private static final int WITH_ERROR_CODE = 0x2_7D00;

  /** Linux's GDT, from 08H: kernel code of 32 and 64 bits, kernel data; the same for programs. */
  private static final long[] GDT_ENTRIES = {
    0,
    0x00CF_9B00_0000_FFFFL,
    0x00AF_9B00_0000_FFFFL,
    0x00CF_9300_0000_FFFFL,
    0x00CF_FB00_0000_FFFFL,
    0x00CF_F300_0000_FFFFL,
    0x00AF_FB00_0000_FFFFL
  };

  private static final int GDT_LIMIT = 0x7F;

  private final GuestMemory memory;
  private final SoftVcpu vcpu;
  private final long state;
  private final long base;

  /** Whether pages are mapped by page-fault exits: for reading first, then for writing. */
  private boolean demand;

  private int readable;
  private int writable;

  SoftUser(final long base, final CpuModel model) {
    this.base = base;
    memory = GuestMemory.builder().ram(base, SLOT_SIZE).build();
    vcpu = new SoftVcpu(memory, this::translate, model);
    state = vcpu.state();
    for (int vector = 0; vector < 256; vector++) {
      final long handler = base + HANDLERS + vector;
      final int dpl = vector == 3 || vector == 4 ? 3 : 0;
      memory.write64(
          base + IDT + 16L * vector,
          handler & 0xFFFF
              | 0x10 << 16
              | (0x8E00L | dpl << 13) << 32
              | (handler >>> 16 & 0xFFFF) << 48);
      memory.write8(handler, HLT);
    }
    for (int i = 0; i < GDT_ENTRIES.length; i++) {
      memory.write64(base + GDT + 8L * i, GDT_ENTRIES[i]);
    }
    for (int i = 0; i < UserContext.LDT.length; i++) {
      memory.write64(base + LDT + 8L * i, localDescriptor(UserContext.LDT[i]));
    }
    memory.write64(base + TSS + 4, base + KERNEL_STACK);
    // No I/O bitmap within the limit: no port is a program's.
    memory.write16(base + TSS + 102, 0xFFFF);
  }

  private long localDescriptor(final int[] entry) {
    final int bits = entry[2];
    final int type = entry[1] << 2 | ((bits & UserContext.LDT_READ_ONLY) != 0 ? 0 : 2) | 1;
    final int access = 0x70 | type | ((bits & UserContext.LDT_ABSENT) != 0 ? 0 : 0x80);
    final int attributes =
        ((bits & UserContext.LDT_PAGES) != 0 ? 8 : 0) | ((bits & UserContext.LDT_32) != 0 ? 4 : 0);
    return entry[0] & 0xFFFFL
        | (base & 0xFF_FFFF) << 16
        | (long) access << 40
        | (long) attributes << 52
        | (base >>> 24 & 0xFF) << 56;
  }

  /** Maps pages on demand from the next run on, or all at once. */
  void demand(final boolean wanted) {
    demand = wanted;
    vcpu.flushAll();
  }

  /** Zeroes the data outside the window too. */
  void clearData() {
    memory.fill(base + UserContext.DATA, UserContext.DATA_END - UserContext.DATA, 0);
  }

  private void translate(final long gva, final int access, final Translation.Result result) {
    final long at = gva - base;
    final boolean user = (access & Translation.USER) != 0;
    final boolean code = at >= UserContext.CODE && at < UserContext.CODE + PAGE;
    final boolean data = at >= UserContext.DATA && at < UserContext.DATA_END;
    result.gpa = gva;
    result.errorCode =
        ((access & Translation.WRITE) != 0 ? 2 : 0)
            | (user ? 4 : 0)
            | ((access & Translation.FETCH) != 0 ? 16 : 0);
    result.outcome = Translation.Result.GUEST_FAULT;
    if (!code && !data && (user || at < IDT || at >= SLOT_SIZE)) {
      return;
    }
    result.readable = true;
    result.writable = true;
    result.executable = true;
    result.global = false;
    result.outcome = Translation.Result.OK;
    if (demand && data) {
      final int page = 1 << (int) (at >> 12);
      result.writable = (writable & page) != 0;
      final int allowed = (access & Translation.WRITE) != 0 ? writable : readable;
      if ((allowed & page) == 0) {
        result.outcome = Translation.Result.MISS;
      }
    }
  }

  /**
   * Runs the code on the state, which becomes what it left.
   *
   * @throws IllegalStateException the vCPU left with what no program can make
   */
  void run(final UserContext c) {
    final long start = base + c.codeOffset;
    final byte[] withEnd = Arrays.copyOf(c.code, c.code.length + 1);
    withEnd[c.code.length] = (byte) HLT;
    final long codeEnd = base + UserContext.CODE + PAGE;
    memory.write(start, withEnd, 0, (int) Math.min(withEnd.length, codeEnd - start));
    memory.write(base + c.windowOffset, c.memory, 0, UserContext.WINDOW);
    readable = 0;
    writable = 0;
    for (int i = 0; i < Gpr.COUNT; i++) {
      put(StateLayout.gpr(i), c.gprs[i]);
    }
    put(StateLayout.RIP, c.codeSize == 2 ? c.codeOffset : start);
    put(StateLayout.RFLAGS, c.flags | Flags.RESERVED_1 | Flags.IF);
    system();
    segment(Seg.CS, c.codeSelector());
    segment(Seg.DS, c.ds);
    segment(Seg.ES, c.es);
    segment(Seg.SS, c.ss);
    segment(Seg.FS, 0);
    segment(Seg.GS, 0);
    loadFx(c);
    // As stateChanged() does, but for the TLB and the blocks, which no case makes wrong.
    if (demand) {
      vcpu.flushAll();
    }
    vcpu.setRflags(get(StateLayout.RFLAGS));
    vcpu.modeChanged();
    final long limit = HostMemory.getLong(state + StateLayout.RETIRED) + MOST_INSTRUCTIONS;
    int reason = vcpu.enter(limit);
    while (reason == VcpuExit.PAGE_FAULT && map(vcpu.exit())) {
      reason = vcpu.enter(limit);
    }
    final long vector = vcpu.exit().rip - (base + HANDLERS);
    if (reason != VcpuExit.HLT || vector < 0 || vector > 255) {
      throw new IllegalStateException(
          "left with reason " + reason + " at code + " + (vcpu.exit().rip - start));
    }
    memory.read(base + c.windowOffset, c.memory, 0, UserContext.WINDOW);
    for (int i = 0; i < Gpr.COUNT; i++) {
      c.gprs[i] = get(StateLayout.gpr(i));
    }
    storeFx(c);
    c.ds = HostMemory.getInt(state + StateLayout.segment(Seg.DS) + StateLayout.SEG_SELECTOR);
    c.es = HostMemory.getInt(state + StateLayout.segment(Seg.ES) + StateLayout.SEG_SELECTOR);
    frame(c, (int) vector, start);
  }

  static boolean hasErrorCode(final int vector) {
    return vector < 32 && (WITH_ERROR_CODE >> vector & 1) != 0;
  }

  /** Reads the exception's frame from the kernel's stack. */
  private void frame(final UserContext c, final int vector, final long start) {
    long at = c.gprs[Gpr.RSP];
    c.errorCode = 0;
    if (hasErrorCode(vector)) {
      c.errorCode = memory.read64(at);
      at += 8;
    }
    final boolean based = ((int) memory.read64(at + 8) & 0xFFF7) == UserContext.CODE16;
    c.vector = vector;
    c.rip = memory.read64(at) - (based ? c.codeOffset : start);
    c.flags = memory.read64(at + 16) & HostUser.FLAGS;
    c.gprs[Gpr.RSP] = memory.read64(at + 24);
    c.ss = (int) memory.read64(at + 32);
    c.address = vector == PAGE_FAULT ? get(StateLayout.CR2) : 0;
    if (vector == GENERAL_PROTECTION && c.errorCode == 0 && c.rip == c.code.length) {
      c.vector = -1;
      c.flags &= ~(long) Flags.RF;
    }
  }

  private boolean map(final VcpuExit exit) {
    final long at = exit.address - base;
    if (!demand || at < UserContext.DATA || at >= UserContext.DATA_END) {
      return false;
    }
    final int page = 1 << (int) (at >> 12);
    final boolean known = ((exit.write ? writable : readable) & page) != 0;
    readable |= page;
    writable |= exit.write ? page : 0;
    return !known;
  }

  private void put(final int offset, final long value) {
    HostMemory.putLong(state + offset, value);
  }

  private long get(final int offset) {
    return HostMemory.getLong(state + offset);
  }

  private void system() {
    put(
        StateLayout.CR0,
        ControlRegisters.CR0_PE
            | ControlRegisters.CR0_MP
            | ControlRegisters.CR0_ET
            | ControlRegisters.CR0_NE
            | ControlRegisters.CR0_WP
            | ControlRegisters.CR0_AM
            | ControlRegisters.CR0_PG);
    put(
        StateLayout.CR4,
        ControlRegisters.CR4_PAE
            | ControlRegisters.CR4_OSFXSR
            | ControlRegisters.CR4_OSXMMEXCPT
            | ControlRegisters.CR4_OSXSAVE
            | ControlRegisters.CR4_FSGSBASE);
    put(StateLayout.XCR0, 7);
    put(
        StateLayout.EFER,
        ControlRegisters.EFER_LME
            | ControlRegisters.EFER_LMA
            | ControlRegisters.EFER_SCE
            | ControlRegisters.EFER_NXE);
    put(StateLayout.IDTR_BASE, base + IDT);
    put(StateLayout.IDTR_LIMIT, 0xFFF);
    put(StateLayout.GDTR_BASE, base + GDT);
    put(StateLayout.GDTR_LIMIT, GDT_LIMIT);
    descriptor(Seg.LDTR, 0x50, base + LDT, 8L * UserContext.LDT.length - 1, 0x82);
    descriptor(Seg.TR, 0x40, base + TSS, 103, 0x8B);
  }

  private void segment(final int segment, final int selector) {
    final int index = selector >> 3;
    if (index == 0 && (selector & 4) == 0) {
      descriptor(segment, selector, 0, 0, StateLayout.SEG_UNUSABLE);
      return;
    }
    final long raw =
        (selector & 4) != 0 ? localDescriptor(UserContext.LDT[index]) : GDT_ENTRIES[index];
    descriptor(
        segment, selector, Descriptor.base(raw), Descriptor.limit(raw), Descriptor.rights(raw));
  }

  private void descriptor(
      final int segment,
      final int selector,
      final long segmentBase,
      final long limit,
      final int rights) {
    final long at = state + StateLayout.segment(segment);
    HostMemory.putLong(at + StateLayout.SEG_BASE, segmentBase);
    HostMemory.putLong(at + StateLayout.SEG_LIMIT, limit);
    HostMemory.putInt(at + StateLayout.SEG_RIGHTS, rights);
    HostMemory.putInt(at + StateLayout.SEG_SELECTOR, selector);
  }

  private void loadFx(final UserContext c) {
    HostMemory.putInt(state + StateLayout.FPU_CONTROL, word(c.fx, 0));
    final int status = word(c.fx, 2);
    HostMemory.putInt(state + StateLayout.FPU_STATUS, status);
    HostMemory.putInt(state + StateLayout.FPU_TAGS, c.fx[4] & 0xFF);
    HostMemory.putInt(state + StateLayout.MXCSR, word(c.fx, 24));
    final int top = status >> 11 & 7;
    for (int i = 0; i < 8; i++) {
      HostMemory.copyIn(c.fx, 32 + 16 * i, state + x87(top + i), 10);
    }
    for (int i = 0; i < 16; i++) {
      final long register = state + StateLayout.XMM + (long) i * StateLayout.XMM_SIZE;
      HostMemory.copyIn(c.fx, 160 + 16 * i, register, 16);
      HostMemory.copyIn(c.high, 16 * i, register + 16, 16);
    }
  }

  private void storeFx(final UserContext c) {
    FloatValues.put(c.fx, 0, 2, HostMemory.getInt(state + StateLayout.FPU_CONTROL));
    final int status = HostMemory.getInt(state + StateLayout.FPU_STATUS);
    FloatValues.put(c.fx, 2, 2, status);
    c.fx[4] = (byte) HostMemory.getInt(state + StateLayout.FPU_TAGS);
    FloatValues.put(c.fx, 24, 2, HostMemory.getInt(state + StateLayout.MXCSR));
    final int top = status >> 11 & 7;
    for (int i = 0; i < 8; i++) {
      HostMemory.copyOut(state + x87(top + i), c.fx, 32 + 16 * i, 10);
    }
    for (int i = 0; i < 16; i++) {
      final long register = state + StateLayout.XMM + (long) i * StateLayout.XMM_SIZE;
      HostMemory.copyOut(register, c.fx, 160 + 16 * i, 16);
      HostMemory.copyOut(register + 16, c.high, 16 * i, 16);
    }
  }

  private static int x87(final int physical) {
    return StateLayout.FPU_REGISTERS + (physical & 7) * StateLayout.FPU_REGISTER_SIZE;
  }

  private static int word(final byte[] image, final int at) {
    return (image[at] & 0xFF) | (image[at + 1] & 0xFF) << 8;
  }

  @Override
  public void close() {
    vcpu.close();
    memory.close();
  }
}
