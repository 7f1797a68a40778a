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
 * The software vCPU with the face of {@link HostProcessor}: runs a few instructions of 64-bit code
 * at CPL 0, linear addresses being guest-physical ones. A HLT after the code ends it.
 *
 * <p>The memory of the code under test can be of several kinds, all of which must make no
 * difference to the outcome: an instruction that exits in its midst is completed later.
 */
final class SoftProcessor implements AutoCloseable {
  /** What is behind the memory of the code under test. */
  enum Backing {
    /** RAM, mapped. */
    RAM,
    /** RAM whose pages are mapped by page-fault exits: for reading first, then for writing. */
    DEMAND,
    /** No slot: each access is an MMIO exit. */
    MMIO
  }

  private static final int SLOT_SIZE = 0x1_0000;
  private static final int PAGE = 4096;
  private static final int STACK_TOP = 0xE000;
  private static final int CODE_RIGHTS = 0xA09B;
  private static final int DATA_RIGHTS = 0xC093;
  private static final int HLT = 0xF4;
  private static final int MOST_INSTRUCTIONS = 10_000;

  // FXSAVE image (SDM Vol. 1, table 10-2).
  private static final int FX_STATUS = 2;
  private static final int FX_TAGS = 4;
  private static final int FX_MXCSR = 24;
  private static final int FX_ST = 32;
  private static final int FX_XMM = 160;

  private final GuestMemory memory;
  private final SoftVcpu vcpu;
  private final long state;
  private final long codeAddress;
  private final long memoryAddress;
  private final long stackTop;

  private final Backing backing;

  /** DEMAND: pages that may be read and written, by their number from the memory's first page. */
  private int readable;

  private int writable;
  private long exits;

  /** Makes one whose code and memory lie where those of a host processor do. */
  SoftProcessor(final long codeAddress, final long memoryAddress, final Backing backing) {
    this.backing = backing;
    this.codeAddress = codeAddress;
    this.memoryAddress = memoryAddress;
    final long base = codeAddress & -SLOT_SIZE;
    if (memoryAddress < base || memoryAddress + OracleCase.MEMORY_BYTES > base + 0xC000) {
      throw new IllegalArgumentException("code and memory are not in one slot");
    }
    stackTop = base + STACK_TOP;
    final GuestMemory.Builder builder = GuestMemory.builder();
    if (backing == Backing.MMIO) {
      final long hole = memoryAddress & -PAGE;
      final long end = (memoryAddress + OracleCase.MEMORY_BYTES + PAGE - 1) & -PAGE;
      builder.ram(base, hole - base).ram(end, base + SLOT_SIZE - end);
    } else {
      builder.ram(base, SLOT_SIZE);
    }
    memory = builder.build();
    vcpu = new SoftVcpu(memory, this::identity, CpuModel.max());
    state = vcpu.state();
  }

  private void identity(final long gva, final int access, final Translation.Result result) {
    result.outcome = memory.isBacked(gva) ? Translation.Result.OK : Translation.Result.NO_SLOT;
    result.gpa = gva;
    result.errorCode = 0;
    result.readable = true;
    result.writable = true;
    result.executable = true;
    result.global = false;
    final int page = demandPage(gva);
    if (page != 0) {
      result.writable = (writable & page) != 0;
      final int allowed = (access & Translation.WRITE) != 0 ? writable : readable;
      if ((allowed & page) == 0) {
        result.outcome = Translation.Result.MISS;
      }
    }
  }

  /** Bit of a page of the memory under test that is mapped on demand, or 0. */
  private int demandPage(final long gva) {
    final long number = (gva >> 12) - (memoryAddress >> 12);
    return backing == Backing.DEMAND && number >= 0 && number < 2 ? 1 << number : 0;
  }

