package dev.vmexit.vm;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.device.ByteSink;
import dev.vmexit.device.TimerQueue;
import dev.vmexit.exit.ExitSink;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.memory.Slot;
import dev.vmexit.mmu.Mmu;
import dev.vmexit.mmu.NestedMmu;
import dev.vmexit.mmu.ShadowMmu;
import dev.vmexit.mmu.SlotView;
import dev.vmexit.mmu.TableMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.Vcpu;
import dev.vmexit.vcpu.kvm.KvmSystem;
import dev.vmexit.vcpu.kvm.KvmVm;
import dev.vmexit.vcpu.soft.CpuModel;
import dev.vmexit.vcpu.soft.SoftVcpu;
import dev.vmexit.x86.Seg;
import java.util.List;
import org.agrona.concurrent.BackoffIdleStrategy;
import org.agrona.concurrent.NanoClock;

/**
 * A whole machine, and the API to embed one: memory with a loaded guest, a vCPU, the PC's devices
 * and the run loop. {@link #run} belongs to one thread, by custom named {@code vcpu0}; {@link
 * #commands} may be used from any.
 */
public final class VirtualMachine implements AutoCloseable {
  private static final long FOUR_GIB = 1L << 32;

  private final Vcpu vcpu;
  private final Mmu mmu;

  /** The VM that the vCPU belongs to, closed after it; null where the vCPU is software. */
  private final KvmVm kvm;

  private final CommandRing commands = new CommandRing();
  private final PcPlatform platform;
  private final RunLoop loop;

  /** Which processor runs the guest. */
  public enum Backend {
    /** Ours, in software. */
    SOFT,
    /** The host's, by /dev/kvm. */
    KVM
  }

  /** How guest-linear addresses are translated. */
  public enum MmuKind {
    SHADOW,
    NESTED
  }

  /** What machine time follows. */
  public enum ClockKind {
    HOST,
    VIRTUAL
  }

  /**
   * What can be chosen.
   *
   * @param cpu what the guest's processor is said to be: {@code max}, {@code x86-64-v1} to {@code
   *     v3}; {@code ,-hypervisor} behind it hides that this is a virtual machine
   * @param epochSeconds what the RTC shows at power-on, seconds since 1970, UTC
   * @param console takes what the guest sends to its serial port, on the vCPU's thread
   * @param debugConsole takes what it writes to port 0xE9
   * @param debugExit whether the debug exit device is at port 0xF4
   * @param hostClock the host's monotonic clock
   */
  public record Options(
      String cpu,
      MmuKind mmu,
      ClockKind clock,
      long epochSeconds,
      ByteSink console,
      ByteSink debugConsole,
      boolean debugExit,
      NanoClock hostClock) {}

  /** Builds a machine with a software vCPU in the state that the loader left. */
  public VirtualMachine(
      final GuestMemory memory, final BootEntry entry, final Options options, final ExitSink sink) {
    this(Backend.SOFT, memory, entry, options, sink);
  }

  /**
   * Builds a machine in the state that the loader left.
   *
   * @param backend with KVM, the MMU is the processor's and the clock must be the host's
   * @param memory loaded; stays the caller's, who closes it after the machine
   * @param sink takes the records; stays the caller's
   * @throws dev.vmexit.vcpu.kvm.KvmUnavailableException where this host's KVM cannot be used
   * @throws dev.vmexit.memory.ErrnoException where KVM refuses
   */
  public VirtualMachine(
      final Backend backend,
      final GuestMemory memory,
      final BootEntry entry,
      final Options options,
      final ExitSink sink) {
    this(backend, memory, entry, options, Peripherals.NONE, sink);
  }

  /**
   * Builds a machine with more devices in the state that the loader left.
   *
   * @param backend with KVM, the MMU is the processor's and the clock must be the host's
   * @param memory loaded; stays the caller's, who closes it after the machine
   * @param peripherals stay the caller's
   * @param sink takes the records; stays the caller's
   * @throws dev.vmexit.vcpu.kvm.KvmUnavailableException where this host's KVM cannot be used
   * @throws dev.vmexit.memory.ErrnoException where KVM refuses
   */
  public VirtualMachine(
      final Backend backend,
      final GuestMemory memory,
      final BootEntry entry,
      final Options options,
      final Peripherals peripherals,
      final ExitSink sink) {
    if (backend == Backend.KVM) {
      if (options.clock() != ClockKind.HOST) {
        throw new IllegalArgumentException("clock=" + options.clock() + ", with KVM allowed: HOST");
      }
      final KvmProcessor processor = kvmProcessor(memory);
      kvm = processor.vm();
      mmu = processor.mmu();
      vcpu = processor.vcpu();
    } else if (options.mmu() == MmuKind.SHADOW) {
      final ShadowMmu shadow = new ShadowMmu(TableMemory.of(memory), SlotView.of(memory));
      final SoftVcpu soft = new SoftVcpu(memory, shadow, CpuModel.of(options.cpu()));
      shadow.attach(soft);
      memory.addWriteListener(shadow);
      kvm = null;
      mmu = shadow;
      vcpu = soft;
    } else {
      kvm = null;
      mmu = new NestedMmu(memory);
      vcpu = new SoftVcpu(memory, mmu, CpuModel.of(options.cpu()));
    }
    final long state = vcpu.state();
    final RunClock clock =
        options.clock() == ClockKind.HOST
            ? new HostClock(options.hostClock())
            : new VirtualClock(state);
    final TimerQueue timers = new TimerQueue();
    final LateEvents events = new LateEvents();
    final RecordedDma dma = new RecordedDma(memory);
    platform =
        new PcPlatform(
            clock,
            timers,
            new PcPlatform.Options(
                options.epochSeconds(),
                ramBelow(memory),
                memory.ramBytes() - ramBelow(memory),
                1,
                options.console(),
                options.debugConsole(),
                options.debugExit()),
            events,
            peripherals,
            dma);
    loop =
        new RunLoop(
            0,
            vcpu,
            mmu,
            clock,
            timers,
            platform,
            sink,
            commands,
            options.hostClock(),
            new BackoffIdleStrategy(100, 10, 1_000, 200_000));
    events.target = loop;
    dma.tell(loop);
    apply(entry, state);
    vcpu.stateChanged();
    mmu.setContext(entry.cr0(), entry.cr3(), entry.cr4(), entry.efer());
  }

