package dev.vmexit.cli;

import dev.vmexit.analysis.Dimension;
import dev.vmexit.analysis.ExitStatistics;
import dev.vmexit.analysis.StatisticsTable;
import dev.vmexit.boot.AcpiTables;
import dev.vmexit.boot.BootEntry;
import dev.vmexit.boot.BuiltInGuest;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitSink;
import dev.vmexit.exit.NullExitSink;
import dev.vmexit.trace.Recorder;
import dev.vmexit.trace.RecorderOptions;
import dev.vmexit.trace.TraceException;
import dev.vmexit.trace.TraceManifest;
import dev.vmexit.trace.TraceReader;
import dev.vmexit.vm.KvmOptions;
import dev.vmexit.vm.Peripherals;
import dev.vmexit.vm.RunEnd;
import dev.vmexit.vm.RunResult;
import dev.vmexit.vm.VirtualMachine;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.function.IntFunction;
import org.agrona.concurrent.BackoffIdleStrategy;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code vmexit run}: runs a guest, records its exits, says how it ended. */
@Command(
    name = "run",
    description = {
      "Runs a guest and records every exit.",
      "Without a GUEST: the built-in one, which needs nothing."
    },
    footer = {
      "",
      "At an interactive console Ctrl-A x leaves, Ctrl-A Ctrl-A sends Ctrl-A.",
      "Exit status: see vmexit --help."
    },
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class RunCommand implements Callable<Integer> {
  private static final DateTimeFormatter STAMP =
      DateTimeFormatter.ofPattern("yyyyMMdd-HHmmss", Locale.ROOT);

  @Spec private CommandSpec spec;

  @Parameters(
      arity = "0..1",
      paramLabel = "GUEST",
      description = "A name that vmexit guest list prints.")
  private String guest;

  @Option(
      names = "--kernel",
      paramLabel = "FILE",
      description = "bzImage, ELF with a PVH note, multiboot 1 kernel, or a flat binary.")
  private Path kernel;

  @Option(names = "--initrd", paramLabel = "FILE", description = "Initial RAM disk.")
  private Path initrd;

  @Option(names = "--append", paramLabel = "TEXT", description = "Kernel command line, added.")
  private String append;

  @Option(
      names = "--load-address",
      paramLabel = "ADDRESS",
      description = "Take the kernel for a flat binary, put and started here.")
  private String loadAddress;

  @Option(
      names = "--mode",
      paramLabel = "BITS",
      description = "Mode of a flat binary: 16, 32 or 64. Default: 16.")
  private Integer mode;

  @Option(
      names = "--memory",
      paramLabel = "SIZE",
      description = "Guest memory, such as 512M or 2G. Default: what the guest asks for.")
  private String memory;

  @Option(names = "--huge-pages", description = "Back guest memory with huge pages.")
  private boolean hugePages;

  @Mixin private PlacementOptions placement;

  @Option(
      names = "--vcpus",
      paramLabel = "N",
      defaultValue = "1",
      description = "Number of vCPUs, each in its thread; more than 1 on KVM.")
  private int vcpus;

  @Option(
      names = "--backend",
      paramLabel = "NAME",
      defaultValue = "auto",
      description = {
        "The processor: kvm, soft (ours), or auto: KVM where the",
        "host has VMX or SVM and /dev/kvm opens.",
        "Default: ${DEFAULT-VALUE}."
      })
  private BackendChoice.Wish backend;

  @Option(
      names = "--cpu",
      paramLabel = "MODEL",
      defaultValue = "max",
      description = {
        "What the processor is: x86-64-v1, x86-64-v2, x86-64-v3, max;",
        "MODEL,-hypervisor hides that the machine is a virtual one.",
        "Default: ${DEFAULT-VALUE}."
      })
  private String cpu;

  @Option(
      names = "--mmu",
      paramLabel = "KIND",
      defaultValue = "shadow",
      description = {
        "shadow or nested paging, of the software vCPU.",
        "Default: ${DEFAULT-VALUE}."
      })
  private VirtualMachine.MmuKind mmu;

  @Option(
      names = "--clock",
      paramLabel = "KIND",
      defaultValue = "host",
      description = {
        "host: time follows the host; virtual: it follows the",
        "instruction count, and two runs are the same.",
        "Default: ${DEFAULT-VALUE}."
      })
  private VirtualMachine.ClockKind clock;

  @Option(
      names = "--record",
      paramLabel = "DIR",
      description = "Where the trace goes. Default: ./traces/GUEST-TIME.")
  private Path record;

  @Option(names = "--no-record", description = "Run without a trace.")
  private boolean noRecord;

  @Option(
      names = "--exits",
      paramLabel = "LIST",
      description = "Kinds to record, such as pio,mmio. Default: all.")
  private String exits;

  @Mixin private KvmRunOptions kvm;

  @Mixin private RecordingOptions recording;

  @Mixin private TimestampOptions timestamps;

  @Mixin private TriggerOptions triggers;

  @Option(
      names = "--console",
      paramLabel = "KIND",
      defaultValue = "stdio",
      description = "stdio or none. Default: ${DEFAULT-VALUE}.")
  private String console;

  @Option(
      names = "--exit-on",
      paramLabel = "TEXT",
      description = "End the run when the console shows this text.")
  private String exitOn;

  @Option(names = "--timeout", paramLabel = "SECONDS", description = "End the run after this long.")
  private Double timeout;

  @Option(
      names = "--debug-exit",
      description = "Offer a debug-exit device at port 0xf4: a value v ends with 2v+1.")
  private boolean debugExit;

  @Mixin private MachineOptions hardware;

  @Override
  public Integer call() {
    checkOptions();
    try {
      VirtualMachine.checkCpu(cpu);
    } catch (final IllegalArgumentException e) {
      throw new UserException("--cpu " + cpu + ": " + e.getMessage(), e);
    }
    final Set<ExitKind> kinds = kinds();
    final RecorderOptions options = recording.options();
    timestamps.begin(spec.commandLine().getErr());
    try (GuestLoader.Loaded loaded = load();
        MachineOptions closing = hardware) {
      placement.lock(loaded.memory());
      return run(loaded, closing, kinds, options);
    }
  }

  private void checkOptions() {
    if (vcpus < 1 || vcpus > AcpiTables.MOST_VCPUS) {
      throw new UserException(
          "--vcpus " + vcpus + ": give a number from 1 to " + AcpiTables.MOST_VCPUS);
    }
    placement.check(vcpus);
    kvm.check(hugePages);
    triggers.check(!noRecord, vcpus);
    if (!"stdio".equals(console) && !"none".equals(console)) {
      throw new UserException("--console " + console + " is not known; give stdio or none");
    }
    if (guest != null && kernel != null) {
      throw new UserException("give a GUEST or --kernel, not both: " + guest + ", " + kernel);
    }
    checkOptionsOfKernels();
    hardware.check();
    if (hardware.hasDisplay()
        && "stdio".equals(console)
        && spec.commandLine().getParseResult().hasMatchedOption("--console")) {
      throw new UserException("give --display text or --console stdio, not both");
    }
    if (GuestCatalog.SEABIOS.equals(guest)) {
      throw new UserException("seabios is no guest but a BIOS; start it by run --bios");
    }
    if (hardware.hasBios() && (guest != null || kernel != null)) {
      throw new UserException("give --bios, a GUEST or --kernel, not two of them");
    }
    if (record != null && noRecord) {
      throw new UserException("give --record or --no-record, not both");
    }
    if (noRecord && kvm.tracesKernel()) {
      throw new UserException("--kernel-trace goes with a recording, not with --no-record");
    }
    if (noRecord && recording.isBounded()) {
      throw new UserException("--roll and --keep go with a recording, not with --no-record");
    }
    if (recording.keepsTime() && timestamps.none()) {
      throw new UserException(
          "--keep TIME goes by the records' times, which --timestamps none leaves out;"
              + " give --keep EXITS or SIZE, or other --timestamps");
    }
    if (timeout != null && !(timeout > 0 && timeout < 1e9)) {
      throw new UserException("--timeout " + timeout + " is not a number of seconds above 0");
    }
  }

  /** An option that would have no effect is a misunderstanding: better said than ignored. */
  private void checkOptionsOfKernels() {
    if (kernel == null && (initrd != null || loadAddress != null)) {
      throw new UserException("--initrd and --load-address go with --kernel FILE");
    }
    if (mode != null && loadAddress == null) {
      throw new UserException("--mode " + mode + " goes with --load-address, for a flat binary");
    }
    if (loadAddress != null && (initrd != null || append != null)) {
      throw new UserException(
          "--initrd and --append do not go with --load-address: a flat binary takes neither");
    }
    if (append != null && guest == null && kernel == null) {
      throw new UserException(
          "--append " + append + ": the built-in guest takes none; give a GUEST or --kernel FILE");
    }
  }

  private boolean isBuiltIn() {
    return guest == null && kernel == null && !hardware.hasBios();
  }

  private Set<ExitKind> kinds() {
    if (exits == null) {
      return kvm.tracesKernel()
          ? EnumSet.allOf(ExitKind.class)
          : EnumSet.complementOf(EnumSet.of(ExitKind.KERNEL));
    }
    final Set<ExitKind> kinds = EnumSet.of(ExitKind.GAP);
    for (final String name : exits.split(",", -1)) {
      try {
        kinds.add(ExitKind.valueOf(name.trim().toUpperCase(Locale.ROOT).replace('-', '_')));
      } catch (final IllegalArgumentException e) {
        throw new UserException(
            "--exits "
                + exits
                + ": '"
                + name.trim()
                + "' is no kind; kinds are "
                + String.join(
                    ", ",
                    EnumSet.allOf(ExitKind.class).stream()
                        .map(kind -> kind.name().toLowerCase(Locale.ROOT))
                        .toList()),
            e);
      }
    }
    if (kinds.contains(ExitKind.KERNEL) != kvm.tracesKernel()) {
      throw new UserException(
          kvm.tracesKernel()
              ? "--kernel-trace: --exits " + exits + " leaves its records out; add kernel"
              : "--exits " + exits + ": kernel goes with --kernel-trace");
    }
    return kinds;
  }

  private GuestLoader.Loaded load() {
    final Optional<Long> bytes = Optional.ofNullable(memory).map(MemorySize::parse);
    final GuestLoader loader =
        new GuestLoader(bytes, hugePages, kvm.watchesMemory(), append == null ? "" : append, vcpus);
    if (kernel != null) {
      if (loadAddress != null) {
        return loader.flat(kernel, address(), flatMode());
      }
      return loader.kernel(kernel, Optional.ofNullable(initrd));
    }
    if (hardware.hasBios()) {
      return loader.bios(hardware.biosImage());
    }
    return guest == null ? loader.builtIn() : loader.named(guest);
  }

  private long address() {
    try {
      return Long.decode(loadAddress);
    } catch (final NumberFormatException e) {
      throw new UserException(
          "--load-address " + loadAddress + " is not a number; write it like 0x7c00", e);
    }
  }

  private BootEntry.Mode flatMode() {
    return switch (mode == null ? 16 : mode) {
      case 16 -> BootEntry.Mode.REAL16;
      case 32 -> BootEntry.Mode.PROTECTED32;
      case 64 -> BootEntry.Mode.LONG64;
      default -> throw new UserException("--mode " + mode + " is not known; give 16, 32 or 64");
    };
  }

  // ---- the run ----

  @SuppressWarnings("try") // the resources are scopes, nobody calls them
  private int run(
      final GuestLoader.Loaded loaded,
      final MachineOptions devices,
      final Set<ExitKind> kinds,
      final RecorderOptions options) {
    final PrintWriter err = spec.commandLine().getErr();
    final BackendChoice choice = BackendChoice.of(backend, reasonForSoft());
    if (vcpus > 1 && choice.backend() == VirtualMachine.Backend.SOFT) {
      throw new UserException(
          "--vcpus "
              + vcpus
              + ": the software vCPU is one"
              + (backend == BackendChoice.Wish.AUTO
                  ? ", and that is what this host gets; try --backend kvm"
                  : "; give --backend kvm"));
    }
    final KvmOptions kvmOptions = kvm.options(choice);
    if (!kvm.line(choice).isEmpty()) {
      err.println("vmexit: " + kvm.line(choice));
      err.flush();
    }
    final Path folder = noRecord ? null : recordFolder(loaded.name());
    final Late<VirtualMachine> machine = new Late<>();
    // A file that cannot be opened leaves no trace behind.
    final Peripherals peripherals =
        devices.open(exitOn, () -> machine.ifSet(m -> m.commands().stop(RunEnd.TEXT_SEEN)), err);
    // Before there is anything that would be left behind half-made.
    SignalStop.arm(() -> machine.ifSet(vm -> vm.commands().stop(RunEnd.STOPPED)));
    final Recorder recorder =
        folder == null
            ? null
            : Recorder.begin(
                folder,
                manifest(loaded, kinds, choice.backend()),
                options,
                () -> new BackoffIdleStrategy(1_000, 100, 1_000, 1_000_000),
                new RecordingNews(folder, machine, options.keep().isBounded(), err));
    final boolean quiet = "none".equals(console) || hardware.hasDisplay();
    final boolean builtIn = isBuiltIn();
    boolean begun = false;
    RunResult result = null;
    final IntFunction<ExitSink> sinks =
        number ->
            triggers.sink(
                recorder == null ? new NullExitSink() : timestamps.sink(recorder.sink(number)),
                folder,
                loaded.memory(),
                machine::get,
                err);
    final ConsoleOutput output =
        new ConsoleOutput(
            quiet ? null : System.out,
            builtIn ? BuiltInGuest.FAILURE : ConsoleOutput.PANIC,
            exitOn,
            () -> machine.ifSet(vm -> vm.commands().stop(RunEnd.TEXT_SEEN)));
    try (TraceStart start = recorder == null ? null : TraceStart.begin(folder, loaded.memory());
        VirtualMachine vm =
            new VirtualMachine(
                choice.backend(),
                vcpus,
                loaded.memory(),
                loaded.entry(),
                new VirtualMachine.Options(
                    cpu,
                    mmu,
                    clock,
                    clock == VirtualMachine.ClockKind.VIRTUAL ? 0 : Instant.now().getEpochSecond(),
                    output,
                    output,
                    debugExit,
                    timestamps.clock(),
                    new HostEntropy()),
                peripherals,
                sinks,
                kvmOptions)) {
      vm.onThread(placement::pinVcpu);
      if (hardware.restartsOnReset()) {
        vm.restartOnReset(hardware::tellRestart);
      }
      if (recorder != null) {
        start.finish(vm, vcpus);
        recorder.awaitReady();
        placement.pinRecorder(vcpus);
        vm.commands().onStop(recorder::stopping);
      }
      machine.set(vm);
      if (SignalStop.stopping()) {
        vm.commands().stop(RunEnd.STOPPED);
      }
      if (recorder != null && recorder.failure() != null) {
        vm.commands().stop(RunEnd.RECORDER_FAILED);
      }
      try (RunStopper stopper = new RunStopper(vm, timeout);
          ConsoleInput input = input(vm, quiet || builtIn)) {
        begun = true;
        result = VcpuThread.run(vm);
      } finally {
        output.close();
        // Gives the terminal back before anything is said.
        hardware.close();
      }
      if (!quiet && !output.atLineStart()) {
        System.out.println();
      }
      final int status = RunReport.print(err, result, builtIn, output.trouble(), vm);
      KvmRunOptions.report(vm, vcpus, err);
      return finish(recorder, folder, result, status, err);
    } finally {
      if (recorder != null && !begun) {
        recorder.abandon();
      } else if (recorder != null && result == null) {
        closeQuietly(recorder);
      }
    }
  }

  private ConsoleInput input(final VirtualMachine vm, final boolean none) {
    if (hardware.hasDisplay()) {
      return ConsoleInput.openKeyboard(vm.commands());
    }
    return none ? null : ConsoleInput.open(vm.commands());
  }

  private int finish(
      final Recorder recorder,
      final Path folder,
      final RunResult result,
      final int status,
      final PrintWriter err) {
    if (recorder == null) {
      return status;
    }
    recorder.endReason(result.end().name().toLowerCase(Locale.ROOT).replace('_', ' '));
    try {
      recorder.close();
    } catch (final TraceException e) {
      err.println("vmexit: " + e.getMessage() + "; what came before can be read");
      err.println("trace: " + folder);
      err.flush();
      return ExitStatus.RECORDING_FAILED;
    }
    final long dropped = recorder.dropped();
    if (dropped > 0) {
      err.println("vmexit: " + dropped + " exits were dropped, as the recorder was too slow");
    }
    final PrintWriter out = spec.commandLine().getOut();
    if (isBuiltIn()) {
      out.println();
      printTable(folder, out);
    }
    out.flush();
    err.println("trace: " + folder);
    err.flush();
    return status;
  }

  private static void printTable(final Path folder, final PrintWriter out) {
    final ExitStatistics statistics = new ExitStatistics(Dimension.KIND);
    final ExitEvent event = new ExitEvent();
    try (TraceReader reader = TraceReader.open(folder)) {
      while (reader.next(event)) {
        statistics.add(event);
      }
    }
    out.print(
        StatisticsTable.format(statistics, ExitStatistics.Order.COUNT, ExitKind.values().length));
  }

  private static void closeQuietly(final Recorder recorder) {
    try {
      recorder.close();
    } catch (final TraceException e) {
      // The exception that brought us here says more.
      return;
    }
  }

  private Path recordFolder(final String name) {
    if (record != null) {
      return record;
    }
    final String stamped = name + "-" + LocalDateTime.now(ZoneId.systemDefault()).format(STAMP);
    Path folder = Path.of("traces", stamped);
    for (int i = 2; Files.exists(folder); i++) {
      folder = Path.of("traces", stamped + "-" + i);
    }
    return folder;
  }

  /** An option given that only the software vCPU can follow. */
  private Optional<String> reasonForSoft() {
    if (clock == VirtualMachine.ClockKind.VIRTUAL) {
      return Optional.of("--clock virtual");
    }
    if (spec.commandLine().getParseResult().hasMatchedOption("--cpu")) {
      return Optional.of("--cpu " + cpu);
    }
    if (hardware.restartsOnReset()) {
      return Optional.of("--on-reset restart");
    }
    return spec.commandLine().getParseResult().hasMatchedOption("--mmu")
        ? Optional.of("--mmu " + mmu.name().toLowerCase(Locale.ROOT))
        : Optional.empty();
  }

  private TraceManifest manifest(
      final GuestLoader.Loaded loaded,
      final Set<ExitKind> kinds,
      final VirtualMachine.Backend processor) {
    final boolean kvm = processor == VirtualMachine.Backend.KVM;
    final List<TraceManifest.MemorySlot> slots =
        loaded.memory().slots().stream()
            .map(s -> new TraceManifest.MemorySlot(s.gpa(), s.bytes(), s.readOnly()))
            .toList();
    return TraceManifest.starting(
        Main.Version.text(),
        loaded.name(),
        String.join(" ", spec.commandLine().getParseResult().originalArgs()),
        slots,
        vcpus,
        processor.name().toLowerCase(Locale.ROOT),
        kvm ? "hardware" : mmu.name().toLowerCase(Locale.ROOT),
        kvm ? HostCpu.read().model() + " (KVM)" : cpu,
        clock.name().toLowerCase(Locale.ROOT),
        timestamps.source(),
        Instant.now(),
        kinds);
  }
}
