package dev.vmexit.boot;

import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import java.util.Arrays;
import java.util.List;

/**
 * The state in which the first vCPU starts. What is not named here is as after a reset (SDM Vol.
 * 3A, table 10-1); interrupts are disabled.
 *
 * @param mode operating mode, which {@code cr0}, {@code efer} and CS agree with
 * @param rip first instruction, as an offset into CS
 * @param rflags with its fixed bit 1 set
 * @param registers general registers in the order of {@code kvm_regs}, sixteen of them
 * @param segments ES, CS, SS, DS, FS, GS, LDTR, TR, by the numbers of {@link Seg}
 */
public record BootEntry(
    Mode mode,
    long rip,
    long rflags,
    List<Long> registers,
    long cr0,
    long cr3,
    long cr4,
    long efer,
    List<Segment> segments,
    long gdtBase,
    int gdtLimit,
    long idtBase,
    int idtLimit) {

  /** Operating mode at the first instruction. */
  public enum Mode {
    /** Real-address mode. */
    REAL16,
    /** Protected mode, flat 4 GiB segments, no paging. */
    PROTECTED32,
    /** 64-bit mode, the first 4 GiB mapped to themselves. */
    LONG64
  }

  /**
   * One segment register.
   *
   * @param base linear base address
   * @param limit in bytes, granularity applied
   * @param rights as the vCPU's state has them: the descriptor's access byte, AVL 12, L 13, D/B 14,
   *     G 15
   */
  public record Segment(int selector, long base, long limit, int rights) {}

  static final int CODE_SELECTOR = 0x10;
  static final int DATA_SELECTOR = 0x18;

  static final Segment CODE_32 = new Segment(CODE_SELECTOR, 0, 0xFFFF_FFFFL, 0xC09B);
  static final Segment CODE_64 = new Segment(CODE_SELECTOR, 0, 0xFFFF_FFFFL, 0xA09B);
  static final Segment DATA_FLAT = new Segment(DATA_SELECTOR, 0, 0xFFFF_FFFFL, 0xC093);
  private static final Segment LDTR = new Segment(0, 0, 0xFFFF, 0x82);
  // VM entry wants a usable TR in every mode, and PVH a limit of 0x67.
  private static final Segment TR = new Segment(0, 0, 0x67, 0x8B);
  private static final int REAL_RIGHTS = 0x93;
  private static final int REAL_CODE_RIGHTS = 0x9B;

  public BootEntry {
    if (registers.size() != Gpr.COUNT || segments.size() != Seg.COUNT) {
      throw new IllegalArgumentException(
          "registers=" + registers.size() + ", segments=" + segments.size() + ", wanted: 16, 8");
    }
    registers = List.copyOf(registers);
    segments = List.copyOf(segments);
  }

  /** The general registers in the order of {@code kvm_regs}; the caller's own copy. */
  public long[] gprs() {
    return registers.stream().mapToLong(Long::longValue).toArray();
  }

  /** A general register by its encoding number. */
  public long gpr(final int register) {
    return registers.get(Gpr.kvmIndex(register));
  }

  /** A segment register by its number of {@link Seg}. */
  public Segment segment(final int segment) {
    return segments.get(segment);
  }

  /** This entry with one general register, by its encoding number, set. */
  BootEntry with(final int register, final long value) {
    final long[] values = gprs();
    values[Gpr.kvmIndex(register)] = value;
    return new BootEntry(
        mode,
        rip,
        rflags,
        boxed(values),
        cr0,
        cr3,
        cr4,
        efer,
        segments,
        gdtBase,
        gdtLimit,
        idtBase,
        idtLimit);
  }

  /** Real mode at {@code selector:offset}, every data segment at {@code selector} too. */
  static BootEntry real(final int selector, final int offset) {
    final long base = (long) selector << 4;
    final Segment code = new Segment(selector, base, 0xFFFF, REAL_CODE_RIGHTS);
    final Segment data = new Segment(selector, base, 0xFFFF, REAL_RIGHTS);
    return new BootEntry(
        Mode.REAL16,
        offset,
        Flags.RESERVED_1,
        boxed(new long[Gpr.COUNT]),
        ControlRegisters.CR0_ET,
        0,
        0,
        0,
        List.of(data, code, data, data, data, data, LDTR, TR),
        0,
        0xFFFF,
        0,
        0x3FF);
  }

  /** Protected mode with flat segments; {@link LowMemory#writeGdt} has been called. */
  static BootEntry protected32(final long rip) {
    return new BootEntry(
        Mode.PROTECTED32,
        rip,
        Flags.RESERVED_1,
        boxed(new long[Gpr.COUNT]),
        ControlRegisters.CR0_PE | ControlRegisters.CR0_ET,
        0,
        0,
        0,
        flat(CODE_32),
        LowMemory.GDT,
        LowMemory.GDT_LIMIT,
        0,
        0);
  }

  /**
   * 64-bit mode; {@link LowMemory#writeGdt} and {@link LowMemory#writePageTables} have been called.
   */
  static BootEntry long64(final long rip) {
    return new BootEntry(
        Mode.LONG64,
        rip,
        Flags.RESERVED_1,
        boxed(new long[Gpr.COUNT]),
        ControlRegisters.CR0_PE | ControlRegisters.CR0_ET | ControlRegisters.CR0_PG,
        LowMemory.PAGE_TABLES,
        ControlRegisters.CR4_PAE,
        ControlRegisters.EFER_LME | ControlRegisters.EFER_LMA,
        flat(CODE_64),
        LowMemory.GDT,
        LowMemory.GDT_LIMIT,
        0,
        0);
  }

  private static List<Segment> flat(final Segment code) {
    return List.of(DATA_FLAT, code, DATA_FLAT, DATA_FLAT, DATA_FLAT, DATA_FLAT, LDTR, TR);
  }

  private static List<Long> boxed(final long[] values) {
    return Arrays.stream(values).boxed().toList();
  }
}
