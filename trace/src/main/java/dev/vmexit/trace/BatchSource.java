package dev.vmexit.trace;

import java.io.IOException;
import java.nio.file.Path;

/** Batches in the order of their file, whatever has happened to it. */
interface BatchSource extends AutoCloseable {
  /** Where they are. */
  Path file();

  /**
   * Goes to the next batch that can be read.
   *
   * @param expected the first record that it should hold
   * @return false at the end
   */
  boolean next(BatchReader batch, long expected) throws IOException;

  /**
   * Goes to the last batch that starts at or before a place, or to the start.
   *
   * @param key what of a batch grows from one to the next
   * @return whether the batch starts at or before the place
   */
  boolean seek(BatchKey key, long value, BatchReader batch) throws IOException;

  /** Finds the first batch that can be read; the one that comes next stays the same. */
  boolean first(BatchReader batch) throws IOException;

  /** Where the batch that was delivered last is. */
  long batchOffset();

  /** What was wrong before the batch that was delivered last, or at the end; or null. */
  String damage();

  /** The first byte that is damaged. */
  long damageFrom();

  /** The first byte that is not damaged any more. */
  long damageTo();

  @Override
  void close() throws IOException;

  /** What of a batch is compared. */
  enum BatchKey {
    SEQUENCE,
    RETIRED,
    TIME;

    /** Of the batch's first record. */
    long of(final BatchReader batch) {
      return switch (this) {
        case SEQUENCE -> batch.firstSequence();
        case RETIRED -> batch.firstRetired();
        case TIME -> batch.firstTime();
      };
    }
  }
}
