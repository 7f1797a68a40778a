package dev.vmexit.vm;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitSink;
import dev.vmexit.irq.Irqchip;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.mmu.Fault;
import dev.vmexit.mmu.Mmu;
import dev.vmexit.mmu.PagingContext;
import dev.vmexit.mmu.ShadowMmu;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.TableWrites;
import dev.vmexit.vcpu.Vcpu;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Msr;
import dev.vmexit.x86.PageFaultError;
import dev.vmexit.x86.Vector;
import java.util.List;
import org.agrona.concurrent.IdleStrategy;
import org.agrona.concurrent.NanoClock;

/**
 * The one door between a vCPU and the world: enters the guest, hands each exit to what must handle
 * it, records it, injects what waits, and enters again. Runs on the vCPU's thread until something
 * ends the run.
 *
 * <p>The host's clock is read twice a round: when the guest was left and when it is entered again.
 * Nothing here allocates while the guest runs.
 */
public final class RunLoop implements PlatformEvents, RecordedDma.Listener {
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
  private final PcPlatform platform;
  private final RecordedDma dma;
  private final Irqchip irqchip;
  private final MachineMsrs msrs;
  private final ExitSink sink;

  /** What comes from outside, which the first vCPU takes; null for the others. */
  private final MachineInput input;

  private final NanoClock hostClock;
  private final IdleStrategy idle;

  private final ExitEvent event = new ExitEvent();

  /** Of its own, as a device may write to memory while another record is under way. */
  private final ExitEvent dmaEvent = new ExitEvent();

  private final Fault fault = new Fault();
  private final LastExits lastExits = new LastExits();
  private long started;
  private long entered;
  private long left;

  /** Since the last exit that was not a mere limit. */
  private long guestTime;

  private long exits;
  private boolean windowRequested;

  /** An application processor that has not been started, or was sent an INIT. */
  private boolean waitsForStartup;

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
    this.irqchip = platform.irqchip();
    this.msrs = new MachineMsrs(number, vcpu, irqchip, clock);
    this.sink = sink;
    this.hostClock = hostClock;
    this.idle = VcpuGroup.newIdle();
    this.waitsForStartup = number > 0 && !platform.hasKernelIrqchip();
    group.onKick(number, vcpu::kick);
    if (number == 0) {
      input = new MachineInput(commands, platform, group, this::checkpoint);
      commands.onOffer(vcpu::kick);
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
    started = start;
    entered = start;
    take();
    try {
      rounds();
    } finally {
      if (holding) {
        give();
      }
    }
  }

  private void rounds() {
    while (!group.hasEnded()) {
      final long now = serve();
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
      vcpu.deadline(deadline, now);
      group.watchTimers(deadline, number);
      final long limit = clock.retiredLimit(retired(), deadline);
      give();
      int reason = vcpu.enter(limit);
      left = hostClock.nanoTime();
      guestTime += left - entered;
      take();
      clock.advance(left);
      while (reason >= 0) {
        reason = handle(reason);
      }
      entered = hostClock.nanoTime();
      clock.advance(entered);
    }
  }

  private void take() {
    group.lock();
    holding = true;
    // What a device writes to memory stands among the records of the vCPU that had it do so.
    dma.tell(this);
  }

  private void give() {
    holding = false;
    group.unlock();
  }

  /** Waits a moment, in which others may work. */
  private void rest() {
    group.rests(number, true);
    give();
    idle.idle();
    take();
    group.rests(number, false);
  }

  /** What is due before an entry, and while halted; the machine's time. */
  private long serve() {
    if (input != null) {
      input.drain();
    }
    final long now = clock.nanos();
    if (number == 0 && now >= timers.nextDeadline()) {
      timers.run(now);
    }
    return now;
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
      idle.reset();
      entered = hostClock.nanoTime();
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
    return exits;
  }

  private void end(final RunEnd reason) {
    group.end(reason, number);
  }

  // ---- injection ----

