package dev.vmexit.exit;

import dev.vmexit.memory.InstructionBytes;

/**
 * All that one record holds, in the open: the run loop fills one and hands it to {@link
 * ExitRingWriter}; a trace reader fills one from a record. Reused, so that an exit allocates
 * nothing; not thread-safe.
 *
 * <p>Meaning of the payload by kind:
 *
 * <table>
 * <caption>Payload</caption>
 * <tr><th>kind</th><th>address</th><th>value</th><th>size</th><th>write</th><th>detail</th></tr>
 * <tr><td>PIO</td><td>port</td><td>bytes moved</td><td>1, 2, 4</td><td>OUT</td><td>0</td></tr>
 * <tr><td>PIO, string</td><td>port</td><td>first element</td><td>1, 2, 4</td><td>OUT</td>
 * <td>0; all elements in data</td></tr>
 * <tr><td>MMIO</td><td>gpa</td><td>bytes moved</td><td>1 to 8</td><td>store</td><td>0</td></tr>
 * <tr><td>PAGE_FAULT</td><td>gva</td><td>gpa</td><td>0</td><td>write access</td><td>outcome
 * (PF_*)</td></tr>
 * <tr><td>PAGE_FAULT, the host's</td><td>0</td><td>gpa of the page</td><td>0</td><td>write
 * access</td><td>PF_FIRST_*</td></tr>
 * <tr><td>CR</td><td>number</td><td>new value</td><td>8</td><td>true</td><td>0</td></tr>
 * <tr><td>MSR</td><td>index</td><td>value</td><td>8</td><td>WRMSR</td><td>1: raised
 * #GP</td></tr>
 * <tr><td>CPUID</td><td>leaf</td><td>subleaf</td><td>0</td><td>false</td><td>0</td></tr>
 * <tr><td>HLT</td><td>0</td><td>0</td><td>0</td><td>false</td><td>RFLAGS.IF</td></tr>
 * <tr><td>INVLPG</td><td>gva</td><td>0</td><td>0</td><td>false</td><td>0</td></tr>
 * <tr><td>TSC</td><td>0: RDTSC, 1: RDTSCP, 2: RDRAND, 3: RDSEED</td><td>counter, random number</td><td>8</td><td>false</td><td>0</td></tr>
 * <tr><td>INJECT</td><td>vector</td><td>request-to-injection time, ns, or -1</td><td>0</td>
 * <td>has error code</td><td>INJECT_*</td></tr>
 * <tr><td>DMA</td><td>gpa</td><td>length</td><td>0</td><td>true</td><td>0; bytes in data</td></tr>
 * <tr><td>DEBUG</td><td>rip</td><td>DR6, or 0</td><td>0</td><td>false</td><td>DEBUG_*</td></tr>
 * <tr><td>DEBUG, memory</td><td>0</td><td>state of MemoryMap</td><td>0</td><td>false</td>
 * <td>DEBUG_MEMORY</td></tr>
 * <tr><td>SHUTDOWN</td><td>0</td><td>0</td><td>0</td><td>false</td><td>SHUTDOWN_*</td></tr>
 * <tr><td>GAP</td><td>first lost sequence</td><td>how many</td><td>0</td><td>false</td>
 * <td>GAP_*</td></tr>
 * <tr><td>KERNEL</td><td colspan="4">as {@link KernelEvent} has it for the tracepoint</td>
 * <td>its number there</td></tr>
 * </table>
 */
public final class ExitEvent {
  // detail of PAGE_FAULT: what the MMU concluded.
  /** A shadow entry was installed; the instruction restarts. */
  public static final int PF_FILLED = 1;

  /** The guest's own tables forbid it: #PF is injected (a record of kind INJECT follows). */
  public static final int PF_REFLECTED = 2;

  /** A write to a write-protected guest table was emulated; see {@link #writeCount}. */
  public static final int PF_TABLE_WRITE = 3;

  /** No slot backs the address: the access becomes MMIO. */
  public static final int PF_NO_SLOT = 4;

  /** A write to a read-only slot: becomes MMIO. */
  public static final int PF_READ_ONLY = 5;

  /**
   * The host's fault, not the guest's: KVM touched this page of guest memory for the first time.
   * The gva is not known, and 0; rip and registers are those of the exit that came next.
   */
  public static final int PF_FIRST_TOUCH = 6;

  /** As {@link #PF_FIRST_TOUCH}: KVM wrote to a page that it had only read. */
  public static final int PF_FIRST_WRITE = 7;

  // address of TSC.
  public static final int TSC_RDTSC = 0;
  public static final int TSC_RDTSCP = 1;
  public static final int TSC_RDRAND = 2;
  public static final int TSC_RDSEED = 3;

  // detail of INJECT.
  public static final int INJECT_INTERRUPT = 0;
  public static final int INJECT_NMI = 2;
  public static final int INJECT_EXCEPTION = 3;

  // detail of SHUTDOWN.
  public static final int SHUTDOWN_TRIPLE_FAULT = 1;
  public static final int SHUTDOWN_POWER_OFF = 2;
  public static final int SHUTDOWN_RESET = 3;
  public static final int SHUTDOWN_DEBUG_EXIT = 4;

  /** The vCPU could not go on: KVM refused the guest. */
  public static final int SHUTDOWN_FAILED = 5;

