package dev.vmexit.bench;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.replay.ReplayEngine;
import dev.vmexit.replay.ReplayResult;
import dev.vmexit.trace.TraceReader;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Re-feeding a whole trace, and reading it alone. Needs {@code -jvmArgsAppend
 * -Dvmexit.trace=FOLDER}; the auxiliary counter {@code records} is records a second.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 4, time = 3)
@Measurement(iterations = 5, time = 3)
@Fork(1)
public class ReplayBenchmark {
  private Path folder;

  /** Finds the trace. */
  @Setup(Level.Trial)
  public void setUp() {
    final String name = System.getProperty("vmexit.trace");
    if (name == null) {
      throw new IllegalStateException("give a trace: -jvmArgsAppend -Dvmexit.trace=FOLDER");
    }
    folder = Path.of(name);
  }

  /** What is counted beside whole traces. */
  @State(Scope.Thread)
  @AuxCounters(AuxCounters.Type.OPERATIONS)
  public static class Counters {
    /** Records read. */
    public long records;
  }

  /** Decoder, shadow MMU and all checks. */
  @Benchmark
  public ReplayResult replay(final Counters counters) {
    try (TraceReader reader = TraceReader.open(folder)) {
      final ReplayResult result = ReplayEngine.replay(reader);
      if (!result.agrees()) {
        throw new IllegalStateException(result.difference().toString());
      }
      counters.records += result.records();
      return result;
    }
  }

  /** Queue and record decoding alone. */
  @Benchmark
  public long read(final Counters counters) {
    final ExitEvent event = new ExitEvent();
    try (TraceReader reader = TraceReader.open(folder)) {
      while (reader.next(event)) {
        counters.records++;
      }
      return reader.records();
    }
  }
}
