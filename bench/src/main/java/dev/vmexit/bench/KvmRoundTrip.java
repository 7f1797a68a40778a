package dev.vmexit.bench;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.boot.FlatLoader;
import dev.vmexit.boot.ImageFile;
import dev.vmexit.device.MmioDevice;
import dev.vmexit.device.PortDevice;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitSink;
import dev.vmexit.exit.NullExitSink;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.trace.Recorder;
import dev.vmexit.trace.RecorderOptions;
import dev.vmexit.trace.TraceManifest;
import dev.vmexit.vm.RunEnd;
import dev.vmexit.vm.TscClock;
import dev.vmexit.vm.VirtualMachine;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.agrona.concurrent.BackoffIdleStrategy;
import org.agrona.concurrent.NanoClock;
import org.agrona.concurrent.SystemNanoClock;

/**
 * From the guest to us and back on KVM: {@code KvmRoundTrip SOURCE.c [BATCHES [OPERATION...]]},
 * SOURCE being {@link KvmPeer}'s. Each side runs batches of the same exits, by turns, so that a
 * busy host hurts both; the ratio is the median of the pairs' ratios. Where a process's pages
 * happen to lie makes some percent, so the pairs are of several machines and as many C processes.
 * {@code bench/run.sh kvm} calls it. Exit status 1 where a limit is missed.
 *
 * <p>Ours is the whole machine: run loop, devices, clock, the record. HLT ends a machine whose
 * interrupts are off, so for it the vCPU alone is entered again and again.
 */
public final class KvmRoundTrip {
  static final int MARK_PORT = 0x1600;
  static final int PORT = 0x1604;
  static final long ORIGIN = 0x1000;
  static final long MEMORY = 0x1_0000;
  static final int EXITS = 2_000;

  private static final int MMIO_SEGMENT = 0xD000;
  private static final long MMIO = 0xD_0000;
  private static final double LIMIT_OFF = 1.05;
  private static final double LIMIT_ON = 1.10;
  private static final int DEFAULT_BATCHES = 175;

  /** Machines, and C processes, one after another. */
  private static final int ROUNDS = 7;

  private static final long CALIBRATION_NANOS = 20_000_000L;

  /** The first batches, in which the JIT compiler is at work, and those of the rounds behind. */
  private static final int WARM_UP = 60;

  private static final int WARM_UP_AGAIN = 5;

  private static final int RING_BYTES = 16 << 20;

  private final Path folder;
  private final Path peer;
  private final int batches;
  private final PrintStream out;

  /** The TSC where there is one to be trusted, as {@code run} takes it by default. */
  private final NanoClock clock =
      TscClock.isAvailable()
          ? TscClock.begin(SystemNanoClock.INSTANCE).end(CALIBRATION_NANOS)
          : SystemNanoClock.INSTANCE;

  /** What makes the exit. */
  enum Operation {
    OUT,
    IN,
    MMIO_READ,
    MMIO_WRITE,
    HLT
  }

  /** Nanoseconds of an exit: of us and of the peer, a number a batch. */
  record Series(double[] ours, double[] theirs) {
    double ratio() {
      final double[] ratios = new double[ours.length];
      Arrays.setAll(ratios, i -> ours[i] / theirs[i]);
      return median(ratios);
    }
  }

  private KvmRoundTrip(
      final Path folder, final Path peer, final int batches, final PrintStream out) {
    this.folder = folder;
    this.peer = peer;
    this.batches = batches;
    this.out = out;
  }

  /** Measures all operations. */
  public static void main(final String[] args) throws IOException {
    final Set<Operation> operations = EnumSet.noneOf(Operation.class);
    int batches = DEFAULT_BATCHES;
    try {
      if (args.length > 1) {
        batches = Integer.parseInt(args[1]);
      }
      for (int i = 2; i < args.length; i++) {
        operations.add(Operation.valueOf(args[i].toUpperCase(Locale.ROOT)));
      }
    } catch (final IllegalArgumentException e) {
      badUsage();
    }
    if (args.length < 1 || batches < ROUNDS) {
      badUsage();
    }
    final Path folder = Files.createTempDirectory("vmexit-bench");
    final boolean held;
    try {
      final Path peer = KvmPeer.compile(Path.of(args[0]), folder);
      held =
          new KvmRoundTrip(folder, peer, batches, System.out)
              .measure(operations.isEmpty() ? EnumSet.allOf(Operation.class) : operations);
    } finally {
      SideBySide.delete(folder);
    }
    System.exit(held ? 0 : 1);
  }

