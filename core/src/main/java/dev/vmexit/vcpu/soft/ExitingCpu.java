package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.Vector;

/**
 * The ways out of an instruction: faults, and requests to the run loop.
 *
 * <p>An access that no slot backs becomes an MMIO exit. The instruction is then executed again from
 * its start; the answers that it already got ("fragments") are handed out in the same order, so an
 * instruction with several such accesses makes progress by one at each entry, and no operation
 * needs to know.
 */
abstract class ExitingCpu extends SoftCpu {
  /** XSAVE to MMIO is the longest: 576 bytes by eights, with room. */
  private static final int MAX_FRAGMENTS = 160;

  private static final int MAX_PERMITS = 4;
  static final long PAGE_MASK = -4096L;

  final VcpuExit exit = new VcpuExit();

  private final long[] fragments = new long[MAX_FRAGMENTS];
  private int fragmentCount;
  private int fragmentCursor;
  private boolean awaiting;

  private final long[] permittedGva = new long[MAX_PERMITS];
  private final long[] permittedGpa = new long[MAX_PERMITS];
  private int permits;

  private int vector = -1;
  private int errorCode;
  private boolean hasErrorCode;

  /** The fault is of a memory operand's address that is not canonical. */
  private boolean notCanonical;

  private final GuestFault fault = new GuestFault();

  ExitingCpu(final long state) {
    super(state);
  }

  // ---- faults ----

  @Override
  public final GuestFault raise(final int faultVector) {
    vector = faultVector;
    notCanonical = false;
    hasErrorCode = false;
    errorCode = 0;
    throw fault;
  }

  @Override
  public final GuestFault raise(final int faultVector, final int faultErrorCode) {
    vector = faultVector;
    notCanonical = false;
    hasErrorCode = true;
    errorCode = faultErrorCode;
    throw fault;
  }

  final int faultVector() {
    return vector;
  }

  final int faultErrorCode() {
    return errorCode;
  }

  /** #SS for #GP where an address was not canonical: the op that faulted says its segment. */
  final void faultOfSegment(final boolean stack) {
    if (stack && notCanonical) {
      vector = Vector.SS;
    }
  }

  /** #GP of a memory operand whose address is not canonical; #SS where its segment is SS. */
  final GuestFault raiseNotCanonical() {
    vector = Vector.GP;
    hasErrorCode = true;
    errorCode = 0;
    notCanonical = true;
    throw fault;
  }

  final boolean faultHasErrorCode() {
    return hasErrorCode;
  }

  // ---- requests to the run loop ----

  /**
   * Yields the answer of an exit that this pass of the instruction already made, or leaves with the
   * exit described by the caller (all but {@link VcpuExit#reason} set).
   */
  final long request(final int reason) {
    if (fragmentCursor < fragmentCount) {
      return fragments[fragmentCursor++];
    }
    exit.reason = reason;
    awaiting = true;
    throw Unwind.EXIT;
  }

  /** Whether the next {@link #request} has its answer. */
  final boolean answered() {
    return fragmentCursor < fragmentCount;
  }

  /** Takes the run loop's answer; true where an instruction waits to be completed. */
  final boolean completeRequest() {
    if (awaiting) {
      awaiting = false;
      if (fragmentCount == MAX_FRAGMENTS) {
        throw new IllegalStateException("one instruction made " + MAX_FRAGMENTS + " exits");
      }
      fragments[fragmentCount++] = exit.value;
    }
    return fragmentCount > 0;
  }

  /** The instruction runs again from its start: the answers are handed out again. */
  final void restartInstruction() {
    fragmentCursor = 0;
  }

  /** Forgets the instruction that waits for an answer, and the answers that it had. */
  final void abandonInstruction() {
    awaiting = false;
    instructionDone();
  }

  /** Forgets the answers and permits of the instruction that completed. */
  final void instructionDone() {
    fragmentCount = 0;
    fragmentCursor = 0;
    permits = 0;
  }

