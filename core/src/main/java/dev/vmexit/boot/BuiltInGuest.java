package dev.vmexit.boot;

import static dev.vmexit.x86.encode.Register.AH;
import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.AX;
import static dev.vmexit.x86.encode.Register.CR0;
import static dev.vmexit.x86.encode.Register.CR2;
import static dev.vmexit.x86.encode.Register.CR3;
import static dev.vmexit.x86.encode.Register.CR4;
import static dev.vmexit.x86.encode.Register.DIL;
import static dev.vmexit.x86.encode.Register.DL;
import static dev.vmexit.x86.encode.Register.DS;
import static dev.vmexit.x86.encode.Register.DX;
import static dev.vmexit.x86.encode.Register.EAX;
import static dev.vmexit.x86.encode.Register.EBX;
import static dev.vmexit.x86.encode.Register.ECX;
import static dev.vmexit.x86.encode.Register.EDI;
import static dev.vmexit.x86.encode.Register.EDX;
import static dev.vmexit.x86.encode.Register.ES;
import static dev.vmexit.x86.encode.Register.ESI;
import static dev.vmexit.x86.encode.Register.ESP;
import static dev.vmexit.x86.encode.Register.R12;
import static dev.vmexit.x86.encode.Register.RAX;
import static dev.vmexit.x86.encode.Register.RBX;
import static dev.vmexit.x86.encode.Register.RCX;
import static dev.vmexit.x86.encode.Register.RDI;
import static dev.vmexit.x86.encode.Register.RDX;
import static dev.vmexit.x86.encode.Register.RSI;
import static dev.vmexit.x86.encode.Register.RSP;
import static dev.vmexit.x86.encode.Register.SP;
import static dev.vmexit.x86.encode.Register.SS;

import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Msr;
import dev.vmexit.x86.Pte;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.zip.CRC32;

/**
 * The guest that needs no file: from real mode through protected into long mode, then a little of
 * everything that exits, then power-off through ACPI S5. It prints what it finds on the first UART,
 * and {@link #SUCCESS} when every one of its checks held; else a line that starts with {@link
 * #FAILURE}. Either way it powers off.
 *
 * <p>The image is a flat binary, loaded and started at {@link #LOAD_ADDRESS} in real mode with CS
 * 0. Memory, all of it below 4 MiB:
 *
 * <pre>
 *   0x007C00  this image; below it the stack of real and protected mode
 *   0x010000  first address space:  PML4, PDPT, page directory, page table (4 KiB pages to 2 MiB)
 *   0x014000  page directory of 3 to 4 GiB: IOAPIC and local APIC, uncached; shared by both
 *   0x015000  second address space: PML4, PDPT, page directory, page table
 *   0x019000  two frames that the page-fault handler maps at DEMAND, not present before
 *   0x01B000  two frames seen at WINDOW, one by each address space
 *   0x01D000  IDT
 *   0x01E000  stack of long mode, growing down from 0x20000
 *   0x150000  DEMAND: two pages of linear addresses
 *   0x160000  WINDOW: one page of linear addresses
 *   0x200000  buffer of the computation, in a 2 MiB page
 * </pre>
 *
 * <p>Page 0 is not mapped. Longer than other classes because it is a program.
 */
public final class BuiltInGuest {
  /** Guest-physical address of the first byte, and the first instruction. */
  public static final long LOAD_ADDRESS = FlatLoader.BOOT_SECTOR;

  /** Bytes of RAM that it needs from address 0. */
  public static final long MEMORY_SIZE = 4L << 20;

  /** Last line but one when all was as it should be. */
  public static final String SUCCESS = "all checks passed";

  /** How a line about a failed check starts. */
  public static final String FAILURE = "FAILED: ";

  /** PM1a control port of the fixed hardware that this machine has (ACPI 6.5, 4.8.3.2.1). */
  public static final int PM1A_CONTROL = 0x604;

