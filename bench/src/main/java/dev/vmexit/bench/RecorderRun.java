package dev.vmexit.bench;

import com.sun.management.ThreadMXBean;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitRingWriter;
import dev.vmexit.trace.Durability;
import dev.vmexit.trace.Recorder;
import dev.vmexit.trace.RecorderListener;
import dev.vmexit.trace.RecorderOptions;
import dev.vmexit.trace.TraceFolder;
import dev.vmexit.trace.TraceKeep;
import dev.vmexit.trace.TraceManifest;
import dev.vmexit.vm.TscClock;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Comparator;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import org.HdrHistogram.Histogram;
import org.agrona.concurrent.BackoffIdleStrategy;
import org.agrona.concurrent.NanoClock;
import org.agrona.concurrent.SystemNanoClock;

/**
 * Measures the whole recorder, from an exit on one thread to the queue by another.
 *
 * <pre>
 *   throughput FOLDER SECONDS none|batch|interval   exits as fast as they are recorded
 *   latency FOLDER SECONDS RATE                     so many exits a second, evenly spaced
 * </pre>
 *
 * <p>Latencies are from when an exit was due, so that an exit that waits for another's delay counts
 * with all of its waiting: nothing is omitted. The cost is that of the exit alone. All times hold
 * one clock read more than the exit itself; {@code clock} is what two of them in a row take. They
 * are measured by {@link System#nanoTime}; the exit's own time, which the record holds, is read as
 * {@code run} does it, from the TSC where the host has one that can be a clock.
 */
final class RecorderRun {
  private static final int RING_BYTES = 16 << 20;
  private static final int WARM_UP = 2_000_000;
  private static final int DUE_KEPT = 1 << 22;
  private static final long CALIBRATION_NANOS = 100_000_000L;
  private static final long MAX_NANOS = 60_000_000_000L;

  /** The disk is to be full of figures, not of traces: so much of the end is kept. */
  private static final TraceKeep KEEP = new TraceKeep(TraceKeep.Unit.BYTES, 1L << 30);

  private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

  /** The clock of the records. */
  private final NanoClock stamps =
      TscClock.isAvailable()
          ? TscClock.begin(SystemNanoClock.INSTANCE).end(CALIBRATION_NANOS)
          : SystemNanoClock.INSTANCE;

  private final ExitEvent event = new ExitEvent();
  private final SyntheticExits synthetic = new SyntheticExits();
  private final Histogram cost = new Histogram(MAX_NANOS, 3);
  private final Histogram toRing = new Histogram(MAX_NANOS, 3);
  private final Histogram toQueue = new Histogram(MAX_NANOS, 3);

  /** When each exit was in the ring; read by the recorder's thread behind its batch. */
  private final long[] inRing = new long[DUE_KEPT];

  private long queued;

  private RecorderRun() {}

  /** Runs one measurement; see the class. */
  public static void main(final String[] args) throws IOException {
    final Path folder = Path.of(args[1]).resolve("trace");
    final RecorderRun run = new RecorderRun();
    if (args[0].equals("latency")) {
      run.latency(folder, Integer.parseInt(args[2]), Integer.parseInt(args[3]));
    } else {
      run.throughput(
          folder, Integer.parseInt(args[2]), Durability.valueOf(args[3].toUpperCase(Locale.ROOT)));
    }
    run.synthetic.close();
    delete(folder);
  }

  private static void delete(final Path folder) throws IOException {
    try (Stream<Path> all = Files.walk(folder)) {
      for (final Path path : all.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(path);
      }
    }
  }

  private static Recorder start(
      final Path folder, final Durability durability, final RecorderListener listener) {
    return Recorder.start(
        folder,
        TraceManifest.starting(
            "bench",
            "synthetic",
            "",
            List.of(),
            1,
            "soft",
            "shadow",
            "max",
            "host",
            "System.nanoTime",
            Instant.now(),
            EnumSet.allOf(ExitKind.class)),
        RecorderOptions.blocking(RING_BYTES)
            .with(durability, SystemNanoClock.INSTANCE)
            .with(RecorderOptions.rollBytes(KEEP), KEEP),
        () -> new BackoffIdleStrategy(1_000, 100, 1_000, 1_000_000),
        listener);
  }

  private static long recorderCpu() {
    for (final long id : THREADS.getAllThreadIds()) {
      final var info = THREADS.getThreadInfo(id);
      if (info != null && info.getThreadName().equals("recorder")) {
        return THREADS.getThreadCpuTime(id);
      }
    }
    throw new IllegalStateException("the recorder's thread is gone");
  }

