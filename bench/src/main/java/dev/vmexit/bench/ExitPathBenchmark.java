package dev.vmexit.bench;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitRing;
import dev.vmexit.exit.ExitRingReader;
import dev.vmexit.exit.ExitRingWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.agrona.concurrent.BusySpinIdleStrategy;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * The exit path, from the exit to the record committed in its ring: one clock read, the event
 * filled as in {@link SyntheticExits}, encoded, committed.
 *
 * <p>{@code reader=none}: the same thread empties the ring every 1,024 exits; the cost without
 * traffic between cores. {@code reader=live}: another thread drains as the recorder does.
 */
@State(Scope.Thread)
@BenchmarkMode({Mode.AverageTime, Mode.SampleTime})
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 2)
@Measurement(iterations = 5, time = 2)
@Fork(1)
public class ExitPathBenchmark {
  /** Who drains. */
  @Param({"none", "live"})
  public String reader;

  private final ExitEvent event = new ExitEvent();
  private Path folder;
  private ExitRingWriter writer;
  private ExitRingReader ringReader;
  private Thread drainer;
  private volatile boolean running;
  private SyntheticExits synthetic;
  private long exits;
  private long start;

  /** Makes the ring, in a temporary folder. */
  @Setup(Level.Trial)
  public void setUp() throws IOException {
    folder = Files.createTempDirectory("vmexit-bench");
    writer =
        ExitRingWriter.create(
            folder.resolve("ring-0.dat"),
            8 << 20,
            0,
            EnumSet.allOf(ExitKind.class),
            BusySpinIdleStrategy.INSTANCE);
    final ExitRing ring = writer.file();
    ringReader = ExitRingReader.live(ring);
    synthetic = new SyntheticExits();
    start = System.nanoTime();
    if (reader.equals("live")) {
      running = true;
      drainer = new Thread(this::drain, "drainer");
      drainer.start();
    }
  }

  private void drain() {
    while (running) {
      if (ringReader.drain((buffer, offset, length) -> true, 1024) == 0) {
        LockSupport.parkNanos(50_000);
      } else {
        ringReader.commit();
      }
    }
  }

  /** Gives everything back. */
  @TearDown(Level.Trial)
  public void tearDown() throws Exception {
    running = false;
    if (drainer != null) {
      drainer.join();
    }
    writer.close();
    writer.file().close();
    synthetic.close();
    Files.delete(folder.resolve("ring-0.dat"));
    Files.delete(folder);
  }

  /** One exit. */
  @Benchmark
  public long exit() {
    final long n = ++exits;
    final ExitEvent to = event;
    synthetic.fill(to, n);
    to.hostTime = System.nanoTime() - start;
    writer.write(to);
    if (drainer == null && (n & 1023) == 0) {
      ringReader.drain((buffer, offset, length) -> true, 2048);
      ringReader.commit();
    }
    return to.sequence;
  }
}