  /** SLP_TYP of S5 there. */
  public static final int SLEEP_TYPE_S5 = 5;

  private static final int SLEEP_ENABLE = 1 << 13;
  private static final int SLEEP_TYPE_SHIFT = 10;

  private static final int CODE_32 = 0x08;
  private static final int DATA = 0x10;
  private static final int CODE_64 = 0x18;

  private static final int PML4 = 0x1_0000;
  private static final int PDPT = 0x1_1000;
  private static final int DIRECTORY = 0x1_2000;
  private static final int TABLE = 0x1_3000;
  private static final int DEVICE_DIRECTORY = 0x1_4000;
  private static final int SECOND_PML4 = 0x1_5000;
  private static final int SECOND_PDPT = 0x1_6000;
  private static final int SECOND_DIRECTORY = 0x1_7000;
  private static final int SECOND_TABLE = 0x1_8000;
  private static final int DEMAND_FRAME = 0x1_9000;
  private static final int WINDOW_FRAME = 0x1_B000;
  private static final int IDT = 0x1_D000;
  private static final int STACK_TOP = 0x2_0000;
  private static final int DEMAND = 0x15_0000;
  private static final int DEMAND_PAGES = 2;
  private static final int WINDOW = 0x16_0000;
  private static final int BUFFER = 0x20_0000;
  private static final int BUFFER_SIZE = 16 << 10;
  private static final int PAGE = 0x1000;

  private static final long TABLE_ENTRY = Pte.PRESENT | Pte.WRITABLE;
  private static final long LARGE_ENTRY = TABLE_ENTRY | Pte.PAGE_SIZE;
  private static final long DEVICE_ENTRY = LARGE_ENTRY | Pte.PWT | Pte.PCD;

  private static final int IOAPIC = 0xFEC0_0000;
  private static final int LOCAL_APIC = 0xFEE0_0000;
  private static final int APIC_ID = 0x20;
  private static final int APIC_VERSION = 0x30;
  private static final int APIC_TPR = 0x80;
  private static final int APIC_SPURIOUS = 0xF0;
  private static final int APIC_LINT0 = 0x350;
  private static final int APIC_ENABLED = 0x100;
  private static final int EXT_INT = 0x700;
  private static final int IOAPIC_WINDOW = 0x10;
  private static final int IOAPIC_VERSION = 1;
  private static final int IOAPIC_REDIRECTION = 0x10;
  private static final int IOAPIC_MASKED = 0x1_0000;

  private static final int UART = 0x3F8;
  private static final int LSR = UART + 5;
  private static final int THR_EMPTY = 0x20;

  private static final int PIC_MASTER = 0x20;
  private static final int PIC_SLAVE = 0xA0;
  private static final int PIT_CHANNEL_0 = 0x40;
  private static final int PIT_CONTROL = 0x43;
  private static final int PIT_RATE_GENERATOR = 0x34;
  private static final int PIT_PERIOD = 1193; // 1 ms at 1.193182 MHz
  private static final int FIRST_VECTOR = 0x20;
  private static final int SPURIOUS_VECTOR = 0xFF;
  private static final int TICKS = 5;

  private static final int DEMAND_VALUE = 0x600D_F00D;
  private static final int SUM_TO = 100_000;
  private static final long SUM = 5_000_050_000L;
  private static final int CRC_POLYNOMIAL = 0xEDB8_8320;
  private static final int CRC_CHECK = 0xCBF4_3926;
  private static final String CRC_INPUT = "123456789";

