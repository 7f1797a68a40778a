package dev.vmexit.trace;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/**
 * Names of what a trace folder holds.
 *
 * <pre>
 *   manifest.properties   what was recorded, and whether it was closed in order
 *   queue/                Chronicle Queue, one excerpt a batch
 *   ring-N.dat            exit ring of vCPU N; gone once everything of it is in the queue
 *   memory.bin.gz         guest memory as it was before the first instruction
 *   vcpu-N.state          registers of vCPU N then: StateLayout's block up to its TLB
 *   recording.lock        locked by the recorder as long as it lives
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

  /**
   * The queue's files, oldest first.
   *
   * @throws TraceException if the folder is missing
   */
  static List<Path> queueFiles(final Path folder) {
    final Path queue = queue(folder);
    if (!Files.isDirectory(queue)) {
      throw new TraceException(folder + ": truncated, no " + queue.getFileName());
    }
    try (Stream<Path> files = Files.list(queue)) {
      return files.filter(file -> file.toString().endsWith(".cq4")).sorted().toList();
    } catch (final IOException e) {
      throw new TraceException(folder + ": cannot be read: " + why(e), e);
    }
  }

  /** The ring of a vCPU. */
  public static Path ring(final Path folder, final int vcpu) {
    return folder.resolve("ring-" + vcpu + ".dat");
  }

  /** Whether a file is the ring of some vCPU. */
  static boolean isRing(final Path file) {
    return file.getFileName().toString().matches("ring-\\d+\\.dat");
  }

  /** What the recorder holds a lock on. */
  static Path lock(final Path folder) {
    return folder.resolve("recording.lock");
  }

  /** A vCPU's initial registers. */
  public static Path state(final Path folder, final int vcpu) {
    return folder.resolve("vcpu-" + vcpu + ".state");
  }

  /** The initial memory. */
  public static Path memory(final Path folder) {
    return folder.resolve("memory.bin.gz");
  }

  /**
   * Makes an empty folder; one that is there and empty will do.
   *
   * @return whether it was not there before
   * @throws TraceException if something is there already
   */
  static boolean create(final Path folder) {
    try {
      final boolean there = Files.isDirectory(folder);
      if (there) {
        try (Stream<Path> content = Files.list(folder)) {
          if (content.findAny().isPresent()) {
            throw new TraceException(
                folder + ": exists and is not empty: choose another --record folder");
          }
        }
      }
      Files.createDirectories(folder);
      return !there;
    } catch (final FileAlreadyExistsException e) {
      throw new TraceException(
          folder + ": exists and is not a folder: choose another --record folder", e);
    } catch (final IOException e) {
      throw new TraceException(
          folder + ": cannot be created (" + why(e) + "): choose another --record folder", e);
    }
  }

  /** What the host said, without the name of an exception. */
  static String why(final IOException e) {
    return switch (e) {
      case AccessDeniedException denied -> denied.getFile() + ": permission denied";
      case NoSuchFileException absent -> absent.getFile() + ": no such folder";
      case FileSystemException other when other.getReason() != null ->
          other.getFile() + ": " + other.getReason();
      default -> e.toString();
    };
  }

  /** Brings all that is in a folder to the disk, and that it is there. */
  static void sync(final Path folder) throws IOException {
    try (Stream<Path> all = Files.walk(folder)) {
      for (final Path path : (Iterable<Path>) all::iterator) {
        // A folder can be synced as a file can.
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
          channel.force(true);
        }
      }
    }
  }

  /** Takes away what a recording that did not come about has put into a folder. */
  static void clear(final Path folder, final boolean folderToo) {
    try (Stream<Path> all = Files.walk(folder)) {
      for (final Path path : all.sorted(Comparator.reverseOrder()).toList()) {
        if (folderToo || !path.equals(folder)) {
          Files.deleteIfExists(path);
        }
      }
    } catch (final IOException e) {
      // What made the recording fail says more than that its remains are still there.
      return;
    }
  }

  /**
   * Reads the manifest of a folder, or of a packed trace.
   *
   * @throws TraceException if it is no trace
   */
  public static TraceManifest load(final Path folder) {
    if (!Files.exists(folder)) {
      throw new TraceException(folder + ": no such trace");
    }
    if (!Files.isDirectory(folder) && !TraceFiles.isPacked(folder)) {
      throw new TraceException(folder + ": not a trace (neither a folder nor a packed one)");
    }
    return TraceManifest.load(manifest(folder));
  }
}
