package dev.vmexit.trace;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Supplier;

/** The batches of a queue that is being written, over the ends of its files. Not thread-safe. */
final class LiveQueue implements AutoCloseable {
  private final Supplier<List<Path>> files;
  private final long trace;
  private QueueFile file;

  /**
   * Starts before the first batch.
   *
   * @param files the queue's files as they are at each call, oldest first
   */
  LiveQueue(final Supplier<List<Path>> files, final long trace) {
    this.files = files;
    this.trace = trace;
  }

  /** Goes to the next batch; false where there is none by now. */
  boolean next(final BatchReader batch) throws IOException {
    if (file == null && !open(after(null))) {
      return false;
    }
    while (!file.nextLive(batch)) {
      // A file that has a successor is written no more: but it may have been since it was read.
      // What decides is the very look at the folder that came before the file was read again.
      final Path next = after(file.file());
      if (next == null) {
        return false;
      }
      if (file.nextLive(batch)) {
        return true;
      }
      file.close();
      open(next);
    }
    return true;
  }

  private boolean open(final Path next) throws IOException {
    if (next == null) {
      return false;
    }
    file = new QueueFile(next, trace);
    return true;
  }

  /** The file that follows, or null. */
  private Path after(final Path current) {
    for (final Path candidate : files.get()) {
      if (current == null || candidate.compareTo(current) > 0) {
        return candidate;
      }
    }
    return null;
  }

  @Override
  public void close() throws IOException {
    if (file != null) {
      file.close();
      file = null;
    }
  }
}
