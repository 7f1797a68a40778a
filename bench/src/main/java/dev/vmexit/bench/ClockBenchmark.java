package dev.vmexit.bench;

import dev.vmexit.vm.TscClock;
import java.util.concurrent.TimeUnit;
import org.agrona.concurrent.NanoClock;
import org.agrona.concurrent.SystemNanoClock;
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
import org.openjdk.jmh.annotations.Warmup;

/** One read of the clock that the times of the records come from. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class ClockBenchmark {
  private static final long CALIBRATION = 20_000_000;

  /** As of run --timestamps. */
  @Param({"nano", "tsc"})
  public String timestamps;

  private NanoClock clock;

  /** Makes the clock. */
  @Setup(Level.Trial)
  public void setUp() {
    if (timestamps.equals("tsc") && !TscClock.isAvailable()) {
      throw new IllegalStateException("this processor has no invariant TSC");
    }
    clock =
        timestamps.equals("tsc")
            ? TscClock.begin(SystemNanoClock.INSTANCE).end(CALIBRATION)
            : SystemNanoClock.INSTANCE;
  }

  /** One read. */
  @Benchmark
  public long read() {
    return clock.nanoTime();
  }
}
