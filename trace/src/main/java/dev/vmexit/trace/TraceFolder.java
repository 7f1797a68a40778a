package dev.vmexit.trace;

import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/**
 * Names of what a trace folder holds.
 *
 * <pre>
 *   manifest.properties   what was recorded, and whether it was closed in order
 *   queue/                Chronicle Queue, one excerpt a batch
 *   ring-N.dat            exit ring of vCPU N; gone once everything of it is in the queue
 *   memory.bin.gz         guest memory as it was before the first instruction
 * </pre>
 */
public final class TraceFolder {
  private TraceFolder() {}

  /** The manifest. */
  public static Path manifest(final Path folder) {
    return folder.resolve("manifest.properties");
  }

  /** The queue's folder. */
  public static Path queue(final Path folder) {
    return folder.resolve("queue");
  }

  /** The ring of a vCPU. */
  public static Path ring(final Path folder, final int vcpu) {
    return folder.resolve("ring-" + vcpu + ".dat");
  }

  /** The initial memory. */
  public static Path memory(final Path folder) {
    return folder.resolve("memory.bin.gz");
  }

  /**
   * Makes an empty folder; one that is there and empty will do.
   *
   * @throws TraceException if something is there already
   */
  static void create(final Path folder) {
    try {
      if (Files.isDirectory(folder)) {
        try (Stream<Path> content = Files.list(folder)) {
          if (content.findAny().isPresent()) {
            throw new TraceException(
                folder + ": exists and is not empty: choose another --record folder");
          }
        }
      }
      Files.createDirectories(folder);
    } catch (final FileAlreadyExistsException e) {
      throw new TraceException(folder + ": exists and is not a folder", e);
    } catch (final IOException e) {
      throw new TraceException(folder + ": cannot be created: " + e, e);
    }
  }

  /**
   * Reads the manifest of a folder.
   *
   * @throws TraceException if it is no trace
   */
  public static TraceManifest load(final Path folder) {
    if (!Files.exists(folder)) {
      throw new TraceException(folder + ": no such trace");
    }
    if (!Files.isDirectory(folder)) {
      throw new TraceException(folder + ": not a trace (not a folder)");
    }
    return TraceManifest.load(manifest(folder));
  }
}