  /** As {@link HostProcessor#run}; throws where the code does not come to its end. */
  long run(
      final byte[] code,
      final long[] gprs,
      final long flags,
      final byte[] fx,
      final byte[] high,
      final byte[] data) {
    final byte[] withEnd = Arrays.copyOf(code, code.length + 1);
    withEnd[code.length] = (byte) HLT;
    memory.write(codeAddress, withEnd, 0, withEnd.length);
    if (backing != Backing.MMIO) {
      memory.write(memoryAddress, data, 0, data.length);
    }
    readable = 0;
    writable = 0;
    for (int i = 0; i < Gpr.COUNT; i++) {
      HostMemory.putLong(state + StateLayout.gpr(i), i == Gpr.RSP ? stackTop : gprs[i]);
    }
    HostMemory.putLong(state + StateLayout.RIP, codeAddress);
    HostMemory.putLong(
        state + StateLayout.RFLAGS, (flags & (Flags.ARITHMETIC | Flags.DF)) | Flags.RESERVED_1);
    system();
    loadFx(fx);
    for (int i = 0; high != null && i < 16; i++) {
      HostMemory.copyIn(high, 16 * i, state + upperHalf(i), 16);
    }
    vcpu.stateChanged();
    final long limit = HostMemory.getLong(state + StateLayout.RETIRED) + MOST_INSTRUCTIONS;
    int reason = vcpu.enter(limit);
    while (answer(reason, data)) {
      exits++;
      reason = vcpu.enter(limit);
    }
    if (reason != VcpuExit.HLT || vcpu.exit().rip != codeAddress + code.length) {
      throw new IllegalStateException(
          "left with reason " + reason + " at code + " + (vcpu.exit().rip - codeAddress));
    }
    if (backing != Backing.MMIO) {
      memory.read(memoryAddress, data, 0, data.length);
    }
    for (int i = 0; i < Gpr.COUNT; i++) {
      gprs[i] = HostMemory.getLong(state + StateLayout.gpr(i));
    }
    gprs[Gpr.RSP] -= stackTop;
    if (fx != null) {
      storeFx(fx);
    }
    for (int i = 0; high != null && i < 16; i++) {
      HostMemory.copyOut(state + upperHalf(i), high, 16 * i, 16);
    }
    return vcpu.rflags() & (Flags.ARITHMETIC | Flags.DF);
  }

  private static int upperHalf(final int register) {
    return StateLayout.XMM + register * StateLayout.XMM_SIZE + 16;
  }

  Backing backing() {
    return backing;
  }

  /** How often the code was left and entered again. */
  long exits() {
    return exits;
  }

  /** Does what a run loop would; false where there is nothing to go on with. */
  private boolean answer(final int reason, final byte[] data) {
    final VcpuExit exit = vcpu.exit();
    if (reason == VcpuExit.PAGE_FAULT) {
      final int page = demandPage(exit.address);
      final boolean known = ((exit.write ? writable : readable) & page) != 0;
      readable |= page;
      writable |= exit.write ? page : 0;
      return page != 0 && !known;
    }
    if (reason != VcpuExit.MMIO) {
      return false;
    }
    final int at = (int) (exit.address - memoryAddress);
    long value = 0;
    for (int i = 0; i < exit.size; i++) {
      if (exit.write) {
        data[at + i] = (byte) (exit.value >>> (8 * i));
      } else {
        value |= (data[at + i] & 0xFFL) << (8 * i);
      }
    }
    exit.value = exit.write ? exit.value : value;
    return true;
  }

