package dev.vmexit.vcpu.kvm;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.mmu.Mmu;
import dev.vmexit.vcpu.KernelEvents;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.TableWrites;
import dev.vmexit.vcpu.Vcpu;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Msr;
import java.lang.foreign.MemorySegment;

/**
 * A processor of {@code /dev/kvm}: the descriptor of one vCPU and the page that it shares with KVM.
 *
 * <p>What KVM does itself never exits: page faults, control registers, CPUID, the TSC. An
 * instruction that KVM's emulator does not know is executed here, by the interpreter that works on
 * the same state block, and the exit says so ({@link VcpuExit#FINISHED}). Instructions are not
 * counted: {@link StateLayout#RETIRED} stays 0, and a deadline is a timer's signal.
 *
 * <p>Belongs to the thread that enters first; {@link #kick} may be called from any.
 */
public final class KvmVcpu implements Vcpu {
  private static final int OWES_NOTHING = 0;
  private static final int OWES_ITEMS = 1;
  private static final int OWES_MMIO_READ = 2;
  private static final int OWES_MSR = 3;
  private static final int OWES_INTERPRETER = 4;

  private static final long APIC_BASE = 0xFEE0_0800L;
  private static final long APIC_BASE_BSP = 1 << 8;

  private final MemorySegment errno = Libc.errnoState();
  private final int fd;

  /** The mapping of kvm_run and what follows it, until {@link #release}. */
  private final long run;

  private final int runSize;
  private final GuestMemory memory;
  private final Vcpu interpreter;
  private final Mmu mmu;
  private final long state;
  private final VcpuExit exit;

  /** The interrupt controllers are the kernel's: it injects, and knows the task priority. */
  private boolean kernelIrqchip;

  /** Tells of the host's page faults on guest memory; null where nobody asked for that. */
  private PageFaultWatch watch;

  private FaultQueue faults;

  /** KVM's own tracepoints; null where nobody asked for them. */
  private KernelTrace kernelTrace;

  private KvmDirtyRing dirtyRing;

  private KvmRegisters registers;
  private InstructionLocator locator;
  private InstructionFinisher finisher;
  private KvmCpuid cpuid;
  private TscClock tsc;
  private MsrExit msrs;

  private final RunCall runCall;
  private final PortExit ports;

  private int owes;

  /** KVM has an instruction to complete at the next entry: nothing can be injected before it. */
  private boolean pending;

  /** The last KVM_RUN's outcome is still to be told: page faults or a change of CR8 went first. */
  private boolean deferred;

  /** What the last KVM_RUN answered: 0 or -errno. */
  private int lastResult;

  private boolean stateChanged;
  private boolean windowWanted;
  private boolean canInject;
  private long knownCr8;
  private boolean closed;
  private String failure = "";

  KvmVcpu(
      final int fd,
      final long run,
      final int runSize,
      final GuestMemory memory,
      final Vcpu interpreter,
      final Mmu mmu) {
    this.fd = fd;
    this.run = run;
    this.runSize = runSize;
    this.memory = memory;
    this.interpreter = interpreter;
    this.mmu = mmu;
    this.state = interpreter.state();
    this.exit = interpreter.exit();
    this.ports = new PortExit(run);
    this.runCall = new RunCall(errno, fd, run);
  }

  /** The part of the construction that can fail. */
  void setUp(final int id, final KvmVm vm) {
    final boolean sync = KvmRegisters.isSyncOffered(vm.checkExtension(KvmApi.CAP_SYNC_REGS));
    registers =
        new KvmRegisters(
            errno,
            fd,
            run,
            state,
            sync,
            vm.checkExtension(KvmApi.CAP_XCRS) != 0,
            id == 0 ? APIC_BASE | APIC_BASE_BSP : APIC_BASE);
    dirtyRing = vm.dirtyRing(fd, memory);
    locator = new InstructionLocator(memory, state);
    finisher = new InstructionFinisher(registers, locator, interpreter, mmu);
    final int tscKilohertz = vm.tscKilohertz(fd);
    tsc = new TscClock(tscKilohertz);
    msrs = new MsrExit(run, tsc);
    kernelIrqchip = vm.hasKernelIrqchip();
    cpuid = vm.supportedCpuid().forVcpu(id, tscKilohertz, vm.localApicFeatures());
    cpuid.install(errno, fd);
    registers.setMsr(Msr.TSC, 0);
    // Where the kernel starts the others, it also says from what state.
    stateChanged = !kernelIrqchip || id == 0;
  }

