package dev.vmexit.bench;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.boot.FlatLoader;
import dev.vmexit.boot.ImageFile;
import dev.vmexit.exit.NullExitSink;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.Vcpu;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.vm.VirtualMachine;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Speed of the software vCPU inside the guest, with no exit: retired instructions in a microsecond,
 * which is MIPS, on endless loops in 64-bit code under nested paging.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 2)
@Measurement(iterations = 5, time = 2)
@Fork(1)
public class InterpreterBenchmark {
  private static final int SLICE = 1_000_000;
  private static final long MEMORY = 64L << 20;

  /** Which loop runs; see {@link GuestLoops}. */
  @Param({"integer", "memory", "calls", "branches", "sha256"})
  public String loop;

  private GuestMemory memory;
  private VirtualMachine machine;
  private Vcpu vcpu;
  private long limit;

  /** Puts the loop into a machine. */
  @Setup(Level.Trial)
  public void setUp() {
    memory = GuestMemory.builder().ramWithHole(MEMORY).build();
    final BootEntry entry =
        FlatLoader.load(
            memory,
            ImageFile.of("loop", loop, GuestLoops.named(loop)),
            GuestLoops.ORIGIN,
            BootEntry.Mode.LONG64);
    machine =
        new VirtualMachine(
            memory,
            entry,
            new VirtualMachine.Options(
                "max",
                VirtualMachine.MmuKind.NESTED,
                VirtualMachine.ClockKind.VIRTUAL,
                0,
                value -> {},
                value -> {},
                false,
                () -> 0),
            new NullExitSink());
    vcpu = machine.vcpu();
  }

  /** Gives the memory back. */
  @TearDown(Level.Trial)
  public void tearDown() {
    machine.close();
    memory.close();
  }

  /** A million instructions. */
  @Benchmark
  @OperationsPerInvocation(SLICE)
  public long run() {
    limit += SLICE;
    final int reason = vcpu.enter(limit);
    final long retired = HostMemory.getLong(vcpu.state() + StateLayout.RETIRED);
    if (reason != VcpuExit.LIMIT || retired < limit || retired > limit + 1000) {
      throw new IllegalStateException(
          loop + " left the guest: reason=" + reason + ", retired=" + retired + " of " + limit);
    }
    return retired;
  }
}