  private final int pm1aControl;
  private final int sleepType;
  private final Assembler a = new Assembler(2, LOAD_ADDRESS);
  private final Map<String, Label> texts = new LinkedHashMap<>();
  private final Label gdtPointer = a.label("gdtPointer");
  private final Label idtPointer = a.label("idtPointer");
  private final Label protectedMode = a.label("protectedMode");
  private final Label longMode = a.label("longMode");
  private final Label putCharacter = a.label("putCharacter");
  private final Label putText = a.label("putText");
  private final Label putHex = a.label("putHex");
  private final Label crc32 = a.label("crc32");
  private final Label fail = a.label("fail");
  private final Label powerOff = a.label("powerOff");
  private final Label timer = a.label("timer");
  private final Label pageFault = a.label("pageFault");
  private final Label spurious = a.label("spurious");
  private final Label unexpected = a.label("unexpected");
  private final Label ticks = a.label("ticks");
  private final Label faults = a.label("faults");
  private final Label vendor = a.label("vendor");

  private BuiltInGuest(final int pm1aControl, final int sleepType) {
    this.pm1aControl = pm1aControl;
    this.sleepType = sleepType;
  }

  /** The image for the machine of this project. */
  public static byte[] image() {
    return image(PM1A_CONTROL, SLEEP_TYPE_S5);
  }

  /**
   * The image for a machine with another power-off.
   *
   * @param pm1aControl port of the PM1a control register
   * @param sleepType SLP_TYP that means S5, 0 to 7
   */
  public static byte[] image(final int pm1aControl, final int sleepType) {
    if (pm1aControl < 0 || pm1aControl > 0xFFFF || sleepType < 0 || sleepType > 7) {
      throw new IllegalArgumentException(
          "pm1aControl="
              + pm1aControl
              + ", sleepType="
              + sleepType
              + ", allowed: 0 to 65535, 0 to 7");
    }
    return new BuiltInGuest(pm1aControl, sleepType).assemble();
  }

  private byte[] assemble() {
    realMode();
    protectedMode();
    longMode();
    uart();
    greet();
    processor();
    interruptTable();
    localApic();
    ioApic();
    timerTicks();
    demandPaging();
    addressSpaces();
    computation();
    print(SUCCESS + "\r\npowering off\r\n");
    a.jmp(powerOff);
    routines();
    handlers();
    data();
    return a.assemble();
  }

  // ---- the way up ----

  private void realMode() {
    a.cli();
    a.cld();
    a.xor(AX, AX);
    a.mov(DS, AX);
    a.mov(ES, AX);
    a.mov(SS, AX);
    a.mov(SP, LOAD_ADDRESS);
    a.lgdt(Memory.absolute(gdtPointer));
    a.mov(EAX, CR0);
    a.or(EAX, ControlRegisters.CR0_PE);
    a.mov(CR0, EAX);
    a.jmpFar(CODE_32, protectedMode, 2);
  }

  private void protectedMode() {
    a.codeSize(4);
    a.bind(protectedMode);
    a.mov(AX, DATA);
    a.mov(DS, AX);
    a.mov(ES, AX);
    a.mov(SS, AX);
    a.mov(ESP, LOAD_ADDRESS);
    a.xor(EAX, EAX);
    a.mov(EDI, PML4);
    a.mov(ECX, (STACK_TOP - PML4) / 4);
    a.rep();
    a.stos(4);
    entry(PML4, 0, PDPT | TABLE_ENTRY);
    entry(PDPT, 0, DIRECTORY | TABLE_ENTRY);
    entry(PDPT, 3, DEVICE_DIRECTORY | TABLE_ENTRY);
    entry(DIRECTORY, 0, TABLE | TABLE_ENTRY);
    entry(DIRECTORY, 1, BUFFER | LARGE_ENTRY);
    entry(DEVICE_DIRECTORY, directoryIndex(IOAPIC), IOAPIC | DEVICE_ENTRY);
    entry(DEVICE_DIRECTORY, directoryIndex(LOCAL_APIC), LOCAL_APIC | DEVICE_ENTRY);
    entry(SECOND_PML4, 0, SECOND_PDPT | TABLE_ENTRY);
    entry(SECOND_PDPT, 0, SECOND_DIRECTORY | TABLE_ENTRY);
    entry(SECOND_PDPT, 3, DEVICE_DIRECTORY | TABLE_ENTRY);
    entry(SECOND_DIRECTORY, 0, SECOND_TABLE | TABLE_ENTRY);
    entry(SECOND_DIRECTORY, 1, BUFFER | LARGE_ENTRY);
    identity(TABLE);
    identity(SECOND_TABLE);
    entry(TABLE, WINDOW / PAGE, WINDOW_FRAME | TABLE_ENTRY);
    entry(SECOND_TABLE, WINDOW / PAGE, (WINDOW_FRAME + PAGE) | TABLE_ENTRY);
    for (int i = 0; i < DEMAND_PAGES; i++) {
      entry(TABLE, DEMAND / PAGE + i, 0);
      entry(SECOND_TABLE, DEMAND / PAGE + i, 0);
    }
    a.mov(EAX, CR4);
    a.or(EAX, ControlRegisters.CR4_PAE);
    a.mov(CR4, EAX);
    a.mov(EAX, PML4);
    a.mov(CR3, EAX);
    a.mov(ECX, Msr.EFER);
    a.rdmsr();
    a.or(EAX, ControlRegisters.EFER_LME);
    a.wrmsr();
    a.mov(EAX, CR0);
    a.or(EAX, ControlRegisters.CR0_PG | ControlRegisters.CR0_WP);
    a.mov(CR0, EAX);
    a.jmpFar(CODE_64, longMode, 4);
  }