  private static void badUsage() {
    System.err.printf(
        Locale.ROOT,
        "usage: KvmRoundTrip SOURCE.c [BATCHES [OPERATION...]], BATCHES from %d on, OPERATION of"
            + " out, in, mmio_read, mmio_write, hlt%n",
        ROUNDS);
    System.exit(2);
  }

  private boolean measure(final Set<Operation> operations) throws IOException {
    if (!hasVirtualization()) {
      out.println(
          "The processor shows neither VMX nor SVM: this is KVM in software. The ratios stand, the"
              + " times are not KVM's.");
    }
    out.printf(
        Locale.ROOT,
        "%-12s%-12s%10s%10s%8s%8s%n",
        "EXIT",
        "RECORDING",
        "vmexit",
        "C",
        "RATIO",
        "LIMIT");
    boolean held = true;
    for (final Operation operation : operations) {
      final byte[] image = image(operation);
      final Path file = Files.write(folder.resolve(operation + ".bin"), image);
      if (operation == Operation.HLT) {
        final KvmHalts halts = new KvmHalts(image, peer, file);
        held &= report(operation, "vCPU alone", rounds(halts::run), LIMIT_OFF);
        continue;
      }
      held &= report(operation, "off", rounds(r -> machine(image, file, false, r)), LIMIT_OFF);
      held &= report(operation, "on", rounds(r -> machine(image, file, true, r)), LIMIT_ON);
    }
    return held;
  }

  private boolean report(
      final Operation operation, final String recording, final Series series, final double limit) {
    out.printf(
        Locale.ROOT,
        "%-12s%-12s%7.0f ns%7.0f ns%8.3f%8.2f  %s%n",
        operation.name().toLowerCase(Locale.ROOT).replace('_', ' '),
        recording,
        median(series.ours()),
        median(series.theirs()),
        series.ratio(),
        limit,
        series.ratio() <= limit ? "held" : "MISSED");
    return series.ratio() <= limit;
  }

  /** Marks, then does it so many times, for ever. */
  static byte[] image(final Operation operation) {
    final Assembler a = new Assembler(2, ORIGIN);
    a.mov(Register.AX, MMIO_SEGMENT);
    a.mov(Register.DS, Register.AX);
    final Label batch = a.here();
    a.mov(Register.DX, MARK_PORT);
    a.out(Register.DX, Register.AL);
    a.mov(Register.DX, PORT);
    a.mov(Register.CX, EXITS);
    final Label again = a.here();
    switch (operation) {
      case OUT -> a.out(Register.DX, Register.AL);
      case IN -> a.in(Register.AL, Register.DX);
      case MMIO_READ -> a.mov(Register.BL, Memory.absolute(0x10));
      case MMIO_WRITE -> a.mov(Memory.absolute(0x10), Register.BL);
      case HLT -> a.hlt();
    }
    a.loop(again);
    a.jmp(batch);
    return a.assemble();
  }

  /** Runs batches of a new machine and a new C process. */
  private interface Side {
    void run(Round round) throws IOException;
  }

  /** Batches of one machine, and of one C process. */
  static final class Round {
    private final double[] ours;
    private final double[] theirs;
    private final int warmUp;
    private int batch;

    Round(final int warmUp, final int batches) {
      this.warmUp = warmUp;
      ours = new double[batches];
      theirs = new double[batches];
    }

    /** Takes the nanoseconds of a batch of ours, and of one of theirs before. */
    void add(final long ourNanos, final long theirNanos) {
      final int i = batch++ - warmUp;
      if (i >= 0) {
        ours[i] = (double) ourNanos / EXITS;
        theirs[i] = (double) theirNanos / EXITS;
      }
    }

    boolean isOver() {
      return batch == warmUp + ours.length;
    }
  }

