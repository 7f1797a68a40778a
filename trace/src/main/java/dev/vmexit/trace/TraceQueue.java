package dev.vmexit.trace;

import java.nio.file.Path;
import net.openhft.chronicle.core.time.TimeProvider;
import net.openhft.chronicle.queue.RollCycles;
import net.openhft.chronicle.queue.impl.single.SingleChronicleQueue;
import net.openhft.chronicle.queue.impl.single.SingleChronicleQueueBuilder;

/** How the queue of a trace is set up; writer and reader must agree. */
final class TraceQueue {
  /** Bytes that are mapped at a time; the files are sparse. */
  private static final long BLOCK_SIZE = 16L << 20;

  /** How long a reader waits for a header that a killed process did not finish. */
  private static final long READ_TIMEOUT_MS = 250;

  private TraceQueue() {}

  /** Opens to append. The queue rolls when its clock comes to another day. */
  static SingleChronicleQueue append(final Path folder, final TimeProvider clock) {
    return builder(folder).timeProvider(clock).build();
  }

  /** Opens to read; nothing in the folder is touched. */
  static SingleChronicleQueue read(final Path folder) {
    return builder(folder).readOnly(true).timeoutMS(READ_TIMEOUT_MS).build();
  }

  private static SingleChronicleQueueBuilder builder(final Path folder) {
    return SingleChronicleQueueBuilder.binary(folder)
        // Its index pages are small: our readers need none.
        .rollCycle(RollCycles.FAST_DAILY)
        .blockSize(BLOCK_SIZE);
  }
}