  // ---- throughput ----

  private void throughput(final Path folder, final int seconds, final Durability durability)
      throws IOException {
    final Recorder recorder = start(folder, durability, reason -> {});
    final ExitRingWriter sink = recorder.sink(0);
    final long origin = System.nanoTime();
    long n = 0;
    // What the disk takes is waited for: with a sync of each batch there is not much.
    final long warm = System.nanoTime() + 1_000_000_000L;
    while (n < WARM_UP && System.nanoTime() < warm) {
      exit(sink, n++, origin);
    }
    final long first = n;
    final long cpu = recorderCpu();
    final long allocated = THREADS.getCurrentThreadAllocatedBytes();
    final long begin = System.nanoTime();
    final long end = begin + seconds * 1_000_000_000L;
    while (event.hostTime + origin < end) {
      exit(sink, n++, origin);
    }
    final long elapsed = System.nanoTime() - begin;
    final long heap = THREADS.getCurrentThreadAllocatedBytes() - allocated;
    final long cpuUsed = recorderCpu() - cpu;
    final long count = n - first;
    final long waits = sink.waits();
    recorder.close();
    System.out.printf(
        Locale.ROOT,
        "durability %s: %.2f million records a second for %d s; %.2f million a second of the"
            + " recorder's CPU; the vCPU waited %d times and allocated %.3f bytes an exit%n",
        durability.name().toLowerCase(Locale.ROOT),
        count * 1e3 / elapsed,
        seconds,
        count * 1e3 / cpuUsed,
        waits,
        (double) heap / count);
    if (TraceFolder.load(folder).records() != n) {
      throw new IllegalStateException("records are missing");
    }
  }

  private void exit(final ExitRingWriter sink, final long n, final long origin) {
    synthetic.fill(event, n);
    event.hostTime = stamps.nanoTime() - origin;
    sink.write(event);
  }

  // ---- latency ----

  private void latency(final Path folder, final int seconds, final int rate) {
    final Recorder recorder = start(folder, Durability.NONE, new Queued());
    final ExitRingWriter sink = recorder.sink(0);
    final long origin = System.nanoTime();
    final long interval = 1_000_000_000L / rate;
    long n = 0;
    for (; n < WARM_UP; n++) {
      exit(sink, n, origin);
      inRing[(int) n & DUE_KEPT - 1] = 0;
    }
    final long count = (long) seconds * rate;
    final Histogram clock = new Histogram(MAX_NANOS, 3);
    for (int i = 0; i < WARM_UP; i++) {
      final long before = System.nanoTime();
      clock.recordValue(System.nanoTime() - before);
    }
    final long begin = System.nanoTime();
    for (long i = 0; i < count; i++, n++) {
      final long due = begin + i * interval;
      long now = System.nanoTime();
      while (now < due) {
        Thread.onSpinWait();
        now = System.nanoTime();
      }
      exit(sink, n, origin);
      final long done = System.nanoTime();
      inRing[(int) n & DUE_KEPT - 1] = done;
      cost.recordValue(done - now);
      toRing.recordValue(done - due);
    }
    recorder.close();
    System.out.printf(
        Locale.ROOT,
        "%,d exits, %,d a second; nanoseconds%n%-24s %9s %9s %9s %9s %9s %11s%n",
        count,
        rate,
        "",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "p99.99",
        "max");
    print("clock", clock, 0);
    print("exit, its cost", cost, 0);
    print("the same, less a clock", cost, clock.getValueAtPercentile(50));
    print("exit to ring, from due", toRing, 0);
    print("ring to queue", toQueue, 0);
  }

  private static void print(final String name, final Histogram times, final long less) {
    System.out.printf(
        Locale.ROOT,
        "%-24s %9d %9d %9d %9d %9d %11d%n",
        name,
        times.getValueAtPercentile(50) - less,
        times.getValueAtPercentile(90) - less,
        times.getValueAtPercentile(99) - less,
        times.getValueAtPercentile(99.9) - less,
        times.getValueAtPercentile(99.99) - less,
        times.getMaxValue() - less);
  }

  /** Notes when each record of a batch has come to the queue. */
  private final class Queued implements RecorderListener {
    @Override
    public void failed(final String reason) {
      System.err.println("bench: the recording failed: " + reason);
    }

    @Override
    public void appended(final long nextSequence) {
      final long now = System.nanoTime();
      for (; queued < nextSequence; queued++) {
        final long since = inRing[(int) queued & DUE_KEPT - 1];
        if (since > 0 && since <= now) {
          toQueue.recordValue(now - since);
        }
      }
    }
  }
}
