package dev.vmexit.bench;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitRingWriter;
import dev.vmexit.trace.Recorder;
import dev.vmexit.trace.RecorderOptions;
import dev.vmexit.trace.TraceFolder;
import dev.vmexit.trace.TraceManifest;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.EnumSet;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.agrona.concurrent.BackoffIdleStrategy;

/**
 * Records a trace of a given length with no guest: to see what a long one costs to search.
 * Arguments: the folder, GiB. Prints number, instructions and time of an exit close to its end.
 */
public final class LongTrace {
  private static final int RING_BYTES = 16 << 20;

  /** The place that is printed is so many exits before the end. */
  private static final int FROM_END = 10;

  /** So many exits are written from one look at the files to the next. */
  private static final int STEP = 1 << 16;

  private final SplittableRandom random = new SplittableRandom(1);
  private final ExitEvent event = new ExitEvent();

  private LongTrace() {}

  /** Records it. */
  public static void main(final String[] args) throws IOException {
    new LongTrace().record(Path.of(args[0]), Long.parseLong(args[1]) << 30);
  }

  private void record(final Path folder, final long bytes) throws IOException {
    final TraceManifest manifest =
        TraceManifest.starting(
            "benchmark",
            "long trace",
            "",
            List.of(),
            1,
            "soft",
            "nested",
            "none",
            "host",
            "none",
            Instant.EPOCH,
            EnumSet.allOf(ExitKind.class));
    final long start = System.nanoTime();
    try (Recorder recorder =
        Recorder.start(
            folder,
            manifest,
            RecorderOptions.blocking(RING_BYTES),
            () -> new BackoffIdleStrategy(100, 10, 1_000, 100_000),
            reason -> {
              throw new IllegalStateException(reason);
            })) {
      final ExitRingWriter sink = recorder.sink(0);
      while (size(TraceFolder.queue(folder)) < bytes) {
        for (int i = 0; i < STEP; i++) {
          next();
          sink.write(event);
        }
      }
    }
    System.err.printf(
        "%d exits, %.1f bytes each, %.1f million a second%n",
        event.sequence + 1,
        (double) size(TraceFolder.queue(folder)) / (event.sequence + 1),
        (event.sequence + 1) * 1e3 / (System.nanoTime() - start));
    final long retired = event.retired - FROM_END * 1_000L;
    System.out.printf(
        "%d %dinsn %dus%n",
        event.sequence - FROM_END, retired, TimeUnit.NANOSECONDS.toMicros(retired));
  }

  /** An exit like those of a device driver: few registers and times differ from the last. */
  private void next() {
    final ExitEvent to = event;
    final long bits = random.nextLong();
    to.clearPayload();
    to.kind = (bits & 3) == 0 ? ExitKind.MMIO : ExitKind.PIO;
    to.registers[0] = bits >>> 48;
    to.registers[2] = bits >>> 40 & 0xFFF;
    to.registers[4] += 8;
    to.registers[6] = 0xFFFF_C900_0000_0000L | bits & 0xFFFF0;
    to.rip = 0xFFFF_FFFF_8100_0000L + (bits & 0x3F) * 0x1234;
    to.rflags = 2 | (bits & 1) << 6;
    to.cr0 = 0x8005_0033L;
    to.cr3 = 0x0261_0000L;
    to.cr4 = 0x6F0;
    to.efer = 0xD01;
    to.mode = 8 | ExitEvent.MODE_PAGING;
    to.instructionLength = 1;
    to.instruction[0] = (byte) 0xEC;
    to.address = to.kind == ExitKind.MMIO ? 0xFEE0_0000L + (bits & 0xF0) : 0x3F8 + (bits & 7);
    to.value = bits & 0xFF;
    to.size = 1;
    to.guestTime = 800 + (bits >>> 8 & 0xFF);
    to.handlerTime = 100 + (bits >>> 16 & 0x3F);
    // An instruction a nanosecond: then one place has the same number in both.
    to.retired += 900 + (bits >>> 24 & 0xFF);
    to.hostTime = to.retired;
  }

  private static long size(final Path folder) throws IOException {
    long size = 0;
    try (Stream<Path> files = Files.list(folder)) {
      for (final Path file : files.toList()) {
        size += Files.size(file);
      }
    }
    return size;
  }
}
