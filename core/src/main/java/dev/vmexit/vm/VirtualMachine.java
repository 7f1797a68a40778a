package dev.vmexit.vm;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.device.ByteSink;
import dev.vmexit.device.InterruptLine;
import dev.vmexit.device.TimerQueue;
import dev.vmexit.exit.ExitSink;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.memory.MemoryMap;
import dev.vmexit.memory.Slot;
import dev.vmexit.mmu.Mmu;
import dev.vmexit.mmu.NestedMmu;
import dev.vmexit.mmu.ShadowMmu;
import dev.vmexit.mmu.SlotView;
import dev.vmexit.mmu.TableMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.Vcpu;
import dev.vmexit.vcpu.soft.CpuModel;
import dev.vmexit.vcpu.soft.SoftVcpu;
import dev.vmexit.x86.Seg;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.IntConsumer;
import java.util.function.IntFunction;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import org.agrona.concurrent.NanoClock;

/**
 * A whole machine, and the API to embed one: memory with a loaded guest, vCPUs, the PC's devices
 * and the run loops. {@link #run} belongs to one thread, by custom named {@code vcpu0}, and starts
 * {@code vcpu1} and so on; {@link #commands} may be used from any.
 */
public final class VirtualMachine implements AutoCloseable {
  private static final long FOUR_GIB = 1L << 32;

  private final Vcpu[] vcpus;

  /** The VM that the vCPUs belong to, closed after them; null where they are software. */
  private final KvmProcessors kvm;

  private final CommandRing commands = new CommandRing();
  private final Supplier<PcPlatform> platforms;
  private final MemoryControl control;
  private final Mmu mmu;
  private final BootEntry entry;
  private PcPlatform platform;
  private final NanoClock hostClock;
  private final VcpuGroup group;
  private final RunLoop[] loops;
  private IntConsumer onThread = number -> {};

