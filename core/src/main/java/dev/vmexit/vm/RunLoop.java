package dev.vmexit.vm;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitSink;
import dev.vmexit.irq.Irqchip;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.memory.MemoryMap;
import dev.vmexit.mmu.Fault;
import dev.vmexit.mmu.Mmu;
import dev.vmexit.mmu.PagingContext;
import dev.vmexit.mmu.ShadowMmu;
import dev.vmexit.vcpu.KernelEvents;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.TableWrites;
import dev.vmexit.vcpu.Vcpu;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Msr;
import dev.vmexit.x86.Vector;
import java.util.EnumSet;
import java.util.List;
import org.agrona.concurrent.NanoClock;

/**
 * The one door between a vCPU and the world: enters the guest, hands each exit to what must handle
 * it, records it, injects what waits, and enters again. Runs on the vCPU's thread until something
 * ends the run.
 *
 * <p>Where exits are recorded the host's clock is read when the guest was left, and when it is
 * entered again; else only where a device asks for the time, or a timer is set. Nothing here
 * allocates while the guest runs.
 */
public final class RunLoop implements PlatformEvents {
  private final int number;
  private final VcpuGroup group;
  private final Vcpu vcpu;
  private final VcpuExit exit;
  private final long state;
  private final Mmu mmu;

  /** The same MMU where it is a shadow MMU, else null. */
  private final ShadowMmu shadow;

  private final RunClock clock;
  private final dev.vmexit.device.TimerQueue timers;
  private PcPlatform platform;
  private final RecordedDma dma;
  private final MemoryControl memory;
  private Irqchip irqchip;
  private MachineMsrs msrs;
  private final ExitSink sink;

  /** What comes from outside, which the first vCPU takes; null for the others. */
  private final MachineInput input;

  private final RunTimes times;
  private final HaltWait wait = new HaltWait(HaltWait.FAR_NANOS);

  private final ExitEvent event = new ExitEvent();

  private final Fault fault = new Fault();
  private final LastExits lastExits = new LastExits();
  private final SideRecords beside;

  /** What the host's kernel did for the vCPU; null where nobody wants to know. */
  private final KernelEvents kernelEvents;

  private long exits;
  private boolean windowRequested;

  /** An application processor that has not been started, or was sent an INIT. */
  private boolean waitsForStartup;

  /** What a reset does; null where it ends the run. */
  private MachineReset onReset;

  /** Whether the group's lock is ours. */
  private boolean holding;

  RunLoop(
      final int number,
      final VcpuGroup group,
      final Vcpu vcpu,
      final Mmu mmu,
      final RunClock clock,
      final dev.vmexit.device.TimerQueue timers,
      final PcPlatform platform,
      final RecordedDma dma,
      final MemoryControl memory,
      final ExitSink sink,
      final CommandRing commands,
      final NanoClock hostClock) {
    this.number = number;
    this.group = group;
    this.vcpu = vcpu;
    this.exit = vcpu.exit();
    this.state = vcpu.state();
    this.mmu = mmu;
    this.shadow = mmu instanceof ShadowMmu s ? s : null;
    this.clock = clock;
    this.timers = timers;
    this.platform = platform;
    this.dma = dma;
    this.memory = memory;
    this.irqchip = platform.irqchip();
    this.msrs = new MachineMsrs(number, vcpu, irqchip, clock);
    this.sink = sink;
    this.times =
        new RunTimes(
            clock, hostClock, EnumSet.allOf(ExitKind.class).stream().anyMatch(sink::wants));
    this.beside = new SideRecords(number, vcpu, sink, lastExits);
    this.kernelEvents = sink.wants(ExitKind.KERNEL) ? vcpu.kernelEvents() : null;
    this.waitsForStartup = number > 0 && !platform.hasKernelIrqchip();
    group.onKick(number, vcpu::kick, wait::wake);
    if (number == 0) {
      input = new MachineInput(commands, platform, group, this::checkpoint);
      commands.onOffer(
          () -> {
            vcpu.kick();
            wait.wake();
          });
    } else {
      input = null;
    }
  }

  /**
   * Runs until the run ends; the sink stays open.
   *
   * @param start of the run, by the host's clock
   */
  void run(final long start) {
    event.vcpu = number;
    times.start(start);
    take();
    if (number == 0 && memory.state() != MemoryMap.PLAIN) {
      // A replay must know it from the first record on.
      beside.memoryMapped(memory.state());
    }
    try {
      rounds();
      beside.kernelEnds(kernelEvents);
    } finally {
      if (holding) {
        give();
      }
    }
  }