  // detail of DEBUG.
  /** A breakpoint or single step. */
  public static final int DEBUG_EVENT = 0;

  /** An instruction that KVM could not execute was executed by the interpreter. */
  public static final int DEBUG_FINISHED = 1;

  /**
   * No exit: what memory there is has changed, as {@link dev.vmexit.memory.MemoryMap} has it, by
   * the access of the record behind; or it is so from the start.
   */
  public static final int DEBUG_MEMORY = 2;

  // detail of GAP.
  /** Nobody knows why. */
  public static final int GAP_UNKNOWN = 0;

  /** The ring was full, and the vCPU was told not to wait. */
  public static final int GAP_DROPPED = 1;

  /** They were recorded; the trace is damaged where they stood. */
  public static final int GAP_DAMAGED = 2;

  /** They were recorded, and taken away: only the end of the run was to be kept. */
  public static final int GAP_NOT_KEPT = 3;

  // detail of KICK.
  /** From here on a replay needs nothing of what came before: see {@link VectorState}. */
  public static final int KICK_CHECKPOINT = 1;

  // bits of mode.
  /** Code size in bytes: 2, 4 or 8. */
  public static final int MODE_CODE_SIZE = 0xF;

  public static final int MODE_CPL_SHIFT = 4;
  public static final int MODE_CPL = 3 << MODE_CPL_SHIFT;

  /** CR0.PG. */
  public static final int MODE_PAGING = 1 << 6;

  /** RFLAGS.VM. */
  public static final int MODE_VM86 = 1 << 7;

  // bits of interruptState, as they stood at the exit (INJECT: at the injection).
  public static final int INTERRUPT_IF = 1;

  /** Blocked for one instruction by STI or MOV SS. */
  public static final int INTERRUPT_SHADOW = 1 << 1;

  public static final int INTERRUPT_NMI_BLOCKED = 1 << 2;

  /** An interrupt window was requested. */
  public static final int INTERRUPT_WINDOW = 1 << 3;

  /** Guest entries that a walk can read: 5 levels, and the PDPTEs of PAE. */
  public static final int MAX_WALK = 10;

  /** Table writes that one emulated instruction can make (two per page-crossing store and RMW). */
  public static final int MAX_WRITES = 8;

  /** Bytes of the longest instruction (SDM volume 2, 2.3.11). */
  public static final int MAX_INSTRUCTION = InstructionBytes.LENGTH;

  /** Bytes that one record can carry: a disk's sector. */
  public static final int MAX_DATA = 512;

  /** Number of the record in the trace, from 0, contiguous; given by the writer. */
  public long sequence;

  public int vcpu;
  public ExitKind kind;

  /** Instructions retired before the exit. */
  public long retired;

  /** Host time of the exit, in ns since the run began. */
  public long hostTime;

  /** Time in the guest before this exit, ns. */
  public long guestTime;

  /** Time in the handler, ns. */
  public long handlerTime;

  /** Linear rip of the instruction that exits is {@code csBase + rip}. */
  public long rip;

  public long csBase;
  public long cr0;
  public long cr3;
  public long cr4;
  public long efer;
  public int mode;
  public int interruptState;
  public long rflags;

  /** Bytes at rip, 0 where none were fetched. */
  public int instructionLength;

  public final byte[] instruction = new byte[MAX_INSTRUCTION];

  public long address;
  public long value;
  public int size;
  public boolean write;
  public int detail;

  /** PAGE_FAULT, INJECT, KERNEL: the architecture's error code. */
  public int errorCode;

  /** CPUID: eax, ebx, ecx, edx. */
  public final int[] cpuid = new int[4];

  /** PAGE_FAULT: guest entries that the walk read. */
  public int walkCount;

  public final long[] walkAddress = new long[MAX_WALK];
  public final long[] walkValue = new long[MAX_WALK];

  /** PAGE_FAULT with PF_TABLE_WRITE and DMA into tables: writes to guest tables, in order. */
  public int writeCount;

  public final long[] writeAddress = new long[MAX_WRITES];
  public final int[] writeSize = new int[MAX_WRITES];
  public final long[] writeValue = new long[MAX_WRITES];

  /**
   * Bytes of {@link #data}: several elements of INS or OUTS, or what a bus master put into memory.
   */
  public int dataLength;

  /** PIO of several elements, DMA. */
  public final byte[] data = new byte[MAX_DATA];

  /** General registers at the exit, in the order of {@code kvm_regs}: rax to r15. */
  public final long[] registers = new long[16];

  /** Whether this is a page fault of the host's on guest memory, of which no guest table tells. */
  public boolean isHostFault() {
    return kind == ExitKind.PAGE_FAULT && (detail == PF_FIRST_TOUCH || detail == PF_FIRST_WRITE);
  }

  /** Takes the instruction's bytes, of an array with room for the longest. */
  public void instruction(final byte[] bytes, final int length) {
    instructionLength = length;
    InstructionBytes.copy(bytes, instruction);
  }

  /** Clears the payload, not the header; called before a record is filled. */
  public void clearPayload() {
    instructionLength = 0;
    address = 0;
    value = 0;
    size = 0;
    write = false;
    detail = 0;
    errorCode = 0;
    walkCount = 0;
    writeCount = 0;
    dataLength = 0;
  }
}
