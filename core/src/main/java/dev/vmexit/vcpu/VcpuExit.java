package dev.vmexit.vcpu;

import dev.vmexit.memory.InstructionBytes;
import dev.vmexit.x86.decode.Instruction;

/**
 * Why a vCPU left guest mode: one reused flyweight per vCPU, filled by {@link Vcpu#enter} and
 * answered by the run loop before it enters again. The counterpart of {@code struct kvm_run}.
 *
 * <p>Exits come in two manners. A <em>request</em> (PIO, MMIO, MSR, CPUID, TSC) leaves with rip on
 * the instruction; the answer is put into {@link #value} (or {@link #cpuid}), and the instruction
 * completes at the next entry. A <em>notice</em> (CR, INVLPG, HLT) leaves after the instruction:
 * {@link #rip} names it, the state is already beyond it. PAGE_FAULT leaves on the instruction,
 * which restarts.
 */
public final class VcpuExit {
  /** The instruction limit given to {@link Vcpu#enter} is reached; not recorded. */
  public static final int LIMIT = 0;

  public static final int PIO = 1;
  public static final int MMIO = 2;
  public static final int PAGE_FAULT = 3;
  public static final int CR = 4;
  public static final int MSR = 5;
  public static final int CPUID = 6;
  public static final int HLT = 7;
  public static final int INVLPG = 8;
  public static final int TSC = 9;
  public static final int IRQ_WINDOW = 10;
  public static final int SHUTDOWN = 11;
  public static final int KICK = 12;

  /** An instruction executed by {@link Vcpu#emulate} is complete; not recorded by itself. */
  public static final int EMULATED = 13;

  /**
   * An instruction that the processor's hypervisor could not execute was executed for it; the state
   * is beyond it. {@link #address} is its rip.
   */
  public static final int FINISHED = 14;

  /** A debug event: {@link #address} is its rip, {@link #value} DR6. */
  public static final int DEBUG = 15;

  /** The hypervisor reports an event of the whole machine: {@link #address} is its type. */
  public static final int SYSTEM_EVENT = 16;

  /** The vCPU cannot go on: {@link Vcpu#failure} says why. */
  public static final int FAILED = 17;

  /** RDRAND or RDSEED: {@link #address} says which, as {@code ExitEvent.TSC_*} does. */
  public static final int RANDOM = 18;

  /**
   * The hypervisor met a page of guest memory that the host had to be asked for: {@link #address}
   * is {@code ExitEvent.PF_FIRST_TOUCH} or {@code PF_FIRST_WRITE}, {@link #value} the page's gpa.
   * It has been seen to.
   */
  public static final int HOST_FAULT = 19;

  public int reason;

  /** rip of the instruction that exits. */
  public long rip;

  /** Port, gpa, gva, register number, MSR index, leaf. */
  public long address;

  /** Bytes moved, zero-extended; for a read, to be filled in by the run loop; CPUID: subleaf. */
  public long value;

  /** Bytes of a PIO or MMIO access. */
  public int size;

  /**
   * Elements of a PIO access: above 1 for an INS or OUTS with a repeat prefix, whose elements are
   * in {@link #data}, one after another; those of INS the run loop puts there. At most {@link
   * #MAX_DATA} bytes.
   */
  public int count = 1;

  /** Bytes that {@link #data} has room for. */
  public static final int MAX_DATA = 512;

  /** Elements of a PIO access of several. */
  public final byte[] data = new byte[MAX_DATA];

  public boolean write;

  /** PAGE_FAULT: the architecture's error code of the access. */
  public int errorCode;

  /** MSR: the run loop refuses; the instruction raises #GP(0). */
  public boolean refused;

  /** CPUID: eax, ebx, ecx, edx, filled in by the run loop. */
  public final int[] cpuid = new int[4];

  /** Bytes of the instruction, for the record; 0 long where none was fetched. */
  public int instructionLength;

  public final byte[] instruction = new byte[Instruction.MAX_LENGTH];

  /**
   * Takes the instruction's bytes from this process's memory, always 15 as that is quickest.
   *
   * @param address of bytes of which 15 can be read
   */
  public void instruction(final long address, final int length) {
    instructionLength = length;
    // Safe: the caller vouches for the bytes.
    InstructionBytes.copyOut(address, instruction);
  }

  /** Begins an exit with nothing to say but where it is. */
  public void clear(final int newReason, final long newRip) {
    reason = newReason;
    rip = newRip;
    instructionLength = 0;
    errorCode = 0;
    address = 0;
    value = 0;
    size = 0;
    count = 1;
    write = false;
  }
}
