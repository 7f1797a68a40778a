package dev.vmexit.vcpu.soft;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.memory.WriteListener;
import dev.vmexit.mmu.Translation;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.TableWrites;
import dev.vmexit.vcpu.Vcpu;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Vector;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.Arrays;

/**
 * A processor in software, tier 0: an interpreter over cached blocks of bound instructions.
 *
 * <p>It behaves as hardware virtualization does: it runs guest code and leaves where a VMM has work
 * to do (see {@link VcpuExit}). Between two blocks it looks at one word, {@link #attention}; all
 * that is rare (a kick, an interrupt window, the shadow of STI, single-stepping) sets a bit there.
 */
public final class SoftVcpu extends SegmentedCpu implements Vcpu {
  private static final int ATTENTION_KICK = 1;
  private static final int ATTENTION_WINDOW = 1 << 1;
  private static final int ATTENTION_SHADOW = 1 << 2;
  private static final int ATTENTION_STEP = 1 << 3;
  private static final int ATTENTION_NOTICE = 1 << 4;
  private static final int ATTENTION_ONCE = 1 << 5;
  private static final int ATTENTION_DEFERRED = 1 << 6;
  private static final int ATTENTION_BREAKPOINTS = 1 << 7;

  private static final int JUMP_CACHE_SIZE = 1 << 14;
  private static final long DR6_SINGLE_STEP = 1 << 14;
  private static final int DR6_ACCESS = 1 << 13;
  private static final long DR7_GENERAL_DETECT = 1 << 13;

  private static final int CLASS_BENIGN = 0;
  private static final int CLASS_CONTRIBUTORY = 1;
  private static final int CLASS_PAGE_FAULT = 2;

  private static final VarHandle ATTENTION;