  /** Stores the low half of an entry; all tables lie below 4 GiB and were zeroed. */
  private void entry(final int table, final int index, final long value) {
    a.mov(Memory.absolute(table + 8L * index).asDword(), value & 0xFFFF_FFFFL);
  }

  private static int directoryIndex(final int address) {
    return address >>> 21 & 0x1FF;
  }

  /** Maps 2 MiB to themselves, page 0 left out. */
  private void identity(final int table) {
    a.mov(EDI, table + 8L);
    a.mov(EAX, PAGE | TABLE_ENTRY);
    final Label next = a.here();
    a.mov(Memory.at(EDI), EAX);
    a.add(EDI, 8);
    a.add(EAX, PAGE);
    a.cmp(EAX, 512 * PAGE);
    a.jcc(Condition.B, next);
  }

  private void longMode() {
    a.codeSize(8);
    a.bind(longMode);
    a.mov(AX, DATA);
    a.mov(SS, AX);
    a.mov(DS, AX);
    a.mov(ES, AX);
    a.mov(RSP, STACK_TOP);
  }

  // ---- what it does there ----

  private void uart() {
    out(UART + 1, 0);
    out(UART + 3, 0x80); // divisor latch: 115200 baud
    out(UART, 1);
    out(UART + 1, 0);
    out(UART + 3, 3); // 8 bits, no parity, 1 stop bit
    out(UART + 2, 7);
    out(UART + 4, 3);
  }

  private void greet() {
    print("vmexit built-in guest: real, protected, long mode\r\n");
  }

  private void processor() {
    a.xor(EAX, EAX);
    a.cpuid();
    a.mov(Memory.rip(vendor), EBX);
    a.lea(RSI, Memory.rip(vendor));
    a.mov(Memory.at(RSI, 4), EDX);
    a.mov(Memory.at(RSI, 8), ECX);
    print("cpu: ");
    a.lea(RSI, Memory.rip(vendor));
    a.call(putText);
    a.mov(EAX, 1);
    a.cpuid();
    a.bt(EDX, 5);
    check(Condition.B, "CPUID offers no MSRs");
    print("\r\n");

    a.mov(ECX, Msr.APIC_BASE);
    a.rdmsr();
    a.and(EAX, -PAGE);
    a.cmp(EAX, LOCAL_APIC);
    check(Condition.E, "local APIC is not at 0xFEE00000");
    a.mov(ECX, Msr.KERNEL_GS_BASE);
    a.mov(EAX, 0x1234_5678);
    a.mov(EDX, 0x7FFF);
    a.wrmsr();
    a.xor(EAX, EAX);
    a.xor(EDX, EDX);
    a.rdmsr();
    a.cmp(EAX, 0x1234_5678);
    check(Condition.E, "MSR lost its lower half");
    a.cmp(EDX, 0x7FFF);
    check(Condition.E, "MSR lost its upper half");

    readTsc();
    a.mov(R12, RAX);
    readTsc();
    a.cmp(RAX, R12);
    check(Condition.AE, "time-stamp counter went back");
  }

