package dev.vmexit.trace;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitRing;
import dev.vmexit.exit.RandomEvents;
import java.nio.file.Path;
import java.time.Instant;
import java.util.EnumSet;
import java.util.List;
import java.util.function.Consumer;
import org.agrona.concurrent.YieldingIdleStrategy;

/** Traces that several tests make. */
final class TestTraces {
  private TestTraces() {}

  /** A guest of which nothing is known. */
  static TraceManifest manifest() {
    return manifest(1);
  }

  /** The same with so many vCPUs. */
  static TraceManifest manifest(final int vcpus) {
    return TraceManifest.starting(
        "1",
        "random",
        "",
        List.of(),
        vcpus,
        "soft",
        "shadow",
        "model",
        "host",
        "none",
        Instant.EPOCH,
        EnumSet.allOf(ExitKind.class));
  }

  /** Starts to record by the smallest ring. */
  static Recorder start(final Path folder) {
    return start(folder, RecorderOptions.blocking(ExitRing.MIN_CAPACITY));
  }

  /** Starts to record. */
  static Recorder start(final Path folder, final RecorderOptions options) {
    return Recorder.start(
        folder, manifest(), options, () -> YieldingIdleStrategy.INSTANCE, reason -> {});
  }

  /**
   * Records random exits.
   *
   * @param change what is to be different in each
   * @return the folder
   */
  static Path record(
      final Path folder, final int records, final long seed, final Consumer<ExitEvent> change) {
    try (Recorder recorder = start(folder)) {
      final RandomEvents events = new RandomEvents(seed);
      final ExitEvent event = new ExitEvent();
      for (int i = 0; i < records; i++) {
        events.next(event);
        change.accept(event);
        recorder.sink(0).write(event);
      }
    }
    return folder;
  }
}