  static {
    try {
      ATTENTION = MethodHandles.lookup().findVarHandle(SoftVcpu.class, "attention", int.class);
    } catch (final ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  private final CpuModel model;
  private final Block[] jumpBlocks = new Block[JUMP_CACHE_SIZE];
  private final BlockBuilder builder = new BlockBuilder(this);
  private final TaskSwitch tasks = new TaskSwitch(this);
  private final CallGates gates = new CallGates(this, tasks);
  private final EventDelivery delivery = new EventDelivery(this);
  private final Msrs msrs = new Msrs(this);
  private final WriteListener writeListener = this::memoryWritten;

  /** ATTENTION_* bits; the kick bit is set by other threads, hence only atomic updates. */
  @SuppressWarnings("UnusedVariable") // through ATTENTION
  private int attention;

  private int noticeReason;
  private boolean emulating;
  private boolean windowWanted;
  private boolean shadow;
  private boolean nmiBlocked;

  // The event to deliver before the next instruction.
  private int pendingVector = -1;
  private int pendingType;
  private boolean pendingHasErrorCode;
  private int pendingErrorCode;

  /** An interrupt whose delivery faulted: delivered after the fault's handler has run. */
  private int deferredInterrupt;

  /** The instruction at rip meets no breakpoint of execution: RF as IRET left it. */
  private boolean resuming;

  /** The running instruction set {@link #resuming} for the one after it. */
  private boolean resumeFresh;

  private boolean tripleFault;

  private boolean closed;

  /** Makes a processor in its reset state (SDM Vol. 3A, 9.1.1). */
  public SoftVcpu(final GuestMemory memory, final Translation translation, final CpuModel model) {
    super(HostMemory.allocate(StateLayout.SIZE), memory, translation);
    this.model = model;
    memory.addWriteListener(writeListener);
    Arrays.fill(jumpBlocks, Block.NONE);
    ResetState.apply(state, model.signature());
    modeChanged();
  }

  /**
   * Hears no more of what others write to memory: for a vCPU whose caches are emptied before each
   * use, and whose memory other threads write to.
   */
  public void ignoreWrites() {
    memory.removeWriteListener(writeListener);
  }

  /** Puts the processor into its reset state, whatever it was about to do; it counts on. */
  public void reset() {
    final long retired = HostMemory.getLong(state + StateLayout.RETIRED);
    ResetState.apply(state, model.signature());
    HostMemory.putLong(state + StateLayout.RETIRED, retired);
    abandonInstruction();
    pendingVector = -1;
    followUp = -1;
    noticeBare = false;
    windowWanted = false;
    shadow = false;
    shadowFresh = false;
    stepArmed = false;
    nmiBlocked = false;
    resumeFresh = false;
    tripleFault = false;
    forget(~ATTENTION_KICK);
    stateChanged();
  }

  private void memoryWritten(final long gpa, final long length) {
    final long end = gpa + length;
    for (long at = gpa; at < end; ) {
      final long pageEnd = Math.min(end, (at & -4096L) + 4096);
      final long host = memory.hostAddress(at);
      if (host != 0) {
        code.written(host, (int) (pageEnd - at));
      }
      at = pageEnd;
    }
  }

  /** What this processor is said to be. */
  CpuModel model() {
    return model;
  }

  @Override
  public long allowedXcr0() {
    return model.allowedXcr0();
  }

  // ---- Vcpu ----

  @Override
  public long state() {
    return state;
  }

  @Override
  public VcpuExit exit() {
    return exit;
  }

  @Override
  public TableWrites tableWrites() {
    return tableWrites;
  }

  @Override
  public int enter(final long retiredLimit) {
    forbidWrites();
    if (completeRequest()) {
      attend(ATTENTION_ONCE);
    }
    return loop(retiredLimit);
  }

  @Override
  public int emulate(final long gva, final long gpa) {
    completeRequest();
    permitWrite(gva, gpa);
    tableWrites.clear();
    emulating = true;
    attend(ATTENTION_ONCE);
    final int reason = loop(Long.MAX_VALUE);
    emulating = false;
    return reason;
  }

  @Override
  public boolean interruptible() {
    // One that was deferred goes first.
    return takesInterrupt() && ((int) ATTENTION.getOpaque(this) & ATTENTION_DEFERRED) == 0;
  }

  private boolean takesInterrupt() {
    return (systemFlags() & Flags.IF) != 0 && !shadow && pendingVector < 0 && !instructionPending();
  }

  @Override
  public boolean nmiInjectable() {
    return !nmiBlocked && !shadow && pendingVector < 0 && !instructionPending();
  }

  @Override
  public int interruptState() {
    return ((systemFlags() & Flags.IF) != 0 ? ExitEvent.INTERRUPT_IF : 0)
        | (shadow ? ExitEvent.INTERRUPT_SHADOW : 0)
        | (nmiBlocked ? ExitEvent.INTERRUPT_NMI_BLOCKED : 0)
        | (windowWanted ? ExitEvent.INTERRUPT_WINDOW : 0);
  }

  @Override
  public void injectInterrupt(final int vector) {
    setPending(vector, EventDelivery.EXTERNAL, false, 0);
  }

  @Override
  public void injectNmi() {
    nmiBlocked = true;
    setPending(Vector.NMI, EventDelivery.EXTERNAL, false, 0);
  }

  @Override
  public void injectException(final int vector, final boolean hasErrorCode, final int errorCode) {
    queueException(vector, hasErrorCode, errorCode);
  }

  private void setPending(
      final int vector, final int type, final boolean hasErrorCode, final int errorCode) {
    pendingVector = vector;
    pendingType = type;
    pendingHasErrorCode = hasErrorCode;
    pendingErrorCode = errorCode;
  }

  @Override
  public void requestInterruptWindow(final boolean wanted) {
    windowWanted = wanted;
    if (wanted) {
      attend(ATTENTION_WINDOW);
    } else {
      ATTENTION.getAndBitwiseAnd(this, ~ATTENTION_WINDOW);
    }
  }

  @Override
  public void kick() {
    attend(ATTENTION_KICK);
  }

  private void attend(final int bit) {
    ATTENTION.getAndBitwiseOr(this, bit);
  }

  private void forget(final int bits) {
    ATTENTION.getAndBitwiseAnd(this, ~bits);
  }

  @Override
  public boolean readMsr(final int index, final VcpuExit answer) {
    return msrs.read(index, answer);
  }

  @Override
  public boolean writeMsr(final int index, final long value) {
    return msrs.write(index, value);
  }

  @Override
  public void cpuid(final int leaf, final int subleaf, final int[] out) {
    model.query(leaf, subleaf, 0, reg64(StateLayout.CR4), reg64(StateLayout.XCR0), out);
  }

  @Override
  public int mode() {
    return codeSize
        | cpl() << ExitEvent.MODE_CPL_SHIFT
        | ((HostMemory.getLong(state + StateLayout.CR0) & ControlRegisters.CR0_PG) != 0
            ? ExitEvent.MODE_PAGING
            : 0)
        | (isVm86() ? ExitEvent.MODE_VM86 : 0);
  }

  @Override
  public void stateChanged() {
    setRflags(HostMemory.getLong(state + StateLayout.RFLAGS));
    // Who changes registers may have changed code too, past every write that is told to us.
    code.clear();
    flushAll();
    modeChanged();
    debugChanged();
  }

  @Override
  public void memoryChanged() {
    // Writes to RAM that is out of sight are told by an address that now means other memory.
    code.clear();
    flushAll();
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      memory.removeWriteListener(writeListener);
      HostMemory.free(state);
      freeEmptyTlb();
    }
  }

  // ---- the loop ----

  /** Runs blocks until an exit; the reason. */
  private int loop(final long limit) {
    final long s = state;
    if (tripleFault) {
      return leave(VcpuExit.SHUTDOWN);
    }
    Block block = null;
    int i = 0;
    while (true) {
      try {
        while (true) {
          int budget = Integer.MAX_VALUE;
          if ((int) ATTENTION.getOpaque(this) != 0) {
            final int reason = answerAttention(block);
            if (reason >= 0) {
              return reason;
            }
          }
          final Block previous = block;
          block = null;
          i = 0;
          if (pendingVector >= 0) {
            deliver();
            if (emulating) {
              return leave(VcpuExit.EMULATED);
            }
            if (pendingVector >= 0) {
              continue;
            }
          }
          if ((int) ATTENTION.getOpaque(this) != 0 && needsSingleStep()) {
            if (breakpoints.areArmed()) {
              beforeInstruction();
            }
            budget = 1;
            stepArmed = (systemFlags() & Flags.TF) != 0;
          }
          final long rip = HostMemory.getLong(s + StateLayout.RIP);
          block = lookup(rip, previous);
          final Op[] ops = block.ops;
          final int last = ops.length - 1;
          final long retired = HostMemory.getLong(s + StateLayout.RETIRED);
          HostMemory.putLong(s + StateLayout.BLOCK_RIP, rip);
          if (retired + last >= limit || budget <= last) {
            if (retired >= limit) {
              return leave(VcpuExit.LIMIT);
            }
            final int part = (int) Math.min(budget, limit - retired);
            if (part <= last) {
              for (; i < part; i++) {
                ops[i].execute(this);
              }
              HostMemory.putLong(s + StateLayout.RIP, rip + block.offsets[part] & ripMask);
              HostMemory.putLong(s + StateLayout.RETIRED, retired + part);
              if (budget == 1 && stepped()) {
                return leave(VcpuExit.EMULATED);
              }
              continue;
            }
          }
          // Four call sites give the host's branch predictor four histories.
          while (i < last - 3) {
            ops[i].execute(this);
            i++;
            ops[i].execute(this);
            i++;
            ops[i].execute(this);
            i++;
            ops[i].execute(this);
            i++;
          }
          for (; i < last; i++) {
            ops[i].execute(this);
          }
          HostMemory.putLong(s + StateLayout.RIP, rip + block.length & ripMask);
          ops[last].execute(this);
          HostMemory.putLong(s + StateLayout.RETIRED, retired + last + 1);
          if (budget == 1 && stepped()) {
            return leave(VcpuExit.EMULATED);
          }
        }
      } catch (final GuestFault fault) {
        settle(block, i);
        faultOfSegment(block != null && block.ops[i].inStack);
        instructionDone();
        queueException(faultVector(), faultHasErrorCode(), faultErrorCode());
        if (tripleFault) {
          return leave(VcpuExit.SHUTDOWN);
        }
        if (emulating) {
          return leave(VcpuExit.EMULATED);
        }
      } catch (final Unwind unwind) {
        settle(block, i);
        restartInstruction();
        if (unwind == Unwind.EXIT) {
          exit.rip = HostMemory.getLong(s + StateLayout.RIP);
          capture(block, i);
          return exit.reason;
        }
        block = null;
        if (unwind == Unwind.REPEAT) {
          if (stepArmed) {
            singleStepTrap();
          }
          if (emulating) {
            return leave(VcpuExit.EMULATED);
          }
        }
      }
    }
  }

  /** Puts rip and the retired count back to the op that did not complete. */
  private void settle(final Block block, final int index) {
    if (block != null) {
      final long s = state;
      final long rip = HostMemory.getLong(s + StateLayout.BLOCK_RIP);
      HostMemory.putLong(s + StateLayout.RIP, rip + block.offsets[index] & ripMask);
      HostMemory.putLong(
          s + StateLayout.RETIRED, HostMemory.getLong(s + StateLayout.RETIRED) + index);
    }
  }

  private int leave(final int reason) {
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
  private void capture(final Block block, final int index) {
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

  /** Deals with what asks for attention; a reason to leave, or -1. */
  private int answerAttention(final Block lastBlock) {
    final int bits = (int) ATTENTION.getOpaque(this);
    if ((bits & ATTENTION_NOTICE) != 0) {
      forget(ATTENTION_NOTICE);
      exit.reason = noticeReason;
      exit.rip = noticeRip;
      capture(noticeBare ? null : lastBlock, lastBlock == null ? 0 : lastBlock.offsets.length - 1);
      noticeBare = false;
      return noticeReason;
    }
    if ((bits & ATTENTION_KICK) != 0 && !emulating) {
      forget(ATTENTION_KICK);
      return leave(VcpuExit.KICK);
    }
    if ((bits & ATTENTION_DEFERRED) != 0 && takesInterrupt() && !emulating) {
      forget(ATTENTION_DEFERRED);
      setPending(deferredInterrupt, EventDelivery.EXTERNAL, false, 0);
    }
    if ((bits & ATTENTION_WINDOW) != 0 && interruptible() && !emulating) {
      return leave(VcpuExit.IRQ_WINDOW);
    }
    return -1;
  }

  private boolean needsSingleStep() {
    return ((int) ATTENTION.getOpaque(this)
            & (ATTENTION_SHADOW | ATTENTION_STEP | ATTENTION_ONCE | ATTENTION_BREAKPOINTS))
        != 0;
  }

  /** After one instruction that ran alone; true where {@link #emulate} is complete. */
  private boolean stepped() {
    final int bits = (int) ATTENTION.getOpaque(this);
    instructionDone();
    afterInstruction();
    if ((bits & ATTENTION_ONCE) != 0) {
      forget(ATTENTION_ONCE);
    }
    if (shadowFresh) {
      shadowFresh = false;
    } else if (shadow) {
      shadow = false;
      forget(ATTENTION_SHADOW);
    }
    if (stepArmed) {
      singleStepTrap();
    }
    return emulating;
  }

  private void singleStepTrap() {
    HostMemory.putLong(
        state + StateLayout.DR6, HostMemory.getLong(state + StateLayout.DR6) | DR6_SINGLE_STEP);
    queueTrap(Vector.DB);
    stepArmed = false;
  }

  /** Whether the running instruction will trap: a HLT must not sleep on that. */
  boolean stepping() {
    return stepArmed;
  }

  /** Set by STI and MOV SS while they run: their shadow covers the instruction after them. */
  private boolean shadowFresh;

  /** TF was set before the instruction that runs: it traps after it. */
  private boolean stepArmed;

  private long noticeRip;
  private boolean noticeBare;

  /** Type of the event that the delivery now running leads to, or -1. */
  private int followUp = -1;

  // ---- events ----

  private void deliver() {
    if (resuming && pendingType != EventDelivery.TASK_LOAD) {
      // Whatever comes before the instruction shows RF in its frame.
      HostMemory.putLong(
          state + StateLayout.RFLAGS, HostMemory.getLong(state + StateLayout.RFLAGS) | Flags.RF);
      resuming = false;
    }
    delivery.deliver(pendingVector, pendingType, pendingHasErrorCode, pendingErrorCode);
    pendingVector = -1;
    instructionDone();
    shadow = false;
    stepArmed = false;
    forget(ATTENTION_SHADOW | ATTENTION_ONCE);
    resumeFresh = false;
    if (followUp >= 0) {
      setPending(followUp == EventDelivery.TRAP ? Vector.DB : 0, followUp, false, 0);
      followUp = -1;
    }
  }

  /** Has a new task's segments loaded before anything else happens in it. */
  void queueTaskLoad() {
    if (pendingVector < 0) {
      setPending(0, EventDelivery.TASK_LOAD, false, 0);
    } else {
      followUp = EventDelivery.TASK_LOAD;
    }
  }

  /** A #DB right after the delivery that runs: the new task's trap bit. */
  void queueTaskTrap() {
    followUp = EventDelivery.TRAP;
  }

  /** Leaves for a task switch's new CR3. No instruction says it: its bytes are not captured. */
  void noticeOfTask(final long rip, final long cr3) {
    notice(VcpuExit.CR, 3, cr3);
    noticeRip = rip;
    noticeBare = true;
  }

  CallGates gates() {
    return gates;
  }

  TaskSwitch tasks() {
    return tasks;
  }

  private static int exceptionClass(final int vector) {
    return switch (vector) {
      case Vector.DE, Vector.TS, Vector.NP, Vector.SS, Vector.GP -> CLASS_CONTRIBUTORY;
      case Vector.PF -> CLASS_PAGE_FAULT;
      default -> CLASS_BENIGN;
    };
  }

  /**
   * Makes an exception the next event, by the rules for one met while delivering another (SDM Vol.
   * 3A, table 6-5).
   */
  private void queueException(final int vector, final boolean hasErrorCode, final int errorCode) {
    if (pendingVector >= 0) {
      if (pendingType == EventDelivery.EXCEPTION) {
        final int first = exceptionClass(pendingVector);
        final int second = exceptionClass(vector);
        if (pendingVector == Vector.DF) {
          tripleFault = true;
          return;
        }
        if (first == CLASS_CONTRIBUTORY && second == CLASS_CONTRIBUTORY
            || first == CLASS_PAGE_FAULT && second != CLASS_BENIGN) {
          setPending(Vector.DF, EventDelivery.EXCEPTION, true, 0);
          return;
        }
      } else if (pendingType == EventDelivery.EXTERNAL && pendingVector != Vector.NMI) {
        deferredInterrupt = pendingVector;
        attend(ATTENTION_DEFERRED);
      }
    }
    setPending(vector, EventDelivery.EXCEPTION, hasErrorCode, errorCode);
  }

  private void queueTrap(final int vector) {
    if (pendingVector < 0) {
      setPending(vector, EventDelivery.TRAP, false, 0);
    }
  }

  /** Delivers INT n, INT3, INTO, INT1 as part of the instruction that runs. */
  void softwareInterrupt(final int vector, final int type) {
    delivery.deliver(vector, type, false, 0);
    if (stepArmed) {
      stepArmed = false;
    }
  }

  /** Starts the shadow of MOV SS and POP SS, which holds the single-step trap off too. */
  void startStackShadow() {
    startShadow();
    stepArmed = false;
  }

  /** Starts the one-instruction shadow of STI. */
  void startShadow() {
    shadow = true;
    shadowFresh = needsSingleStep();
    attend(ATTENTION_SHADOW);
  }

  /** IRET ends the blocking of NMIs. */
  void unblockNmi() {
    nmiBlocked = false;
  }

  @Override
  protected void systemFlagsChanged() {
    if ((systemFlags() & Flags.TF) != 0) {
      attend(ATTENTION_STEP);
    } else if (((int) ATTENTION.getOpaque(this) & ATTENTION_STEP) != 0) {
      forget(ATTENTION_STEP);
    }
    contextChanged();
  }

  @Override
  public void repeatBoundary() {
    final int bits = (int) ATTENTION.getOpaque(this);
    if (bits != 0) {
      instructionDone();
      forget(ATTENTION_ONCE);
      if ((bits & (ATTENTION_KICK | ATTENTION_STEP)) != 0 || emulating) {
        throw Unwind.REPEAT;
      }
    }
  }

  /** Leaves after the running terminator: its effect stands already. */
  void notice(final int reason, final long address, final long value) {
    noticeReason = reason;
    noticeRip = HostMemory.getLong(state + StateLayout.BLOCK_RIP) + runningOffset;
    describe(address, 8, reason == VcpuExit.CR, value);
    attend(ATTENTION_NOTICE);
  }

  /** Offset in its block of the terminator that gives notice; set by {@link SystemOp}. */
  int runningOffset;

  @Override
  public void checkPort(final int port, final int size) {
    if (breakpoints.areArmed()) {
      breakpoints.port(port, size);
    }
    if (!isProtected() || cpl() <= iopl() && !isVm86()) {
      return;
    }
    delivery.checkIoBitmap(port, size);
  }

  // ---- breakpoints ----

  /** After DR0 to DR3, DR7 or CR4.DE may have changed. */
  void debugChanged() {
    breakpoints.update(state);
    if (breakpoints.areArmed()) {
      attend(ATTENTION_BREAKPOINTS);
    } else {
      forget(ATTENTION_BREAKPOINTS);
      resuming = false;
    }
    contextChanged();
  }

  /** RF of an image that IRET or a task switch loads: the next instruction meets no breakpoint. */
  void resume(final long image) {
    resuming = (image & Flags.RF) != 0 && breakpoints.areArmed();
    resumeFresh = resuming;
  }

  /** Raises #DB, a fault, where the instruction at rip has a breakpoint. */
  private void beforeInstruction() {
    breakpoints.hits = 0;
    if (resuming) {
      return;
    }
    final long rip = HostMemory.getLong(state + StateLayout.RIP);
    final int found =
        breakpoints.atInstruction(codeSize == 8 ? rip : codeBase + rip & 0xFFFF_FFFFL);
    if (found != 0) {
      debugStatus(found);
      throw raise(Vector.DB);
    }
  }

  private void afterInstruction() {
    if (!resumeFresh) {
      resuming = false;
    }
    resumeFresh = false;
    if (breakpoints.hits != 0) {
      debugStatus(breakpoints.hits);
      breakpoints.hits = 0;
      queueTrap(Vector.DB);
    }
  }

  private void debugStatus(final int bits) {
    HostMemory.putLong(state + StateLayout.DR6, HostMemory.getLong(state + StateLayout.DR6) | bits);
  }

  /** #DB for a MOV of a debug register while DR7.GD is set, which that clears. */
  void checkDebugAccess() {
    final long dr7 = HostMemory.getLong(state + StateLayout.DR7);
    if ((dr7 & DR7_GENERAL_DETECT) != 0) {
      HostMemory.putLong(state + StateLayout.DR7, dr7 & ~DR7_GENERAL_DETECT);
      debugStatus(DR6_ACCESS);
      throw raise(Vector.DB);
    }
  }

  // ---- blocks ----

  private static int jumpIndex(final long host) {
    return (int) (host ^ host >>> 14) & JUMP_CACHE_SIZE - 1;
  }

  /**
   * The block at rip: a known successor of the last one, else from the jump cache, else found or
   * built. Host address and code size say all that a block depends on, so one comparison with
   * {@link Block#tag} is enough wherever the candidate comes from; that the address is mapped and
   * executable is seen in the TLB each time.
   */
  private Block lookup(final long rip, final Block last) {
    final long linear;
    if (codeSize == 8) {
      linear = rip;
    } else {
      if (rip > codeLimit - BlockBuilder.MAX_BYTES) {
        return lookupNearLimit(rip);
      }
      linear = codeBase + rip & 0xFFFF_FFFFL;
    }
    final long entry =
        tlb + (linear >>> 12 & StateLayout.TLB_ENTRIES - 1) * StateLayout.TLB_ENTRY_SIZE;
    if (HostMemory.getLong(entry + StateLayout.TLB_FETCH) == (linear & -4096L)) {
      final long host = linear + HostMemory.getLong(entry + StateLayout.TLB_ADDEND);
      final long tag = Block.tag(host, codeSize);
      if (last != null) {
        Block next = last.successor;
        if (next.tag == tag) {
          return next;
        }
        next = last.otherSuccessor;
        if (next.tag == tag) {
          return next;
        }
      }
      final int index = jumpIndex(host);
      Block next = jumpBlocks[index];
      if (next.tag != tag) {
        next = find(linear);
        jumpBlocks[index] = next;
      }
      if (last != null && last.isValid()) {
        last.otherSuccessor = last.successor;
        last.successor = next;
      }
      return next;
    }
    return find(linear);
  }

  /** Where a block may reach beyond the limit of CS, its instructions run one by one. */
  private Block lookupNearLimit(final long rip) {
    if (rip > codeLimit) {
      throw raise(Vector.GP, 0);
    }
    final Block block = find(codeBase + rip & 0xFFFF_FFFFL);
    if (rip + block.length - 1 > codeLimit) {
      final int first = block.offsets.length > 1 ? block.offsets[1] : block.length;
      if (rip + first - 1 > codeLimit) {
        throw raise(Vector.GP, 0);
      }
      if (!needsSingleStep()) {
        attend(ATTENTION_ONCE);
        throw Unwind.STALE;
      }
    }
    return block;
  }

  private Block find(final long linear) {
    final long host = fetchHost(linear);
    if (host == 0) {
      // Nothing answers on the bus: all ones, FF FF, is #UD.
      throw undefined();
    }
    final Block cached = code.find(host, codeSize);
    if (cached != null) {
      if (cached.crossHost == 0 || fetchHost(nextPage(linear)) == cached.crossHost) {
        return cached;
      }
      code.remove(cached);
    }
    final Block built = builder.build(linear, host, codeSize);
    if (built.isValid() && code.add(built)) {
      dropWriteMappings(host & -4096L);
      if (built.crossHost != 0) {
        dropWriteMappings(built.crossHost);
      }
    }
    return built;
  }

  long nextPage(final long linear) {
    final long next = (linear & -4096L) + 4096;
    return linear64() ? next : next & 0xFFFF_FFFFL;
  }

  // ---- control registers ----

  /** Brings CR0, CR3, CR4 or EFER into effect: mode caches and the TLB. */
  void controlChanged(final boolean flushAll) {
    if (flushAll) {
      flushAll();
    } else {
      flushNonGlobal();
    }
    if (breakpoints.areArmed()) {
      debugChanged();
    }
    modeChanged();
  }
}