  /** What made a run loop die that is not the first. */
  private volatile Throwable death;

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
   * @param entropy 64 bits of the host's randomness a call, for RDRAND and RDSEED where time is the
   *     host's; on a vCPU's thread
   */
  public record Options(
      String cpu,
      MmuKind mmu,
      ClockKind clock,
      long epochSeconds,
      ByteSink console,
      ByteSink debugConsole,
      boolean debugExit,
      NanoClock hostClock,
      LongSupplier entropy) {

    /** A machine whose random numbers are the same in each run. */
    public Options(
        final String cpu,
        final MmuKind mmu,
        final ClockKind clock,
        final long epochSeconds,
        final ByteSink console,
        final ByteSink debugConsole,
        final boolean debugExit,
        final NanoClock hostClock) {
      this(
          cpu,
          mmu,
          clock,
          epochSeconds,
          console,
          debugConsole,
          debugExit,
          hostClock,
          new SameNumbers());
    }
  }

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
    this(backend, 1, memory, entry, options, Peripherals.NONE, number -> sink);
  }

  /**
   * Builds a machine of several vCPUs, and with more devices, in the state that the loader left.
   * All vCPUs but the first wait for a start-up IPI.
   *
   * @param backend with KVM, the MMU is the processor's and the clock must be the host's; the
   *     software vCPU is one
   * @param count vCPUs, 1 to 255
   * @param memory loaded; stays the caller's, who closes it after the machine
   * @param peripherals stay the caller's
   * @param sinks what takes the records of a vCPU, by its number; stay the caller's
   * @throws dev.vmexit.vcpu.kvm.KvmUnavailableException where this host's KVM cannot be used, or
   *     allows fewer vCPUs
   * @throws dev.vmexit.memory.ErrnoException where KVM refuses
   */
  public VirtualMachine(
      final Backend backend,
      final int count,
      final GuestMemory memory,
      final BootEntry entry,
      final Options options,
      final Peripherals peripherals,
      final IntFunction<ExitSink> sinks) {
    this(backend, count, memory, entry, options, peripherals, sinks, KvmOptions.NONE);
  }

  /** Finishes what KVM cannot. Its caches are emptied before each use: it hears of no writes. */
  private static Vcpu interpreter(final GuestMemory memory, final Mmu mmu) {
    final SoftVcpu interpreter = new SoftVcpu(memory, mmu, CpuModel.max());
    interpreter.ignoreWrites();
    return interpreter;
  }

  /**
   * Builds a machine as the constructor above does, on KVM with options of its own.
   *
   * @param kvmOptions where the backend is KVM; of others only {@link KvmOptions#NONE}
   */
  public VirtualMachine(
      final Backend backend,
      final int count,
      final GuestMemory memory,
      final BootEntry entry,
      final Options options,
      final Peripherals peripherals,
      final IntFunction<ExitSink> sinks,
      final KvmOptions kvmOptions) {
    if (backend == Backend.SOFT && !kvmOptions.equals(KvmOptions.NONE)) {
      throw new IllegalArgumentException(kvmOptions + " goes with KVM, not with " + backend);
    }
    if (backend == Backend.SOFT && count != 1) {
      throw new IllegalArgumentException("vcpus=" + count + ", of the software vCPU allowed: 1");
    }
    vcpus = new Vcpu[count];
    final Mmu[] mmus = new Mmu[count];
    if (backend == Backend.KVM) {
      if (options.clock() != ClockKind.HOST) {
        throw new IllegalArgumentException("clock=" + options.clock() + ", with KVM allowed: HOST");
      }
      kvm = KvmProcessors.create(memory, kvmOptions, mmu -> interpreter(memory, mmu), vcpus, mmus);
    } else if (options.mmu() == MmuKind.SHADOW) {
      final ShadowMmu shadow = new ShadowMmu(TableMemory.of(memory), SlotView.of(memory));
      final SoftVcpu soft = new SoftVcpu(memory, shadow, CpuModel.of(options.cpu()));
      shadow.attach(soft);
      memory.addWriteListener(shadow);
      kvm = null;
      mmus[0] = shadow;
      vcpus[0] = soft;
    } else {
      kvm = null;
      mmus[0] = new NestedMmu(memory);
      vcpus[0] = new SoftVcpu(memory, mmus[0], CpuModel.of(options.cpu()));
    }
    final long state = vcpus[0].state();
    hostClock = options.hostClock();
    group = new VcpuGroup(count);
    final RunClock clock =
        options.clock() == ClockKind.HOST
            ? new HostClock(options.hostClock(), options.entropy())
            : new VirtualClock(state);
    final TimerQueue timers = new TimerQueue();
    final LateEvents events = new LateEvents();
    final RecordedDma dma = new RecordedDma(memory);
    final PcPlatform.Options devices =
        new PcPlatform.Options(
            options.epochSeconds(),
            ramBelow(memory),
            memory.ramBytes() - ramBelow(memory),
            count,
            options.console(),
            options.debugConsole(),
            options.debugExit());
    final IntFunction<InterruptLine> lines = kvm == null ? null : kvm.lines();
    platforms =
        () -> {
          timers.clear();
          final PcPlatform made =
              new PcPlatform(clock, timers, devices, events, peripherals, dma, lines);
          if (peripherals.hasPci()) {
            made.memory()
                .register(new ProtectedMemory(memory, dma), MemoryMap.AREAS, MemoryMap.AREAS_BYTES);
          }
          return made;
        };
    platform = platforms.get();
    mmu = mmus[0];
    this.entry = entry;
    control =
        new MemoryControl(
            memory, vcpus, mmu instanceof final ShadowMmu shadow ? shadow : null, kvm);
    if (platform.memoryState() != MemoryMap.PLAIN) {
      control.map(platform.memoryState());
    }
    loops = new RunLoop[count];
    for (int i = 0; i < count; i++) {
      loops[i] =
          new RunLoop(
              i,
              group,
              vcpus[i],
              mmus[i],
              clock,
              timers,
              platform,
              dma,
              control,
              sinks.apply(i),
              commands,
              hostClock);
    }
    events.target = loops[0];
    apply(entry, state);
    vcpus[0].stateChanged();
    mmus[0].setContext(entry.cr0(), entry.cr3(), entry.cr4(), entry.efer());
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

  static void apply(final BootEntry entry, final long s) {
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

  /**
   * Has something done by each vCPU's thread before it runs the guest.
   *
   * @param action takes the vCPU's number
   */
  public void onThread(final IntConsumer action) {
    onThread = action;
  }

  /**
   * Has a reset start the machine again instead of ending the run: for a machine with firmware, as
   * its processor begins where that is; before {@link #run}.
   *
   * @param told hears by which device the guest reset the machine, in words; on the vCPU's thread
   * @throws IllegalStateException where the vCPU is not the software one
   */
  public void restartOnReset(final Consumer<String> told) {
    if (!(vcpus[0] instanceof final SoftVcpu soft)) {
      throw new IllegalStateException("backend=KVM, to start again allowed: SOFT");
    }
    loops[0].onReset(
        new MachineReset(
            soft,
            soft::reset,
            mmu,
            entry,
            control,
            () -> {
              final PcPlatform next = platforms.get();
              next.keep(platform);
              platform = next;
              return next;
            },
            told));
  }

  /** Runs until the guest or a command ends it; then the machine is done. */
  public RunResult run() {
    final long start = hostClock.nanoTime();
    final Thread[] threads = new Thread[loops.length];
    for (int i = 1; i < loops.length; i++) {
      final int number = i;
      threads[i] = new Thread(() -> runOther(number, start), "vcpu" + number);
      threads[i].start();
    }
    try {
      onThread.accept(0);
      loops[0].run(start);
    } finally {
      // Where the first loop died the others must not go on.
      endOthers();
      join(threads);
    }
    if (death != null) {
      throw new IllegalStateException("a vCPU's thread died: " + death, death);
    }
    long retired = 0;
    long exits = 0;
    for (final RunLoop loop : loops) {
      retired += loop.retired();
      exits += loop.exits();
    }
    return group.result(retired, exits);
  }

  private void runOther(final int number, final long start) {
    try {
      onThread.accept(number);
      loops[number].run(start);
    } catch (final Throwable e) {
      group.left(number);
      death = e;
      commands.stop(RunEnd.VCPU_FAILED);
    }
  }

  private void endOthers() {
    if (loops.length > 1) {
      group.abandon();
    }
  }

  private static void join(final Thread[] threads) {
    boolean interrupted = false;
    for (int i = 1; i < threads.length; i++) {
      while (threads[i].isAlive()) {
        try {
          threads[i].join();
        } catch (final InterruptedException e) {
          interrupted = true;
        }
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /** The in-ring: console input, stop, NMI. */
  public CommandRing commands() {
    return commands;
  }

  /**
   * Does something while the whole machine stands still, each vCPU between two instructions.
   *
   * @param number of the vCPU on whose thread this is called, by its sink, out of the guest
   */
  public void whileStopped(final int number, final Runnable action) {
    group.stopOthers(number);
    action.run();
  }

  /** The devices; others may be put on their buses before the run. */
  public PcPlatform platform() {
    return platform;
  }

  /** The vCPU that ended the run, for a look at its registers; the first one until then. */
  public Vcpu vcpu() {
    return vcpus[group.endedBy()];
  }

  /** A vCPU by its number. */
  public Vcpu vcpu(final int number) {
    return vcpus[number];
  }

  /** The last exits of the vCPU that ended the run, a line each, oldest first; after a run. */
  public List<String> lastExits() {
    return loops[group.endedBy()].lastExits();
  }

  @Override
  public void close() {
    for (final Vcpu vcpu : vcpus) {
      vcpu.close();
    }
    if (kvm != null) {
      kvm.close();
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

    @Override
    public void memoryMapped(final long state) {
      target.memoryMapped(state);
    }
  }
}