  private void rounds() {
    while (!group.hasEnded()) {
      serve();
      if (group.hasEnded()) {
        break;
      }
      if (number > 0 && !isStarted()) {
        rest();
        continue;
      }
      inject();
      callOthers();
      final long deadline = number == 0 ? timers.nextDeadline() : Long.MAX_VALUE;
      times.tellDeadline(vcpu, deadline);
      group.enters(deadline, number);
      final long limit = clock.retiredLimit(retired(), deadline);
      give();
      int reason = vcpu.enter(limit);
      group.left(number);
      times.left();
      take();
      times.leftTold();
      if (kernelEvents != null) {
        beside.kernel(kernelEvents, times.started());
      }
      while (reason >= 0) {
        reason = handle(reason);
      }
      if (onReset != null && onReset.isWanted()) {
        restart();
      }
      times.entering();
    }
  }

  private void take() {
    group.lock();
    holding = true;
    // What a device writes to memory stands among the records of the vCPU that had it do so.
    beside.at(times.runTime());
    dma.tell(beside);
  }

  private void give() {
    holding = false;
    group.unlock();
  }

  /** Has a reset start the machine again; before the run. */
  void onReset(final MachineReset action) {
    onReset = action;
  }

  /** Starts the machine again: all devices are new, and the vCPU is where it began. */
  private void restart() {
    platform = onReset.restart(clock.nanos(), beside);
    irqchip = platform.irqchip();
    msrs = new MachineMsrs(number, vcpu, irqchip, clock);
    irqchip.tscOffset(number, HostMemory.getLong(state + StateLayout.TSC_OFFSET));
    input.platform(platform);
    windowRequested = false;
    beside.memoryMapped(memory.state());
  }

  /** Waits a moment, in which others may work, until the next timer at most. */
  private void rest() {
    final long deadline = number == 0 ? timers.nextDeadline() : Long.MAX_VALUE;
    final long nanos = deadline == Long.MAX_VALUE ? HaltWait.FAR_NANOS : deadline - clock.nanos();
    group.rests(number, true);
    give();
    wait.await(nanos);
    take();
    group.rests(number, false);
  }

  /** What is due before an entry, and while halted. */
  private void serve() {
    if (input != null) {
      input.drain();
    }
    if (number == 0 && timers.nextDeadline() != Long.MAX_VALUE) {
      timers.run(clock.nanos());
    }
  }

  /** Calls those out of the guest whom this one has sent something, or set a timer for. */
  private void callOthers() {
    group.callOthers(number, irqchip, timers.nextDeadline());
  }

  // ---- application processors ----

  /** Looks for INIT and start-up IPIs (SDM Vol. 3A, 9.4.4); whether there is a guest to enter. */
  private boolean isStarted() {
    if (irqchip.takeInit(number)) {
      waitsForStartup = true;
      irqchip.reset(number);
    }
    final int vector = irqchip.takeStartup(number);
    if (waitsForStartup && vector >= 0) {
      waitsForStartup = false;
      wait.reset();
      times.entering();
      StartupState.apply(state, vector);
      vcpu.stateChanged();
      contextChanged();
    }
    if (group.sleeps(number, waitsForStartup)) {
      end(RunEnd.HALTED);
    }
    return !waitsForStartup;
  }

  List<String> lastExits() {
    return lastExits.lines();
  }

  long retired() {
    return HostMemory.getLong(state + StateLayout.RETIRED);
  }

  long exits() {
    return exits + beside.count();
  }

  private void end(final RunEnd reason) {
    group.end(reason, number);
  }

  // ---- injection ----

  private void inject() {
    if (irqchip.nmiPending(number) && vcpu.nmiInjectable()) {
      irqchip.acceptNmi(number);
      beside.injection(Vector.NMI, ExitEvent.INJECT_NMI, -1, false, 0);
      vcpu.injectNmi();
      return;
    }
    if (irqchip.interruptPending(number)) {
      if (vcpu.interruptible()) {
        final int vector = irqchip.acknowledge(number);
        if (vector >= 0) {
          final long requested = irqchip.requestTime(number, vector);
          final long waited = requested < 0 ? -1 : Math.max(0, clock.nanos() - requested);
          beside.injection(vector, ExitEvent.INJECT_INTERRUPT, waited, false, 0);
          vcpu.injectInterrupt(vector);
        }
      } else if (!windowRequested) {
        windowRequested = true;
        vcpu.requestInterruptWindow(true);
      }
    } else if (windowRequested) {
      windowRequested = false;
      vcpu.requestInterruptWindow(false);
    }
  }

  // ---- the record ----

  private void header(final ExitEvent e, final ExitKind kind) {
    e.kind = kind;
    times.tell(e);
    e.rip = exit.rip;
    RecordedState.fill(e, vcpu, state);
  }