  private void inject() {
    if (irqchip.nmiPending(number) && vcpu.nmiInjectable()) {
      irqchip.acceptNmi(number);
      recordInjection(Vector.NMI, ExitEvent.INJECT_NMI, -1, false, 0);
      vcpu.injectNmi();
      return;
    }
    if (irqchip.interruptPending(number)) {
      if (vcpu.interruptible()) {
        final int vector = irqchip.acknowledge(number);
        if (vector >= 0) {
          final long requested = irqchip.requestTime(number, vector);
          final long waited = requested < 0 ? -1 : Math.max(0, clock.nanos() - requested);
          recordInjection(vector, ExitEvent.INJECT_INTERRUPT, waited, false, 0);
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

  private void recordInjection(
      final int vector,
      final int type,
      final long waited,
      final boolean hasErrorCode,
      final int errorCode) {
    exits++;
    if (!sink.wants(ExitKind.INJECT)) {
      return;
    }
    event.clearPayload();
    header(event, ExitKind.INJECT);
    RecordedState.beside(event, state);
    event.address = vector;
    event.value = waited;
    event.detail = type;
    event.write = hasErrorCode;
    event.errorCode = errorCode;
    write(event);
  }

  // ---- the record ----

  private void header(final ExitEvent e, final ExitKind kind) {
    e.kind = kind;
    e.hostTime = left - started;
    e.guestTime = guestTime;
    e.rip = exit.rip;
    RecordedState.fill(e, vcpu, state);
  }

  /** Fills the record's state as it stands at the exit, before the handler changes any of it. */
  private void begin(final ExitKind kind) {
    exits++;
    final ExitEvent e = event;
    e.clearPayload();
    header(e, kind);
    guestTime = 0;
    e.instructionLength = exit.instructionLength;
    System.arraycopy(exit.instruction, 0, e.instruction, 0, exit.instructionLength);
    e.address = exit.address;
    e.value = exit.value;
    e.size = exit.size;
    e.write = exit.write;
  }

  private void finish() {
    lastExits.add(event);
    if (sink.wants(event.kind)) {
      event.handlerTime = hostClock.nanoTime() - left;
      sink.write(event);
    }
  }

  @Override
  public void dmaWritten(final long gpa, final byte[] from, final int at, final int length) {
    if (!sink.wants(ExitKind.DMA)) {
      exits++;
      return;
    }
    for (int done = 0; done < length; done += ExitEvent.MAX_DATA) {
      final int part = Math.min(ExitEvent.MAX_DATA, length - done);
      write(RecordedState.dma(beside(ExitKind.DMA), gpa + done, from, at + done, part));
    }
  }

  /** What a replay can start at; between two exits, or while one waits for an interrupt. */
  private void checkpoint() {
    if (sink.wants(ExitKind.KICK)) {
      write(RecordedState.checkpoint(beside(ExitKind.KICK), irqchip, shadow));
    }
  }

  private void write(final ExitEvent e) {
    lastExits.add(e);
    sink.write(e);
  }

  private ExitEvent beside(final ExitKind kind) {
    exits++;
    final ExitEvent e = dmaEvent;
    e.clearPayload();
    e.vcpu = number;
    header(e, kind);
    return RecordedState.beside(e, state);
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
        event.detail = (int) exit.address;
        event.address = 0;
        event.errorCode = exit.write ? PageFaultError.WRITE : 0;
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

  /** Several elements of INS at once; the device sees them one after another. */
  private void portString() {
    platform.ports().readString((int) exit.address, exit.size, exit.count, exit.data);
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
    event.detail = outcome;
    event.value = fault.gpa;
    event.errorCode = exit.errorCode;
    event.walkCount = fault.walk.count;
    for (int i = 0; i < fault.walk.count; i++) {
      event.walkAddress[i] = fault.walk.entryAddress[i];
      event.walkValue[i] = fault.walk.entryValue[i];
    }
    int next = -1;
    switch (outcome) {
      case Fault.REFLECTED -> {
        finish();
        HostMemory.putLong(state + StateLayout.CR2, gva);
        recordInjection(Vector.PF, ExitEvent.INJECT_EXCEPTION, -1, true, fault.errorCode);
        vcpu.injectException(Vector.PF, true, fault.errorCode);
        return -1;
      }
      case Fault.TABLE_WRITE -> {
        next = vcpu.emulate(gva, fault.gpa);
        final TableWrites writes = vcpu.tableWrites();
        for (int i = 0; i < writes.count(); i++) {
          shadow.tableWritten(writes.gpa(i), writes.size(i), writes.value(i));
          event.writeAddress[i] = writes.gpa(i);
          event.writeSize[i] = writes.size(i);
          event.writeValue[i] = writes.value(i);
        }
        event.writeCount = writes.count();
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
        group.watchTimers(Long.MIN_VALUE, number);
        rest();
      }
    }
    group.sleeps(number, false);
    idle.reset();
    // The time in the handler of a HLT is the time that the guest slept.
    finish();
  }

  private void shutdown(final int detail, final RunEnd reason) {
    begin(ExitKind.SHUTDOWN);
    event.detail = detail;
    finish();
    end(reason);
  }

  // ---- what the devices ask; the access that asked is recorded when it is done ----

  @Override
  public void powerOff() {
    end(RunEnd.POWER_OFF);
  }

  @Override
  public void reset(final String source) {
    group.detail(source);
    end(RunEnd.RESET);
  }

  @Override
  public void debugExit(final int status) {
    group.status(status);
    end(RunEnd.DEBUG_EXIT);
  }
}
