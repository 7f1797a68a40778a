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

/**
 * A processor in software, tier 0: an interpreter over cached blocks of bound instructions.
 *
 * <p>It behaves as hardware virtualization does: it runs guest code and leaves where a VMM has work
 * to do (see {@link VcpuExit}). Between two blocks it looks at one word, {@link Attention}; all
 * that is rare (a kick, an interrupt window, the shadow of STI, single-stepping) sets a bit there.
 */
public final class SoftVcpu extends SegmentedCpu implements Vcpu {
  private final CpuModel model;

  /** What asks for attention between two blocks. */
  final Attention attention = new Attention();

  private final BlockLookup blocks = new BlockLookup(this);
  private final TaskSwitch tasks = new TaskSwitch(this);
  private final CallGates gates = new CallGates(this, tasks);
  private final EventDelivery delivery = new EventDelivery(this);
  private final PendingEvent pending = new PendingEvent(delivery, attention);
  private final DebugTraps debugTraps = new DebugTraps(this);
  private final Monitor monitor = new Monitor(memory);
  private final Msrs msrs = new Msrs(this);
  private final WriteListener writeListener = this::memoryWritten;

  private int noticeReason;
  private boolean emulating;
  private boolean windowWanted;
  private boolean shadow;
  private boolean nmiBlocked;

  private boolean closed;