  private void readTsc() {
    a.rdtsc();
    a.shl(RDX, 32);
    a.or(RAX, RDX);
  }

  private void interruptTable() {
    a.lea(RAX, Memory.rip(unexpected));
    a.mov(EDI, IDT);
    final Label next = a.here();
    gate();
    a.add(RDI, 16);
    a.cmp(RDI, IDT + PAGE);
    a.jcc(Condition.B, next);
    handler(Vector.PF, pageFault);
    handler(FIRST_VECTOR, timer);
    handler(FIRST_VECTOR + 7, spurious);
    handler(SPURIOUS_VECTOR, spurious);
    a.lidt(Memory.rip(idtPointer));
  }

  private void handler(final int vector, final Label label) {
    a.lea(RAX, Memory.rip(label));
    a.mov(EDI, IDT + 16L * vector);
    gate();
  }

  /** Writes an interrupt gate to RAX, below 64 KiB, at RDI (SDM Vol. 3A, 6.14.1). */
  private void gate() {
    a.mov(Memory.at(RDI), AX);
    a.mov(Memory.at(RDI, 2).asWord(), CODE_64);
    a.mov(Memory.at(RDI, 4).asDword(), 0x8E00);
    a.mov(Memory.at(RDI, 8).asQword(), 0);
  }

  /** Virtual wire mode: the PIC's interrupts come in at LINT0 (SDM Vol. 3A, 10.5.1). */
  private void localApic() {
    a.mov(EBX, LOCAL_APIC);
    a.mov(Memory.at(RBX, APIC_SPURIOUS).asDword(), APIC_ENABLED | SPURIOUS_VECTOR);
    a.mov(Memory.at(RBX, APIC_LINT0).asDword(), EXT_INT);
    a.mov(Memory.at(RBX, APIC_TPR).asDword(), 0);
    a.cmp(Memory.at(RBX, APIC_SPURIOUS).asDword(), APIC_ENABLED | SPURIOUS_VECTOR);
    check(Condition.E, "local APIC lost its spurious vector");
    print("local APIC: id ");
    a.mov(EAX, Memory.at(RBX, APIC_ID));
    a.shr(EAX, 24);
    a.call(putHex);
    print(", version ");
    a.mov(EAX, Memory.at(RBX, APIC_VERSION));
    a.and(EAX, 0xFF);
    a.call(putHex);
    print("\r\n");
  }

  private void ioApic() {
    a.mov(EBX, IOAPIC);
    ioApicSelect(IOAPIC_VERSION);
    a.mov(EAX, Memory.at(RBX, IOAPIC_WINDOW));
    print("IOAPIC: highest pin ", true);
    a.shr(EAX, 16);
    a.and(EAX, 0xFF);
    a.call(putHex);
    print("\r\n");
    ioApicSelect(IOAPIC_REDIRECTION + 2 * 4);
    a.mov(Memory.at(RBX, IOAPIC_WINDOW).asDword(), IOAPIC_MASKED | FIRST_VECTOR + 4);
    a.mov(EAX, Memory.at(RBX, IOAPIC_WINDOW));
    a.cmp(EAX, IOAPIC_MASKED | FIRST_VECTOR + 4);
    check(Condition.E, "IOAPIC lost a redirection entry");
  }

  private void ioApicSelect(final int register) {
    a.mov(Memory.at(RBX).asDword(), register);
  }