  /**
   * Checks the name of a processor model before a machine is built.
   *
   * @throws IllegalArgumentException there is none of that name: the message says which there are
   */
  public static void checkCpu(final String cpu) {
    CpuModel.of(cpu);
  }

  private static long ramBelow(final GuestMemory memory) {
    long bytes = 0;
    for (final Slot slot : memory.slots()) {
      if (!slot.readOnly() && slot.gpa() < FOUR_GIB) {
        bytes += slot.bytes();
      }
    }
    return bytes;
  }

  private static void apply(final BootEntry entry, final long s) {
    final long[] registers = entry.gprs();
    for (int i = 0; i < registers.length; i++) {
      HostMemory.putLong(s + StateLayout.GPR + i * 8L, registers[i]);
    }
    HostMemory.putLong(s + StateLayout.RIP, entry.rip());
    HostMemory.putLong(s + StateLayout.RFLAGS, entry.rflags());
    HostMemory.putLong(s + StateLayout.CR0, entry.cr0());
    HostMemory.putLong(s + StateLayout.CR3, entry.cr3());
    HostMemory.putLong(s + StateLayout.CR4, entry.cr4());
    HostMemory.putLong(s + StateLayout.EFER, entry.efer());
    HostMemory.putLong(s + StateLayout.GDTR_BASE, entry.gdtBase());
    HostMemory.putLong(s + StateLayout.GDTR_LIMIT, entry.gdtLimit());
    HostMemory.putLong(s + StateLayout.IDTR_BASE, entry.idtBase());
    HostMemory.putLong(s + StateLayout.IDTR_LIMIT, entry.idtLimit());
    for (int i = 0; i < Seg.COUNT; i++) {
      final BootEntry.Segment segment = entry.segment(i);
      final long at = s + StateLayout.segment(i);
      HostMemory.putLong(at + StateLayout.SEG_BASE, segment.base());
      HostMemory.putLong(at + StateLayout.SEG_LIMIT, segment.limit());
      HostMemory.putInt(at + StateLayout.SEG_RIGHTS, segment.rights());
      HostMemory.putInt(at + StateLayout.SEG_SELECTOR, segment.selector());
    }
  }

  /** Runs until the guest or a command ends it; then the machine is done. */
  public RunResult run() {
    return loop.run();
  }

  /** The in-ring: console input, stop, NMI. */
  public CommandRing commands() {
    return commands;
  }

  /** The devices; others may be put on their buses before the run. */
  public PcPlatform platform() {
    return platform;
  }

  /** The vCPU, for a look at its registers after a run. */
  public Vcpu vcpu() {
    return vcpu;
  }

  /** The last exits, a line each, oldest first; after a run. */
  public List<String> lastExits() {
    return loop.lastExits();
  }

  @Override
  public void close() {
    vcpu.close();
    if (kvm != null) {
      kvm.close();
    }
  }

  /**
   * A vCPU of KVM with what it stands on.
   *
   * @param mmu of the interpreter that finishes what KVM cannot; KVM itself asks no MMU of ours
   */
  private record KvmProcessor(Vcpu vcpu, Mmu mmu, KvmVm vm) {}

  private static KvmProcessor kvmProcessor(final GuestMemory memory) {
    final NestedMmu mmu = new NestedMmu(memory);
    try (KvmSystem system = KvmSystem.open()) {
      final KvmVm vm = system.createVm();
      SoftVcpu interpreter = null;
      try {
        vm.prepareUserIrqchip();
        vm.setMemory(memory, false);
        interpreter = new SoftVcpu(memory, mmu, CpuModel.max());
        return new KvmProcessor(vm.createVcpu(0, memory, interpreter, mmu), mmu, vm);
      } catch (final RuntimeException e) {
        if (interpreter != null) {
          interpreter.close();
        }
        vm.close();
        throw e;
      }
    }
  }

  /** The platform is built before the run loop that hears of its events. */
  private static final class LateEvents implements PlatformEvents {
    private PlatformEvents target;

    @Override
    public void powerOff() {
      target.powerOff();
    }

    @Override
    public void reset(final String source) {
      target.reset(source);
    }

    @Override
    public void debugExit(final int status) {
      target.debugExit(status);
    }
  }
}