  /** Makes a processor in its reset state (SDM Vol. 3A, 9.1.1). */
  public SoftVcpu(final GuestMemory memory, final Translation translation, final CpuModel model) {
    super(HostMemory.allocate(StateLayout.SIZE), memory, translation);
    this.model = model;
    memory.addWriteListener(writeListener);
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
    pending.reset();
    monitor.reset();
    debugTraps.afterDelivery();
    noticeBare = false;
    windowWanted = false;
    shadow = false;
    shadowFresh = false;
    stepArmed = false;
    nmiBlocked = false;
    attention.clear(~Attention.KICK);
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
      attention.set(Attention.ONCE);
    }
    return loop(retiredLimit);
  }

  @Override
  public int emulate(final long gva, final long gpa) {
    completeRequest();
    permitWrite(gva, gpa);
    tableWrites.clear();
    emulating = true;
    attention.set(Attention.ONCE);
    final int reason = loop(Long.MAX_VALUE);
    emulating = false;
    return reason;
  }

  @Override
  public boolean interruptible() {
    // One that was deferred goes first.
    return takesInterrupt() && !attention.has(Attention.DEFERRED);
  }

  private boolean takesInterrupt() {
    return (systemFlags() & Flags.IF) != 0
        && !shadow
        && !pending.isPending()
        && !instructionPending();
  }

  @Override
  public boolean nmiInjectable() {
    return !nmiBlocked && !shadow && !pending.isPending() && !instructionPending();
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
    pending.set(vector, EventDelivery.EXTERNAL, false, 0);
  }

  @Override
  public void injectNmi() {
    nmiBlocked = true;
    pending.set(Vector.NMI, EventDelivery.EXTERNAL, false, 0);
  }

  @Override
  public void injectException(final int vector, final boolean hasErrorCode, final int errorCode) {
    pending.exception(vector, hasErrorCode, errorCode);
  }

  @Override
  public void requestInterruptWindow(final boolean wanted) {
    windowWanted = wanted;
    if (wanted) {
      attention.set(Attention.WINDOW);
    } else {
      attention.clear(Attention.WINDOW);
    }
  }

  @Override
  public void kick() {
    attention.set(Attention.KICK);
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
    keysChanged();
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
    if (pending.isTripleFault()) {
      return leave(VcpuExit.SHUTDOWN);
    }
    Block block = null;
    int i = 0;
    while (true) {
      try {
        while (true) {
          int budget = Integer.MAX_VALUE;
          if (attention.bits() != 0) {
            final int reason = answerAttention(block);
            if (reason >= 0) {
              return reason;
            }
          }
          final Block previous = block;
          block = null;
          i = 0;
          if (pending.isPending()) {
            deliver();
            if (emulating) {
              return leave(VcpuExit.EMULATED);
            }
            if (pending.isPending()) {
              continue;
            }
          }
          if (attention.has(Attention.ALONE)) {
            debugTraps.beforeInstruction();
            budget = 1;
            stepArmed = (systemFlags() & Flags.TF) != 0;
          }
          final long rip = HostMemory.getLong(s + StateLayout.RIP);
          block = blocks.lookup(rip, previous);
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
        pending.exception(faultVector(), faultHasErrorCode(), faultErrorCode());
        if (pending.isTripleFault()) {
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

  /** Deals with what asks for attention; a reason to leave, or -1. */
  private int answerAttention(final Block lastBlock) {
    final int bits = attention.bits();
    if ((bits & Attention.NOTICE) != 0) {
      attention.clear(Attention.NOTICE);
      exit.reason = noticeReason;
      exit.rip = noticeRip;
      capture(noticeBare ? null : lastBlock, lastBlock == null ? 0 : lastBlock.offsets.length - 1);
      noticeBare = false;
      return noticeReason;
    }
    if ((bits & Attention.KICK) != 0 && !emulating) {
      attention.clear(Attention.KICK);
      return leave(VcpuExit.KICK);
    }
    if ((bits & Attention.DEFERRED) != 0 && takesInterrupt() && !emulating) {
      attention.clear(Attention.DEFERRED);
      pending.takeDeferred();
    }
    if ((bits & Attention.WINDOW) != 0 && interruptible() && !emulating) {
      return leave(VcpuExit.IRQ_WINDOW);
    }
    return -1;
  }

  /** After one instruction that ran alone; true where {@link #emulate} is complete. */
  private boolean stepped() {
    final int bits = attention.bits();
    instructionDone();
    if (debugTraps.afterInstruction()) {
      pending.trap(Vector.DB);
    }
    if ((bits & Attention.ONCE) != 0) {
      attention.clear(Attention.ONCE);
    }
    if (shadowFresh) {
      shadowFresh = false;
    } else if (shadow) {
      shadow = false;
      attention.clear(Attention.SHADOW);
    }
    if (stepArmed) {
      singleStepTrap();
    }
    return emulating;
  }

  private void singleStepTrap() {
    debugTraps.stepped();
    pending.trap(Vector.DB);
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

  // ---- events ----

  private void deliver() {
    if (!pending.isTaskLoad()) {
      debugTraps.beforeDelivery();
    }
    pending.deliver();
    instructionDone();
    shadow = false;
    stepArmed = false;
    attention.clear(Attention.SHADOW | Attention.ONCE);
    debugTraps.afterDelivery();
    pending.followUp();
  }

  /** Leaves for a task switch's new CR3. No instruction says it: its bytes are not captured. */
  void noticeOfTask(final long rip, final long cr3) {
    notice(VcpuExit.CR, 3, cr3);
    noticeRip = rip;
    noticeBare = true;
  }

  Monitor monitor() {
    return monitor;
  }

  @Override
  public boolean wakesForMasked() {
    return monitor.wakesForMasked();
  }

  @Override
  public boolean wakesForStore() {
    return monitor.wakesForStore();
  }

  PendingEvent pending() {
    return pending;
  }

  DebugTraps debugTraps() {
    return debugTraps;
  }

  CallGates gates() {
    return gates;
  }

  TaskSwitch tasks() {
    return tasks;
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
    shadowFresh = attention.has(Attention.ALONE);
    attention.set(Attention.SHADOW);
  }

  /** IRET ends the blocking of NMIs. */
  void unblockNmi() {
    nmiBlocked = false;
  }

  @Override
  protected void systemFlagsChanged() {
    if ((systemFlags() & Flags.TF) != 0) {
      attention.set(Attention.STEP);
    } else if (attention.has(Attention.STEP)) {
      attention.clear(Attention.STEP);
    }
    contextChanged();
  }

  @Override
  public void repeatBoundary() {
    final int bits = attention.bits();
    if (bits != 0) {
      instructionDone();
      attention.clear(Attention.ONCE);
      if ((bits & (Attention.KICK | Attention.STEP)) != 0 || emulating) {
        throw Unwind.REPEAT;
      }
    }
  }

  /** Leaves after the running terminator: its effect stands already. */
  void notice(final int reason, final long address, final long value) {
    noticeReason = reason;
    noticeRip = HostMemory.getLong(state + StateLayout.BLOCK_RIP) + runningOffset;
    describe(address, 8, reason == VcpuExit.CR, value);
    attention.set(Attention.NOTICE);
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

  /** After DR0 to DR3, DR7 or CR4.DE may have changed. */
  void debugChanged() {
    debugTraps.changed();
    contextChanged();
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
    keysChanged();
    modeChanged();
  }
}
