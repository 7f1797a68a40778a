package dev.vmexit.trace;

import java.io.IOException;
import java.nio.file.Path;

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
              count[1],
              count[0] + " records from the queue, " + (count[1] - count[0]) + " from the rings");
    }
    try {
      recovered.store(TraceFolder.manifest(folder));
    } catch (final IOException e) {
      // A folder that is not ours to write to, or a full disk: every reader recovers by itself.
      return recovered;
    }
    return recovered;
  }
}
