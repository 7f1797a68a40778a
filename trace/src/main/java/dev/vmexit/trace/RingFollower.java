package dev.vmexit.trace;

import dev.vmexit.exit.ExitDecoder;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitRing;
import dev.vmexit.exit.ExitRingRemains;
import dev.vmexit.exit.ExitRingSnapshot;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Looks at the exit ring of one vCPU while it is written and drained. Not thread-safe. */
final class RingFollower implements AutoCloseable {
  private final Path file;
  private final long trace;
  private final ExitDecoder decoder = new ExitDecoder();
  private ExitRing ring;
  private ExitRingSnapshot snapshot;
  private ExitRingRemains remains;

  RingFollower(final Path file, final long trace) {
    this.file = file;
    this.trace = trace;
  }

  /** Whether a look has found something that was not delivered yet. */
  boolean has() {
    return remains != null;
  }

  /** Whether there is something new in the ring. */
  boolean look(final long expected) throws IOException {
    if (ring == null) {
      if (!Files.exists(file)) {
        return false;
      }
      ring = ExitRing.openReadOnly(file);
      if (ring.trace() != trace) {
        ring.close();
        ring = null;
        return false;
      }
      snapshot = new ExitRingSnapshot(ring);
    }
    final ExitRing copy = snapshot.take();
    if (copy == null) {
      return false;
    }
    remains = new ExitRingRemains(copy, expected);
    decoder.reset();
    return true;
  }

  /** Delivers the record of a number; false where the last look has not found it. */
  boolean next(final ExitEvent event, final long expected) {
    while (remains != null) {
      final boolean there = remains.next();
      if (!there || !isNext(event, expected)) {
        // What was half written, or comes behind records that went to the queue meanwhile, is
        // looked at again: perhaps nothing more will be written.
        if (there || !remains.isWhole()) {
          snapshot.again();
        }
        remains = null;
        return false;
      }
      if (event.sequence == expected) {
        return true;
      }
    }
    return false;
  }

  /** Decodes a record; false where it is none, or one before it was not seen. */
  private boolean isNext(final ExitEvent event, final long expected) {
    event.sequence = -1;
    if (!decoder.isReady() && !remains.isFull()) {
      return true;
    }
    try {
      decoder.decode(remains.address(), remains.length(), event);
    } catch (final IllegalStateException e) {
      return false;
    }
    return event.sequence <= expected;
  }

  @Override
  public void close() {
    if (ring != null) {
      ring.close();
    }
  }
}