  private void call(final String name, final long request, final long argument) {
    final int result = Libc.ioctl(errno, fd, request, argument);
    if (result < 0) {
      throw Libc.failure(name, -result);
    }
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
  public int enter(final long retiredLimit) {
    if (!runCall.isBound()) {
      bind();
    }
    final int next = completeOwed();
    if (next >= 0) {
      return next;
    }
    if (deferred) {
      deferred = false;
      return left();
    }
    if (stateChanged) {
      stateChanged = false;
      if (kernelIrqchip) {
        HostMemory.putLong(state + StateLayout.CR8, HostMemory.getLong(run + KvmRun.CR8));
      }
      registers.storeAll();
    }
    if (tsc.isStale(runCall.machineNanos())) {
      tsc.set(runCall.machineNanos(), registers.getMsr(Msr.TSC));
    }
    while ((lastResult = runOnce()) == -Libc.EAGAIN) {
      // A vCPU that waits to be started answers so once, after that it may run.
      Thread.onSpinWait();
    }
    return left();
  }

  /** The calling thread is this vCPU's. */
  private void bind() {
    final VcpuSignal signal = runCall.bind();
    if (faults != null) {
      faults.bind(Libc.threadId(), signal);
    }
    if (kernelTrace != null) {
      kernelTrace.start(signal);
    }
  }

  /** Why the guest was left, after what is to be told first. */
  private int left() {
    if (faults != null) {
      final long fault = faults.take();
      if (fault != FaultQueue.NOTHING) {
        return hostFault(fault);
      }
    }
    if (lastResult == -Libc.EINTR) {
      return interrupted();
    }
    return lastResult == 0 ? afterExit() : failed(KvmFailure.run(-lastResult));
  }

  /** A page fault of the host's, which came before the exit that is still to be told. */
  private int hostFault(final long fault) {
    if (fault == FaultQueue.BROKEN) {
      return failed("page faults of guest memory cannot be served: " + watch.trouble());
    }
    deferred = true;
    leave(VcpuExit.HOST_FAULT);
    FaultQueue.tell(fault, exit);
    return VcpuExit.HOST_FAULT;
  }

  /** One KVM_RUN; 0 or -errno. */
  private int runOnce() {
    registers.beforeRun();
    final long r = run;
    final long cr8 = HostMemory.getLong(state + StateLayout.CR8);
    knownCr8 = cr8;
    HostMemory.putLong(r + KvmRun.CR8, cr8);
    HostMemory.putByte(r + KvmRun.REQUEST_INTERRUPT_WINDOW, windowWanted ? 1 : 0);
    final int result = runCall.run();
    if (result != -Libc.EAGAIN) {
      pending = false;
      registers.afterRun();
      HostMemory.putLong(state + StateLayout.CR8, HostMemory.getLong(r + KvmRun.CR8));
      canInject = HostMemory.getByte(r + KvmRun.READY_FOR_INTERRUPT_INJECTION) != 0;
    }
    return result;
  }

  private int interrupted() {
    return leave(runCall.takeKick() ? VcpuExit.KICK : VcpuExit.LIMIT);
  }

  private int afterExit() {
    final long cr8 = HostMemory.getLong(state + StateLayout.CR8);
    if (cr8 != knownCr8
        && !kernelIrqchip
        && HostMemory.getInt(run + KvmRun.EXIT_REASON) != KvmApi.EXIT_SET_TPR) {
      // Raised since the entry, without an exit of its own: the local APIC must hear of it first.
      knownCr8 = cr8;
      deferred = true;
      return taskPriority();
    }
    return translate();
  }

  private int taskPriority() {
    leave(VcpuExit.CR);
    exit.address = 8;
    exit.value = HostMemory.getLong(state + StateLayout.CR8);
    exit.size = 8;
    exit.write = true;
    return VcpuExit.CR;
  }

  private int failed(final String why) {
    failure = why;
    return leave(VcpuExit.FAILED);
  }

  @Override
  public String failure() {
    return failure;
  }

  private int leave(final int reason) {
    exit.clear(reason, HostMemory.getLong(state + StateLayout.RIP));
    return reason;
  }

  // ---- answers ----

  /** Hands over the answer to the last exit; another exit that it led to, or -1. */
  private int completeOwed() {
    final int owed = owes;
    owes = OWES_NOTHING;
    switch (owed) {
      case OWES_ITEMS -> {
        if (ports.answer(exit)) {
          return nextItem();
        }
      }
      case OWES_MMIO_READ -> MmioExit.answer(run, exit);
      case OWES_MSR -> msrs.answer(exit);
      case OWES_INTERPRETER -> {
        return interpreted(finisher.resume());
      }
      default -> {}
    }
    return -1;
  }

  // ---- exits ----

  /** Says in our terms what the shared page says; tests put in what no guest can bring about. */
  int translate() {
    final int reason = HostMemory.getInt(run + KvmRun.EXIT_REASON);
    return switch (reason) {
      case KvmApi.EXIT_IO -> portAccess();
      case KvmApi.EXIT_MMIO -> memoryAccess();
      case KvmApi.EXIT_HLT -> {
        leave(VcpuExit.HLT);
        locator.halt(GuestMode.codeSize(state), exit);
        yield VcpuExit.HLT;
      }
      case KvmApi.EXIT_IRQ_WINDOW_OPEN -> leave(VcpuExit.IRQ_WINDOW);
      case KvmApi.EXIT_SHUTDOWN -> leave(VcpuExit.SHUTDOWN);
      case KvmApi.EXIT_INTR -> interrupted();
      case KvmApi.EXIT_SET_TPR -> taskPriority();
      case KvmApi.EXIT_X86_RDMSR, KvmApi.EXIT_X86_WRMSR -> modelSpecificRegister();
      case KvmApi.EXIT_DEBUG -> {
        leave(VcpuExit.DEBUG);
        exit.address = HostMemory.getLong(run + KvmRun.DEBUG_PC);
        exit.value = HostMemory.getLong(run + KvmRun.DEBUG_DR6);
        yield VcpuExit.DEBUG;
      }
      case KvmApi.EXIT_SYSTEM_EVENT -> {
        leave(VcpuExit.SYSTEM_EVENT);
        exit.address = HostMemory.getInt(run + KvmRun.SYSTEM_EVENT_TYPE);
        yield VcpuExit.SYSTEM_EVENT;
      }
      case KvmApi.EXIT_DIRTY_RING_FULL -> {
        harvestDirtyRing();
        yield leave(VcpuExit.LIMIT);
      }
      case KvmApi.EXIT_INTERNAL_ERROR -> internalError();
      default -> failed(KvmFailure.exit(run));
    };
  }

  private int portAccess() {
    leave(VcpuExit.PIO);
    ports.tell(exit);
    locator.port(GuestMode.codeSize(state), exit);
    pending = !isBehind();
    return nextItem();
  }

  private int nextItem() {
    owes = ports.next(exit) ? OWES_ITEMS : OWES_NOTHING;
    return VcpuExit.PIO;
  }

  private int memoryAccess() {
    leave(VcpuExit.MMIO);
    if (MmioExit.tell(run, exit)) {
      owes = OWES_MMIO_READ;
    }
    registers.loadDataSegments();
    locator.memory(GuestMode.codeSize(state), exit);
    pending = !isBehind();
    return VcpuExit.MMIO;
  }

  /** Whether the instruction of the exit is through but for what it told the machine. */
  private boolean isBehind() {
    return exit.write
        && exit.instructionLength > 0
        && exit.rip + exit.instructionLength == HostMemory.getLong(state + StateLayout.RIP);
  }

  private int modelSpecificRegister() {
    leave(VcpuExit.MSR);
    msrs.tell(exit);
    pending = true;
    owes = OWES_MSR;
    locator.current(GuestMode.codeSize(state), exit);
    return VcpuExit.MSR;
  }

  private int internalError() {
    final int suberror = HostMemory.getInt(run + KvmRun.INTERNAL_SUBERROR);
    if (suberror != KvmApi.INTERNAL_ERROR_EMULATION) {
      return failed(KvmFailure.internal(run));
    }
    return interpreted(finisher.begin());
  }

  // ---- what KVM cannot do ----

  /** What the interpreter came to becomes the vCPU's state, or an exit. */
  private int interpreted(final int reason) {
    canInject = false;
    switch (reason) {
      case VcpuExit.PIO, VcpuExit.MMIO, VcpuExit.MSR, VcpuExit.CPUID, VcpuExit.TSC -> {
        // The instruction is not through: the interpreter goes on with the answer.
        owes = OWES_INTERPRETER;
        return reason;
      }
      case VcpuExit.SHUTDOWN -> {
        return reason;
      }
      default -> {}
    }
    stateChanged = true;
    return finisher.conclude(reason);
  }

  @Override
  public int emulate(final long gva, final long gpa) {
    throw new IllegalStateException("KVM makes no page-fault exits");
  }

  @Override
  public TableWrites tableWrites() {
    return interpreter.tableWrites();
  }

  // ---- injection ----

  private boolean betweenInstructions() {
    return !pending && !deferred && owes == OWES_NOTHING;
  }

  @Override
  public boolean interruptible() {
    return canInject && betweenInstructions();
  }

  @Override
  public boolean nmiInjectable() {
    return betweenInstructions() && KvmEvents.isNmiInjectable(registers.events());
  }

  @Override
  public int interruptState() {
    return ((HostMemory.getLong(state + StateLayout.RFLAGS) & Flags.IF) != 0
            ? ExitEvent.INTERRUPT_IF
            : 0)
        | KvmEvents.interruptState(registers.events())
        | (windowWanted ? ExitEvent.INTERRUPT_WINDOW : 0);
  }

  @Override
  public void injectInterrupt(final int vector) {
    canInject = false;
    // struct kvm_interrupt is one int; the state's scratch words are free between entries.
    HostMemory.putInt(state + StateLayout.SCRATCH, vector);
    // Safe: the state block outlives the call.
    call("KVM_INTERRUPT", KvmApi.INTERRUPT, state + StateLayout.SCRATCH);
  }

  @Override
  public void injectNmi() {
    HostMemory.putByte(registers.events() + KvmEvents.NMI_PENDING, 1);
    // Safe: a request without an argument.
    call("KVM_NMI", KvmApi.NMI, 0);
  }

  @Override
  public void injectException(final int vector, final boolean hasErrorCode, final int errorCode) {
    KvmEvents.putException(registers.events(), vector, hasErrorCode, errorCode);
    registers.eventsChanged();
  }

  @Override
  public void requestInterruptWindow(final boolean wanted) {
    windowWanted = wanted;
  }

  @Override
  public void deadline(final long newDeadline, final long now) {
    runCall.deadline(newDeadline, now);
  }

  @Override
  public void kick() {
    runCall.kick();
  }

  /** Calls the thread out of the guest, or out of its next entry, for nothing; for tests. */
  void call() {
    runCall.call();
  }

  /** Has this vCPU tell of its first touches and writes of guest memory; before the first entry. */
  public void watchFaults(final int number, final PageFaultWatch by) {
    watch = by;
    faults = by.queue(number);
  }

  /** Has this vCPU tell of KVM's own tracepoints; before the first entry. */
  public void traceKernel(final KernelTracepoints tracepoints) {
    traceKernel(new KernelTrace(tracepoints, KernelTrace.RING_BYTES));
  }

  void traceKernel(final KernelTrace trace) {
    kernelTrace = trace;
  }

  @Override
  public KernelEvents kernelEvents() {
    return kernelTrace;
  }

  /** Marks what this vCPU has written in the memory's dirty log; it does so when full, too. */
  public int harvestDirtyRing() {
    return dirtyRing.harvest();
  }

  // ---- debugging ----

  /**
   * Makes the vCPU leave with {@link VcpuExit#DEBUG}, on the instruction that is next.
   *
   * @param singleStep after each instruction
   * @param breakpoints before the instructions at these addresses, at most four
   */
  public void debug(final boolean singleStep, final long... breakpoints) {
    KvmDebug.set(errno, fd, singleStep, breakpoints);
  }

  /** Address of the page shared with KVM, for tests. */
  long runPage() {
    return run;
  }

  // ---- state ----

  @Override
  public int mode() {
    return GuestMode.bits(state);
  }

  @Override
  public long rflags() {
    return owes == OWES_INTERPRETER
        ? interpreter.rflags()
        : HostMemory.getLong(state + StateLayout.RFLAGS);
  }

  @Override
  public void cpuid(final int leaf, final int subleaf, final int[] out) {
    cpuid.query(leaf, subleaf, out);
  }

  @Override
  public boolean readMsr(final int index, final VcpuExit answer) {
    return owes == OWES_INTERPRETER && interpreter.readMsr(index, answer);
  }

  @Override
  public boolean writeMsr(final int index, final long value) {
    return owes == OWES_INTERPRETER && interpreter.writeMsr(index, value);
  }

  /** The processor's hypervisor sees to it; the interpreter's caches are empty between uses. */
  @Override
  public void memoryChanged() {}

  @Override
  public void stateChanged() {
    stateChanged = true;
  }

  /** Gives back what is this object's own, not the interpreter. */
  void release() {
    if (!closed) {
      closed = true;
      if (kernelTrace != null) {
        kernelTrace.close();
      }
      runCall.close();
      if (registers != null) {
        registers.close();
      }
      if (dirtyRing != null) {
        dirtyRing.close();
      }
      Libc.unmap(run, runSize);
      Libc.close(fd);
    }
  }

  @Override
  public void close() {
    if (!closed) {
      release();
      interpreter.close();
    }
  }
}