  /** Fills the record's state as it stands at the exit, before the handler changes any of it. */
  private void begin(final ExitKind kind) {
    exits++;
    final ExitEvent e = event;
    e.clearPayload();
    if (sink.wants(kind)) {
      header(e, kind);
      RecordedState.instruction(e, exit);
    } else {
      LastExits.brief(e, kind, exit.rip, retired());
    }
    times.guestTimeTold();
    RecordedState.payload(e, exit);
  }

  private void finish() {
    lastExits.add(event);
    if (sink.wants(event.kind)) {
      event.handlerTime = times.sinceLeft();
      sink.write(event);
    }
  }

  /** What a replay can start at; between two exits, or while one waits for an interrupt. */
  private void checkpoint() {
    beside.checkpoint(irqchip, shadow);
    if (number == 0 && memory.state() != MemoryMap.PLAIN) {
      beside.memoryMapped(memory.state());
    }
  }

  // ---- handlers ----

  /** Handles one exit; the reason of another one that it led to without an entry, or -1. */
  private int handle(final int reason) {
    switch (reason) {
      case VcpuExit.LIMIT, VcpuExit.EMULATED -> {}
      case VcpuExit.PIO -> port();
      case VcpuExit.MMIO -> mmio();
      case VcpuExit.PAGE_FAULT -> {
        return pageFault();
      }
      case VcpuExit.CR -> control();
      case VcpuExit.MSR -> msr();
      case VcpuExit.CPUID -> cpuid();
      case VcpuExit.HLT -> halt();
      case VcpuExit.INVLPG -> {
        begin(ExitKind.INVLPG);
        if (shadow != null) {
          shadow.invalidatePage(exit.address);
        }
        finish();
      }
      case VcpuExit.TSC, VcpuExit.RANDOM -> {
        begin(ExitKind.TSC);
        clock.deviceExit();
        exit.value =
            reason == VcpuExit.RANDOM
                ? clock.random()
                : clock.nanos() + HostMemory.getLong(state + StateLayout.TSC_OFFSET);
        event.value = exit.value;
        finish();
      }
      case VcpuExit.IRQ_WINDOW -> {
        begin(ExitKind.IRQ_WINDOW);
        windowRequested = false;
        vcpu.requestInterruptWindow(false);
        finish();
      }
      case VcpuExit.KICK -> {
        begin(ExitKind.KICK);
        finish();
      }
      case VcpuExit.SHUTDOWN -> shutdown(ExitEvent.SHUTDOWN_TRIPLE_FAULT, RunEnd.TRIPLE_FAULT);
      case VcpuExit.FINISHED, VcpuExit.DEBUG -> {
        begin(ExitKind.DEBUG);
        event.detail =
            reason == VcpuExit.FINISHED ? ExitEvent.DEBUG_FINISHED : ExitEvent.DEBUG_EVENT;
        finish();
      }
      case VcpuExit.HOST_FAULT -> {
        begin(ExitKind.PAGE_FAULT);
        RecordedState.hostFault(event, (int) exit.address);
        finish();
      }
      case VcpuExit.SYSTEM_EVENT -> {
        group.detail("system event " + exit.address + " of KVM");
        shutdown(ExitEvent.SHUTDOWN_RESET, RunEnd.RESET);
      }
      case VcpuExit.FAILED -> {
        group.detail(vcpu.failure());
        shutdown(ExitEvent.SHUTDOWN_FAILED, RunEnd.VCPU_FAILED);
      }
      default -> throw new IllegalStateException("exit reason " + reason);
    }
    return -1;
  }

  private void port() {
    begin(ExitKind.PIO);
    clock.deviceExit();
    if (exit.count > 1) {
      portString();
    } else if (exit.write) {
      platform.ports().write((int) exit.address, exit.size, (int) exit.value);
    } else {
      exit.value =
          platform.ports().read((int) exit.address, exit.size)
              & (exit.size == 4 ? 0xFFFF_FFFFL : (1L << exit.size * 8) - 1);
      event.value = exit.value;
    }
    finish();
  }

  /** Several elements of INS or OUTS at once; the device sees them one after another. */
  private void portString() {
    if (exit.write) {
      platform.ports().writeString((int) exit.address, exit.size, exit.count, exit.data);
    } else {
      platform.ports().readString((int) exit.address, exit.size, exit.count, exit.data);
    }
    RecordedState.elements(event, exit);
  }

  private void mmio() {
    begin(ExitKind.MMIO);
    clock.deviceExit();
    irqchip.select(number);
    if (exit.write) {
      platform.memory().write(exit.address, exit.size, exit.value);
      HostMemory.putLong(state + StateLayout.CR8, irqchip.cr8(number));
    } else {
      exit.value = platform.memory().read(exit.address, exit.size);
      event.value = exit.value;
    }
    finish();
  }

