package dev.vmexit.trace;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * Says that a trace is being recorded: the recorder holds a lock on a file of the folder, and the
 * kernel lets go of it when the process dies, however it dies.
 */
final class RecordingLock implements AutoCloseable {
  private final Path file;
  private final FileChannel channel;

  private RecordingLock(final Path file, final FileChannel channel) {
    this.file = file;
    this.channel = channel;
  }

  /** Takes the lock of a new folder. */
  static RecordingLock take(final Path folder) throws IOException {
    final Path file = TraceFolder.lock(folder);
    final FileChannel channel =
        FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
    try {
      // The file is new: who holds it only looks whether it is taken, for a moment.
      channel.lock();
    } catch (final IOException | RuntimeException e) {
      channel.close();
      throw e;
    }
    return new RecordingLock(file, channel);
  }

  /** Whether somebody is recording into a folder. */
  static boolean isTaken(final Path folder) {
    try (FileChannel channel =
        FileChannel.open(
            TraceFolder.lock(folder), StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      final FileLock lock = channel.tryLock();
      if (lock == null) {
        return true;
      }
      lock.release();
      return false;
    } catch (final OverlappingFileLockException e) {
      return true; // by this very process
    } catch (final IOException e) {
      return false; // no lock, or one that nobody but root could hold
    }
  }

  @Override
  public void close() {
    try {
      Files.deleteIfExists(file);
      channel.close();
    } catch (final IOException e) {
      // The trace is whole all the same; the process's end lets go of the lock.
      return;
    }
  }
}