  private void timerTicks() {
    for (final int pic : new int[] {PIC_MASTER, PIC_SLAVE}) {
      out(pic, 0x11);
    }
    out(PIC_MASTER + 1, FIRST_VECTOR);
    out(PIC_SLAVE + 1, FIRST_VECTOR + 8);
    out(PIC_MASTER + 1, 4);
    out(PIC_SLAVE + 1, 2);
    out(PIC_MASTER + 1, 1);
    out(PIC_SLAVE + 1, 1);
    out(PIC_SLAVE + 1, 0xFF);
    out(PIC_MASTER + 1, 0xFE);
    out(PIT_CONTROL, PIT_RATE_GENERATOR);
    out(PIT_CHANNEL_0, PIT_PERIOD & 0xFF);
    out(PIT_CHANNEL_0, PIT_PERIOD >> 8);
    final Label done = a.label();
    final Label wait = a.here();
    a.cmp(Memory.rip(ticks).asDword(), TICKS);
    a.jcc(Condition.AE, done);
    // No interrupt can slip in between: STI holds until HLT has begun.
    a.sti();
    a.hlt();
    a.cli();
    a.jmp(wait);
    a.bind(done);
    out(PIC_MASTER + 1, 0xFF);
    print("timer: ");
    a.mov(EAX, Memory.rip(ticks));
    a.call(putHex);
    print(" ticks\r\n");
  }

  /** Reads one page and writes another that are not there yet. */
  private void demandPaging() {
    a.mov(EBX, DEMAND);
    a.mov(EAX, Memory.at(RBX));
    a.mov(ECX, DEMAND_VALUE);
    a.mov(Memory.at(RBX, PAGE), ECX);
    a.test(EAX, EAX);
    check(Condition.E, "fresh page was not zero");
    a.cmp(Memory.absolute(DEMAND_FRAME + PAGE), ECX);
    check(Condition.E, "store did not reach the page mapped for it");
    a.cmp(Memory.rip(faults).asDword(), DEMAND_PAGES);
    check(Condition.E, "wrong number of page faults");
    print("demand paging: ");
    a.mov(EAX, Memory.rip(faults));
    a.call(putHex);
    print(" faults\r\n");
  }

  /** One linear address, two frames. */
  private void addressSpaces() {
    a.mov(EBX, WINDOW);
    a.mov(Memory.at(RBX).asDword(), 1);
    loadCr3(SECOND_PML4);
    a.mov(Memory.at(RBX).asDword(), 2);
    loadCr3(PML4);
    a.cmp(Memory.at(RBX).asDword(), 1);
    check(Condition.E, "first address space sees the second one's page");
    loadCr3(SECOND_PML4);
    a.cmp(Memory.at(RBX).asDword(), 2);
    check(Condition.E, "second address space sees the first one's page");
    loadCr3(PML4);
    a.cmp(Memory.absolute(WINDOW_FRAME + PAGE).asDword(), 2);
    check(Condition.E, "frame of the second address space was not written");
    print("address spaces: 2\r\n");
  }

  private void loadCr3(final int table) {
    a.mov(EAX, table);
    a.mov(CR3, RAX);
  }

  private void computation() {
    a.xor(EAX, EAX);
    a.mov(ECX, SUM_TO);
    final Label next = a.here();
    a.add(RAX, RCX);
    a.dec(ECX);
    a.jcc(Condition.NE, next);
    a.mov(RDX, SUM);
    a.cmp(RAX, RDX);
    check(Condition.E, "sum of 1 to 100000");
    print("sum of 1 to 100000: ", true);
    a.call(putHex);

    a.lea(RSI, Memory.rip(text(CRC_INPUT)));
    a.mov(ECX, CRC_INPUT.length());
    a.call(crc32);
    a.cmp(EAX, CRC_CHECK);
    check(Condition.E, "CRC-32 of 123456789");
    print("\r\nCRC-32 of 123456789: ", true);
    a.call(putHex);

    a.mov(EDI, BUFFER);
    a.mov(RAX, 0x0102_0304_0506_0708L);
    a.mov(ECX, BUFFER_SIZE / 8);
    a.rep();
    a.stos(8);
    a.mov(ESI, BUFFER);
    a.mov(ECX, BUFFER_SIZE);
    a.call(crc32);
    a.cmp(EAX, crcOfBuffer());
    check(Condition.E, "CRC-32 of the buffer");
    print("\r\nCRC-32 of 16 KiB: ", true);
    a.call(putHex);
    print("\r\n");
  }