  private int pageFault() {
    begin(ExitKind.PAGE_FAULT);
    final long gva = exit.address;
    final int outcome = shadow.handleFault(gva, exit.errorCode, fault);
    RecordedState.fault(event, exit.errorCode, fault);
    int next = -1;
    switch (outcome) {
      case Fault.REFLECTED -> {
        finish();
        HostMemory.putLong(state + StateLayout.CR2, gva);
        beside.injection(Vector.PF, ExitEvent.INJECT_EXCEPTION, -1, true, fault.errorCode);
        vcpu.injectException(Vector.PF, true, fault.errorCode);
        return -1;
      }
      case Fault.TABLE_WRITE -> {
        next = vcpu.emulate(gva, fault.gpa);
        final TableWrites writes = vcpu.tableWrites();
        for (int i = 0; i < writes.count(); i++) {
          shadow.tableWritten(writes.gpa(i), writes.size(i), writes.value(i));
        }
        RecordedState.tableWrites(event, writes);
        if (next == VcpuExit.EMULATED) {
          next = -1;
        }
      }
      default -> {}
    }
    finish();
    return next;
  }

  private void control() {
    begin(ExitKind.CR);
    final int register = (int) exit.address;
    if (register == 8) {
      irqchip.cr8(number, (int) exit.value);
    } else if (contextChanged()) {
      RecordedState.pdptes(event, mmu.context());
    } else {
      // A reserved bit in a PDPTE: the write is undone, though rip is past it already.
      final PagingContext kept = mmu.context();
      final long flags = vcpu.rflags();
      HostMemory.putLong(state + StateLayout.CR0, kept.cr0());
      HostMemory.putLong(state + StateLayout.CR3, kept.cr3());
      HostMemory.putLong(state + StateLayout.CR4, kept.cr4());
      HostMemory.putLong(state + StateLayout.RFLAGS, flags);
      vcpu.stateChanged();
      vcpu.injectException(Vector.GP, true, 0);
    }
    finish();
  }

  private boolean contextChanged() {
    return mmu.setContext(
        HostMemory.getLong(state + StateLayout.CR0),
        HostMemory.getLong(state + StateLayout.CR3),
        HostMemory.getLong(state + StateLayout.CR4),
        HostMemory.getLong(state + StateLayout.EFER));
  }

  private void msr() {
    begin(ExitKind.MSR);
    final int index = (int) exit.address;
    exit.refused = !(exit.write ? msrs.write(index, exit.value) : msrs.read(index, exit));
    if (index == Msr.EFER && exit.write && !exit.refused) {
      exit.refused = !contextChanged();
    }
    event.value = exit.value;
    event.detail = exit.refused ? 1 : 0;
    finish();
  }

  private void cpuid() {
    begin(ExitKind.CPUID);
    vcpu.cpuid((int) exit.address, (int) exit.value, exit.cpuid);
    System.arraycopy(exit.cpuid, 0, event.cpuid, 0, 4);
    finish();
  }

  private void halt() {
    begin(ExitKind.HLT);
    event.detail = (vcpu.rflags() & Flags.IF) != 0 ? 1 : 0;
    final boolean interruptible = event.detail != 0 || vcpu.wakesForMasked();
    while (!group.hasEnded()) {
      serve();
      callOthers();
      if (irqchip.nmiPending(number)
          || interruptible && irqchip.interruptPending(number)
          || vcpu.wakesForStore()
          || number > 0 && irqchip.messagePending(number)) {
        break;
      }
      if (!interruptible && group.sleeps(number, true)) {
        end(RunEnd.HALTED);
      } else if (!clock.skipTo(timers.nextDeadline())) {
        group.watchTimers(timers.nextDeadline(), number);
        rest();
      }
    }
    group.sleeps(number, false);
    times.forgetDeadline();
    wait.reset();
    // The time in the handler of a HLT is the time that the guest slept.
    finish();
  }

  private void shutdown(final int detail, final RunEnd reason) {
    begin(ExitKind.SHUTDOWN);
    event.detail = detail;
    finish();
    if (onReset != null && detail == ExitEvent.SHUTDOWN_TRIPLE_FAULT) {
      onReset.wantAfterShutdown();
    } else {
      end(reason);
    }
  }

  // ---- what the devices ask; the access that asked is recorded when it is done ----

  @Override
  public void powerOff() {
    end(RunEnd.POWER_OFF);
  }

  @Override
  public void reset(final String source) {
    if (onReset == null) {
      group.detail(source);
      end(RunEnd.RESET);
    } else {
      onReset.want(source);
    }
  }

  @Override
  public void debugExit(final int status) {
    group.status(status);
    end(RunEnd.DEBUG_EXIT);
  }

  @Override
  public void memoryMapped(final long map) {
    memory.map(map);
    beside.memoryMapped(map);
  }
}