  private Series rounds(final Side side) throws IOException {
    final int each = Math.max(1, batches / ROUNDS);
    final double[] ours = new double[each * ROUNDS];
    final double[] theirs = new double[each * ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
      final Round round = new Round(i == 0 ? WARM_UP : WARM_UP_AGAIN, each);
      side.run(round);
      System.arraycopy(round.ours, 0, ours, i * each, each);
      System.arraycopy(round.theirs, 0, theirs, i * each, each);
    }
    return new Series(ours, theirs);
  }

  // ---- the whole machine ----

  private void machine(
      final byte[] image, final Path file, final boolean recorded, final Round round)
      throws IOException {
    final Path trace = folder.resolve("trace");
    final Recorder recorder =
        recorded
            ? Recorder.start(
                trace,
                manifest(),
                RecorderOptions.blocking(RING_BYTES),
                () -> new BackoffIdleStrategy(1_000, 100, 1_000, 1_000_000),
                reason -> {
                  throw new IllegalStateException(reason);
                })
            : null;
    try (KvmPeer other = new KvmPeer(peer, file);
        GuestMemory memory = GuestMemory.builder().ram(0, MEMORY).build()) {
      final BootEntry entry =
          FlatLoader.load(
              memory, ImageFile.of("kernel", "loop", image), ORIGIN, BootEntry.Mode.REAL16);
      final VirtualMachine.Options options =
          new VirtualMachine.Options(
              "max",
              VirtualMachine.MmuKind.NESTED,
              VirtualMachine.ClockKind.HOST,
              0,
              b -> {},
              b -> {},
              false,
              clock);
      final ExitSink sink = recorder == null ? new NullExitSink() : recorder.sink(0);
      try (VirtualMachine vm =
          new VirtualMachine(VirtualMachine.Backend.KVM, memory, entry, options, sink)) {
        final Marks marks = new Marks(other, vm, round);
        vm.platform().ports().register(marks, MARK_PORT, PORT);
        vm.platform().memory().register(new Device(), MMIO, 0x1000);
        final RunEnd end = vm.run().end();
        if (end != RunEnd.TEXT_SEEN) {
          throw new IllegalStateException("the guest ended by " + end + ": " + vm.lastExits());
        }
      }
    } finally {
      if (recorder != null) {
        recorder.close();
        SideBySide.delete(trace);
      }
    }
  }

  private static TraceManifest manifest() {
    return TraceManifest.starting(
        "bench",
        "loop",
        "",
        List.of(new TraceManifest.MemorySlot(0, MEMORY, false)),
        1,
        "kvm",
        "hardware",
        "",
        "host",
        "System.nanoTime",
        Instant.now(),
        EnumSet.complementOf(EnumSet.of(ExitKind.KERNEL)));
  }

  /** Times a batch from mark to mark, then lets the peer run one. */
  private static final class Marks implements PortDevice {
    private final KvmPeer other;
    private final VirtualMachine vm;
    private final Round round;
    private long start;
    private long peers = -1;

    Marks(final KvmPeer other, final VirtualMachine vm, final Round round) {
      this.other = other;
      this.vm = vm;
      this.round = round;
    }

    @Override
    public int readPort(final int port, final int size) {
      return 0x5A;
    }

    @Override
    public void writePort(final int port, final int size, final int value) {
      if (port != MARK_PORT) {
        return;
      }
      final long now = System.nanoTime();
      if (peers >= 0) {
        round.add(now - start, peers);
      }
      if (round.isOver()) {
        vm.commands().stop(RunEnd.TEXT_SEEN);
        return;
      }
      peers = other.batch();
      start = System.nanoTime();
    }
  }

  private static final class Device implements MmioDevice {
    private int value;

    @Override
    public long readMmio(final long offset, final int size) {
      return value & 0xFF;
    }

    @Override
    public void writeMmio(final long offset, final int size, final long written) {
      value += (int) written;
    }
  }

  static double median(final double[] values) {
    final double[] sorted = values.clone();
    Arrays.sort(sorted);
    final int middle = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  private static boolean hasVirtualization() throws IOException {
    final List<String> flags = new ArrayList<>();
    for (final String line : Files.readAllLines(Path.of("/proc/cpuinfo"))) {
      if (line.startsWith("flags")) {
        flags.addAll(Arrays.asList(line.split("\\s+", -1)));
      }
    }
    return flags.contains("vmx") || flags.contains("svm");
  }
}
