package dev.vmexit.bench;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitRing;
import dev.vmexit.exit.ExitRingWriter;
import dev.vmexit.exit.ExitSink;
import dev.vmexit.exit.NullExitSink;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.concurrent.TimeUnit;
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
 * What an exit pays for a kind that is not recorded: the run loop's own question, and what follows
 * from the answer. {@code sink=none} is a run with no recording, {@code sink=off} one with {@code
 * --exits} of other kinds; their difference is the cost.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class UnwantedExitBenchmark {
  /** Which sink. */
  @Param({"none", "off"})
  public String sink;

  private final ExitEvent event = new ExitEvent();
  private ExitSink target;
  private ExitRing ring;
  private Path folder;

  /** Makes the sink. */
  @Setup(Level.Trial)
  public void setUp() throws IOException {
    folder = Files.createTempDirectory("vmexit-bench");
    final ExitRingWriter writer =
        ExitRingWriter.create(
            folder.resolve("ring-0.dat"),
            ExitRing.MIN_CAPACITY,
            0,
            EnumSet.of(ExitKind.HLT),
            BusySpinIdleStrategy.INSTANCE);
    ring = writer.file();
    target = sink.equals("off") ? writer : new NullExitSink();
    event.kind = ExitKind.PIO;
  }

  /** Gives everything back. */
  @TearDown(Level.Trial)
  public void tearDown() throws IOException {
    ring.close();
    Files.delete(folder.resolve("ring-0.dat"));
    Files.delete(folder);
  }

  /** One exit of a kind that is not kept. */
  @Benchmark
  public long exit() {
    event.value++;
    if (target.wants(event.kind)) {
      event.handlerTime = System.nanoTime();
      target.write(event);
    }
    return event.value;
  }
}
