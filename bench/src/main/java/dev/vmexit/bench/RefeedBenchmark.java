package dev.vmexit.bench;

import dev.vmexit.replay.ReplayEngine;
import dev.vmexit.replay.ReplayResult;
import dev.vmexit.trace.TraceReader;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Records of a trace re-fed in a second, from the queue's files to the verdict: opening, reading,
 * decoding, the shadow MMU. {@code records} is the figure; a trace that does not agree fails.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 3, time = 3)
@Measurement(iterations = 5, time = 3)
@Fork(1)
public class RefeedBenchmark {
  /** A trace folder; {@code bench/run.sh refeed} records a boot where none is given. */
  @Param("trace")
  public String trace;

  /** What JMH reports beside the traces themselves. */
  @AuxCounters(AuxCounters.Type.OPERATIONS)
  @State(Scope.Thread)
  public static class Counters {
    /** Records verified in the iteration. */
    public long records;
  }

  /** One whole trace. */
  @Benchmark
  public ReplayResult refeed(final Counters counters) {
    final ReplayResult result;
    try (TraceReader reader = TraceReader.open(Path.of(trace))) {
      result = ReplayEngine.replay(reader);
    }
    if (!result.agrees()) {
      throw new IllegalStateException(trace + ": " + result.difference());
    }
    counters.records += result.records();
    return result;
  }
}
