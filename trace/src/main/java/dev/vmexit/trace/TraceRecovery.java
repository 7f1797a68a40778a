package dev.vmexit.trace;

import dev.vmexit.exit.ExitRing;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.ToLongFunction;

/**
 * Completes the manifest of a trace whose process is gone: what is in the queue and in the rings is
 * all there will be. The rings stay as they are, so that nothing can be lost on the way.
 */
final class TraceRecovery {
  private TraceRecovery() {}

  /** The manifest, with how much there is and where; also in the folder if that can be written. */
  static TraceManifest complete(final Path folder, final TraceManifest manifest) {
    final TraceManifest recovered;
    try (TraceReader reader = new TraceReader(folder, manifest)) {
      final long[] count = reader.count();
      recovered =
          manifest.recovered(
              // Where the rings' ends are damaged they had more: that much is missing.
              Math.max(count[2], sum(folder, manifest, ExitRing::given)),
              sum(folder, manifest, ExitRing::dropped),
              count[0] + " records from the queue, " + count[1] + " from the rings");
    }
    try {
      recovered.store(TraceFolder.manifest(folder));
    } catch (final IOException e) {
      // A folder that is not ours to write to, or a full disk: every reader recovers by itself.
      return recovered;
    }
    return recovered;
  }

  /** What the vCPUs had counted, as far as their rings say. */
  private static long sum(
      final Path folder, final TraceManifest manifest, final ToLongFunction<ExitRing> counter) {
    long sum = 0;
    for (int vcpu = 0; vcpu < manifest.vcpus(); vcpu++) {
      final Path file = TraceFolder.ring(folder, vcpu);
      if (Files.exists(file)) {
        sum += count(file, manifest.trace(), counter);
      }
    }
    return sum;
  }

  private static long count(
      final Path file, final long trace, final ToLongFunction<ExitRing> counter) {
    try (ExitRing ring = ExitRing.openReadOnly(file)) {
      return ring.trace() == trace ? counter.applyAsLong(ring) : 0;
    } catch (final IOException e) {
      // The reader has found that too, and says so.
      return 0;
    }
  }
}