  /** The answer that the guest's own CRC is held against. */
  private static int crcOfBuffer() {
    final byte[] buffer = new byte[BUFFER_SIZE];
    for (int i = 0; i < buffer.length; i++) {
      buffer[i] = (byte) (8 - i % 8);
    }
    final CRC32 crc = new CRC32();
    crc.update(buffer);
    return (int) crc.getValue();
  }

  // ---- parts of code ----

  /** OUT of an immediate byte; clobbers AL, DX. */
  private void out(final int port, final int value) {
    a.mov(AL, value);
    if (port <= 0xFF) {
      a.out(port, AL);
    } else {
      a.mov(DX, port);
      a.out(DX, AL);
    }
  }

  /** Prints; clobbers RAX, RDX, RSI. */
  private void print(final String line) {
    print(line, false);
  }

  private void print(final String line, final boolean keepRax) {
    if (keepRax) {
      a.push(RAX);
    }
    a.lea(RSI, Memory.rip(text(line)));
    a.call(putText);
    if (keepRax) {
      a.pop(RAX);
    }
  }

  private Label text(final String value) {
    return texts.computeIfAbsent(value, key -> a.label());
  }

  /** Goes on where a condition holds, else fails with a message. */
  private void check(final Condition condition, final String message) {
    final Label good = a.label();
    a.jcc(condition, good);
    a.lea(RSI, Memory.rip(text(message)));
    a.jmp(fail);
    a.bind(good);
  }

  private void routines() {
    // AL to the UART; clobbers AH, DX.
    a.bind(putCharacter);
    a.mov(AH, AL);
    a.mov(DX, LSR);
    final Label busy = a.here();
    a.in(AL, DX);
    a.test(AL, THR_EMPTY);
    a.jcc(Condition.E, busy);
    a.mov(DX, UART);
    a.mov(AL, AH);
    a.out(DX, AL);
    a.ret();

    // The text at RSI up to its zero byte; clobbers RAX, RDX, RSI.
    a.bind(putText);
    final Label end = a.label();
    final Label next = a.here();
    a.lods(1);
    a.test(AL, AL);
    a.jcc(Condition.E, end);
    a.call(putCharacter);
    a.jmp(next);
    a.bind(end);
    a.ret();

    // RAX in hexadecimal without leading zeros; clobbers RAX, RCX, RDX, RDI.
    a.bind(putHex);
    a.mov(RDI, RAX);
    a.mov(ECX, 16);
    final Label skip = a.here();
    a.rol(RDI, 4);
    a.test(DIL, 0xF);
    final Label digit = a.label();
    a.jcc(Condition.NE, digit);
    a.cmp(ECX, 1);
    a.jcc(Condition.E, digit);
    a.dec(ECX);
    a.jmp(skip);
    a.bind(digit);
    a.mov(EAX, EDI);
    a.and(EAX, 0xF);
    final Label decimal = a.label();
    a.cmp(AL, 10);
    a.jcc(Condition.B, decimal);
    a.add(AL, 'a' - '0' - 10);
    a.bind(decimal);
    a.add(AL, '0');
    a.call(putCharacter);
    a.rol(RDI, 4);
    a.dec(ECX);
    a.jcc(Condition.NE, digit);
    a.ret();

    // CRC-32 of RCX bytes at RSI, bit by bit, into EAX; clobbers RCX, RDX, RSI.
    a.bind(crc32);
    a.mov(EAX, -1);
    final Label nextByte = a.here();
    a.xor(AL, Memory.at(RSI));
    a.inc(RSI);
    a.mov(DL, 8);
    final Label nextBit = a.here();
    final Label even = a.label();
    a.shr(EAX, 1);
    a.jcc(Condition.AE, even);
    a.xor(EAX, CRC_POLYNOMIAL);
    a.bind(even);
    a.dec(DL);
    a.jcc(Condition.NE, nextBit);
    a.dec(RCX);
    a.jcc(Condition.NE, nextByte);
    a.not(EAX);
    a.ret();

    a.bind(fail);
    a.push(RSI);
    print(FAILURE);
    a.pop(RSI);
    a.call(putText);
    print("\r\n");
    a.bind(powerOff);
    a.mov(DX, pm1aControl);
    a.mov(AX, SLEEP_ENABLE | sleepType << SLEEP_TYPE_SHIFT);
    a.out(DX, AX);
    // Where the machine stays on: rest with interrupts off, for ever.
    final Label rest = a.here();
    a.cli();
    a.hlt();
    a.jmp(rest);
  }