  private void system() {
    HostMemory.putLong(
        state + StateLayout.CR0,
        ControlRegisters.CR0_PE
            | ControlRegisters.CR0_MP
            | ControlRegisters.CR0_ET
            | ControlRegisters.CR0_NE
            | ControlRegisters.CR0_WP
            | ControlRegisters.CR0_PG);
    HostMemory.putLong(
        state + StateLayout.CR4,
        ControlRegisters.CR4_PAE
            | ControlRegisters.CR4_OSFXSR
            | ControlRegisters.CR4_OSXMMEXCPT
            | ControlRegisters.CR4_OSXSAVE);
    HostMemory.putLong(state + StateLayout.XCR0, 7);
    HostMemory.putLong(
        state + StateLayout.EFER, ControlRegisters.EFER_LME | ControlRegisters.EFER_LMA);
    for (int i = Seg.ES; i <= Seg.GS; i++) {
      final long at = state + StateLayout.segment(i);
      HostMemory.putLong(at + StateLayout.SEG_BASE, 0);
      HostMemory.putLong(at + StateLayout.SEG_LIMIT, 0xFFFF_FFFFL);
      HostMemory.putInt(at + StateLayout.SEG_RIGHTS, i == Seg.CS ? CODE_RIGHTS : DATA_RIGHTS);
      HostMemory.putInt(at + StateLayout.SEG_SELECTOR, i == Seg.CS ? 0x10 : 0x18);
    }
    // An event that nobody expects becomes a triple fault.
    HostMemory.putLong(state + StateLayout.IDTR_LIMIT, 0);
  }

  private void loadFx(final byte[] image) {
    if (image == null) {
      HostMemory.putInt(state + StateLayout.FPU_CONTROL, 0x37F);
      HostMemory.putInt(state + StateLayout.FPU_STATUS, 0);
      HostMemory.putInt(state + StateLayout.FPU_TAGS, 0);
      HostMemory.putInt(state + StateLayout.MXCSR, 0x1F80);
      return;
    }
    HostMemory.putInt(state + StateLayout.FPU_CONTROL, word(image, 0) | 0x3F);
    final int status = word(image, FX_STATUS);
    HostMemory.putInt(state + StateLayout.FPU_STATUS, status);
    HostMemory.putInt(state + StateLayout.FPU_TAGS, image[FX_TAGS] & 0xFF);
    HostMemory.putInt(state + StateLayout.MXCSR, word(image, FX_MXCSR) | 0x1F80);
    final int top = status >> 11 & 7;
    for (int i = 0; i < 8; i++) {
      final long register =
          state + StateLayout.FPU_REGISTERS + (long) (top + i & 7) * StateLayout.FPU_REGISTER_SIZE;
      HostMemory.copyIn(image, FX_ST + 16 * i, register, 10);
    }
    for (int i = 0; i < 16; i++) {
      final long register = state + StateLayout.XMM + (long) i * StateLayout.XMM_SIZE;
      HostMemory.copyIn(image, FX_XMM + 16 * i, register, 16);
    }
  }

  private void storeFx(final byte[] image) {
    putWord(image, 0, HostMemory.getInt(state + StateLayout.FPU_CONTROL));
    final int status = HostMemory.getInt(state + StateLayout.FPU_STATUS);
    putWord(image, FX_STATUS, status);
    image[FX_TAGS] = (byte) HostMemory.getInt(state + StateLayout.FPU_TAGS);
    putWord(image, FX_MXCSR, HostMemory.getInt(state + StateLayout.MXCSR));
    final int top = status >> 11 & 7;
    for (int i = 0; i < 8; i++) {
      final long register =
          state + StateLayout.FPU_REGISTERS + (long) (top + i & 7) * StateLayout.FPU_REGISTER_SIZE;
      HostMemory.copyOut(register, image, FX_ST + 16 * i, 10);
    }
    for (int i = 0; i < 16; i++) {
      final long register = state + StateLayout.XMM + (long) i * StateLayout.XMM_SIZE;
      HostMemory.copyOut(register, image, FX_XMM + 16 * i, 16);
    }
  }

  private static int word(final byte[] image, final int at) {
    return (image[at] & 0xFF) | (image[at + 1] & 0xFF) << 8;
  }

  private static void putWord(final byte[] image, final int at, final int value) {
    image[at] = (byte) value;
    image[at + 1] = (byte) (value >> 8);
  }

  @Override
  public void close() {
    vcpu.close();
    memory.close();
  }
}