  /**
   * Whether an exit of the instruction at rip awaits its answer, or answers or permits are kept.
   */
  final boolean instructionPending() {
    return awaiting || fragmentCount + permits > 0;
  }

  /** Lets the instruction write a page of guest tables although the shadow tables forbid it. */
  final void permitWrite(final long gva, final long gpa) {
    for (int i = 0; i < permits; i++) {
      if (permittedGva[i] == (gva & PAGE_MASK)) {
        permittedGpa[i] = gpa & PAGE_MASK;
        return;
      }
    }
    if (permits == MAX_PERMITS) {
      permits = 0;
    }
    permittedGva[permits] = gva & PAGE_MASK;
    permittedGpa[permits] = gpa & PAGE_MASK;
    permits++;
  }

  /** Ends {@link #permitWrite}: only an emulated instruction may use it. */
  final void forbidWrites() {
    permits = 0;
  }

  /**
   * Whether the instruction may write to a page that the shadow tables forbid.
   *
   * @return the page's guest-physical address, or -1
   */
  final long permittedPage(final long linear) {
    for (int i = 0; i < permits; i++) {
      if (permittedGva[i] == (linear & PAGE_MASK)) {
        return permittedGpa[i];
      }
    }
    return -1;
  }

  @Override
  public final int portIn(final int port, final int size) {
    if (!answered()) {
      describe(port, size, false, 0);
    }
    return (int) request(VcpuExit.PIO);
  }

  @Override
  public final byte[] portInMany(final int port, final int size, final int count) {
    if (!answered()) {
      describe(port, size, false, 0);
      exit.count = count;
    }
    request(VcpuExit.PIO);
    return exit.data;
  }

  @Override
  public final int portAnswered() {
    return answered() ? exit.count : 0;
  }

  @Override
  public final void portOut(final int port, final int size, final int value) {
    if (!answered()) {
      describe(port, size, true, size == 4 ? value & 0xFFFF_FFFFL : value & (1 << size * 8) - 1);
    }
    request(VcpuExit.PIO);
  }

  @Override
  public final void portOutMany(final int port, final int size, final int count, final long host) {
    if (!answered()) {
      // Safe: the caller found all of the elements inside one page that it may read.
      describe(port, size, true, HostMemory.get(host, size));
      exit.count = count;
      HostMemory.copyOut(host, exit.data, 0, (long) count * size);
    }
    request(VcpuExit.PIO);
  }

  /** Fills {@link #exit} for an exit to come. */
  final void describe(final long address, final int size, final boolean write, final long value) {
    exit.address = address;
    exit.size = size;
    exit.write = write;
    exit.value = value;
    exit.count = 1;
    exit.errorCode = 0;
    exit.refused = false;
  }

  final long mmioRead(final long gpa, final int size) {
    if (!answered()) {
      describe(gpa, size, false, 0);
    }
    return request(VcpuExit.MMIO);
  }

  final void mmioWrite(final long gpa, final int size, final long value) {
    if (!answered()) {
      describe(gpa, size, true, value);
    }
    request(VcpuExit.MMIO);
  }

  /** Describes an exit that no instruction asks for. */
  final int leave(final int reason) {
    exit.reason = reason;
    exit.rip = HostMemory.getLong(state + StateLayout.RIP);
    exit.instructionLength = 0;
    exit.errorCode = 0;
    exit.address = 0;
    exit.value = 0;
    exit.size = 0;
    exit.write = false;
    return reason;
  }

  /** Copies the bytes of an op for the record. */
  final void capture(final Block block, final int index) {
    if (block == null) {
      exit.instructionLength = 0;
      return;
    }
    final int from = block.offsets[index];
    final int to = index + 1 < block.offsets.length ? block.offsets[index + 1] : block.length;
    final long host = block.host + from;
    final int length = to - from;
    final int first = (int) Math.min(length, 4096 - (host & 0xFFF));
    HostMemory.copyOut(host, exit.instruction, 0, first);
    if (first < length) {
      HostMemory.copyOut(block.crossHost, exit.instruction, first, (long) length - first);
    }
    exit.instructionLength = length;
  }
}