  private void handlers() {
    a.bind(timer);
    a.push(RAX);
    a.inc(Memory.rip(ticks).asDword());
    // The last tick masks its line: however late the guest runs, it counts no more of them.
    final Label more = a.label();
    a.cmp(Memory.rip(ticks).asDword(), TICKS);
    a.jcc(Condition.B, more);
    out(PIC_MASTER + 1, 0xFF);
    a.bind(more);
    out(PIC_MASTER, 0x20); // end of interrupt
    a.pop(RAX);
    a.iretq();

    // Maps the next demand frame at the faulting page, which must be one of the demand pages.
    a.bind(pageFault);
    a.push(RAX);
    a.push(RCX);
    a.push(RDX);
    a.mov(RCX, CR2);
    a.sub(RCX, DEMAND);
    a.shr(RCX, 12);
    a.cmp(RCX, DEMAND_PAGES);
    a.jcc(Condition.AE, unexpected);
    a.mov(EAX, ECX);
    a.shl(EAX, 12);
    a.add(EAX, DEMAND_FRAME | TABLE_ENTRY);
    a.mov(EDX, TABLE + DEMAND / PAGE * 8);
    a.mov(Memory.at(RDX, RCX, 8, 0), RAX);
    a.mov(RCX, CR2);
    a.invlpg(Memory.at(RCX));
    a.inc(Memory.rip(faults).asDword());
    a.pop(RDX);
    a.pop(RCX);
    a.pop(RAX);
    a.add(RSP, 8); // the error code
    a.iretq();

    a.bind(spurious);
    a.iretq();

    a.bind(unexpected);
    a.lea(RSI, Memory.rip(text("unexpected exception or interrupt")));
    a.jmp(fail);
  }

  private void data() {
    // Apart from the code: a store beside code costs whoever caches decoded instructions.
    a.align(PAGE, 0);
    final Label gdt = a.here();
    a.dq(0);
    a.dq(0x00CF_9B00_0000_FFFFL); // 0x08: 32-bit code, flat
    a.dq(0x00CF_9300_0000_FFFFL); // 0x10: data, flat
    a.dq(0x00AF_9B00_0000_FFFFL); // 0x18: 64-bit code
    a.bind(gdtPointer);
    a.dw(4 * 8 - 1);
    a.dd(gdt);
    a.align(8, 0);
    a.bind(idtPointer);
    a.dw(PAGE - 1);
    a.dq(IDT);
    a.align(8, 0);
    a.bind(ticks);
    a.dd(0);
    a.bind(faults);
    a.dd(0);
    a.bind(vendor);
    a.dd(0, 0, 0, 0);
    for (final Map.Entry<String, Label> text : texts.entrySet()) {
      a.bind(text.getValue());
      a.asciz(text.getKey());
    }
  }
}
