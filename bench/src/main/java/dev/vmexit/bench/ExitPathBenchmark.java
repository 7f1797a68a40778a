package dev.vmexit.bench;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitRing;
import dev.vmexit.exit.ExitRingReader;
import dev.vmexit.exit.ExitRingWriter;
import dev.vmexit.memory.HostMemory;
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
 * filled from a vCPU's state outside the heap, encoded, committed. Each exit differs from the one
 * before in rip, flags, four registers, times, address and value.
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
  private static final int STATE_BYTES = 256;

  /** Who drains. */
  @Param({"none", "live"})
  public String reader;

  private final ExitEvent event = new ExitEvent();
  private Path folder;
  private ExitRingWriter writer;
  private ExitRingReader ringReader;
  private Thread drainer;
  private volatile boolean running;
  private long state;
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
    state = HostMemory.allocate(STATE_BYTES);
    for (int i = 0; i < STATE_BYTES; i += Long.BYTES) {
      HostMemory.putLong(state + i, 0xFFFF_8880_0000_0000L + i * 0x12345L);
    }
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
    HostMemory.free(state);
    Files.delete(folder.resolve("ring-0.dat"));
    Files.delete(folder);
  }

  /** One exit. */
  @Benchmark
  public long exit() {
    final long n = ++exits;
    final long at = state;
    // What the guest did meanwhile.
    HostMemory.putLong(at, n * 0x9E37_79B9L);
    HostMemory.putLong(at + 16, n & 0xFFF);
    HostMemory.putLong(at + 32, HostMemory.getLong(at + 32) + 8);
    HostMemory.putLong(at + 48, 0xFFFF_C900_0000_0000L | n << 4);

    final ExitEvent to = event;
    to.clearPayload();
    to.kind = (n & 3) == 0 ? ExitKind.MMIO : ExitKind.PIO;
    for (int i = 0; i < 16; i++) {
      to.registers[i] = HostMemory.getLong(at + i * Long.BYTES);
    }
    to.rip = 0xFFFF_FFFF_8100_0000L + (n & 0x3F) * 0x1234;
    to.rflags = 2 | (n & 1) << 6;
    to.cr0 = 0x8005_0033L;
    to.cr3 = 0x0261_0000L;
    to.cr4 = 0x6F0;
    to.efer = 0xD01;
    to.mode = 8 | ExitEvent.MODE_PAGING;
    to.interruptState = (int) n & 1;
    to.instructionLength = 1;
    to.instruction[0] = (byte) 0xEC;
    to.address = (n & 3) == 0 ? 0xFEE0_0000L + (n & 0xF0) : 0x3F8 + (n & 7);
    to.value = n & 0xFF;
    to.size = 1;
    to.write = (n & 2) != 0;
    to.retired = n * 1000;
    to.guestTime = 2000 + (n & 0xFF);
    to.handlerTime = 300;
    to.hostTime = System.nanoTime() - start;
    writer.write(to);
    if (drainer == null && (n & 1023) == 0) {
      ringReader.drain((buffer, offset, length) -> true, 2048);
      ringReader.commit();
    }
    return to.sequence;
  }
}
