package dev.vmexit.trace;

import dev.vmexit.exit.ExitDecoder;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitRing;
import dev.vmexit.exit.ExitRingRemains;
import dev.vmexit.exit.ExitRingSnapshot;
import dev.vmexit.memory.HostMemory;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * Reads a trace while it is being recorded, up to its last exit, and to its end when the recording
 * ends, however it does. It only looks: at the queue by reading its files, at the ring by copying
 * what is in it. Never waits: the caller does, as it likes. One vCPU. Belongs to the thread that
 * opened it.
 */
public final class TraceFollower implements TraceView, AutoCloseable {
  private final Path folder;
  private final TraceManifest manifest;
  private final ExitDecoder decoder = new ExitDecoder();
  private final ExitDecoder ringDecoder = new ExitDecoder();
  private final BatchReader batch = new BatchReader();
  private final Arena arena = Arena.ofConfined();
  private final MemorySegment room =
      arena.allocate(BatchWriter.MAX_LENGTH + ExitDecoder.SLACK, Long.BYTES);
  private final ExitEvent kept = new ExitEvent();

  private final LiveQueue queue;
  private int left;
  private int offset;
  private int length;

  private ExitRing ring;
  private ExitRingSnapshot snapshot;
  private ExitRingRemains remains;

  private TraceReader rest;
  private long expected;
  private boolean keptWaits;
  private boolean ended;
  private long records;
  private long gaps;
  private long notKept;

  private TraceFollower(final Path folder, final TraceManifest manifest) {
    this.folder = folder;
    this.manifest = manifest;
    queue = new LiveQueue(() -> files(folder), manifest.trace());
  }

  /**
   * Opens a trace; one whose recording has ended is read as by a {@link TraceReader}.
   *
   * @throws TraceException if it is no trace
   */
  public static TraceFollower open(final Path folder) {
    final TraceManifest manifest = TraceFolder.load(folder);
    if (manifest.vcpus() != 1) {
      throw new TraceException(folder + ": has " + manifest.vcpus() + " vCPUs, 1 can be followed");
    }
    return new TraceFollower(folder, manifest);
  }

  @Override
  public TraceManifest manifest() {
    return rest == null ? manifest : rest.manifest();
  }

  @Override
  public long records() {
    return records;
  }

  @Override
  public long gaps() {
    return gaps;
  }

  @Override
  public long notKept() {
    return notKept;
  }

  @Override
  public List<TraceDamage> damages() {
    return rest == null ? List.of() : rest.damages();
  }

  /** Whether the recording has ended, and all of it was delivered. */
  public boolean ended() {
    return ended;
  }

  /**
   * Reads the next record, if there is one by now.
   *
   * @return false where there is none: then {@link #ended} says whether one may come
   * @throws TraceException if a file cannot be read at all
   */
  public boolean next(final ExitEvent event) {
    try {
      if (!take(event)) {
        return false;
      }
    } catch (final IOException | InternalError e) {
      throw new TraceException(folder + ": cannot be read: " + e.getMessage(), e);
    }
    if (event.kind != ExitKind.GAP) {
      records++;
    } else if (event.detail == ExitEvent.GAP_NOT_KEPT) {
      notKept += event.value;
    } else {
      gaps += event.value;
    }
    return true;
  }

  private boolean take(final ExitEvent event) throws IOException {
    if (keptWaits) {
      keptWaits = false;
      ExitEvents.copy(kept, event);
      return accept(event);
    }
    if (rest != null) {
      return last(event);
    }
    // Asked before looking: what was written by a recorder that is gone is then seen.
    final boolean recording = remains != null || left > 0 || RecordingLock.isTaken(folder);
    if (fromRing(event) || fromQueue(event) || (look() && fromRing(event))) {
      return accept(event);
    }
    if (recording) {
      return false;
    }
    rest = TraceReader.open(folder);
    rest.seek(new TracePoint(TracePoint.Unit.SEQUENCE, expected));
    return last(event);
  }

  private boolean last(final ExitEvent event) {
    ended = ended || !rest.next(event);
    return !ended && accept(event);
  }

  /** Puts a gap before a record that is not the next one. */
  private boolean accept(final ExitEvent event) {
    if (event.sequence > expected && rest == null) {
      ExitEvents.copy(event, kept);
      keptWaits = true;
      event.clearPayload();
      event.kind = ExitKind.GAP;
      event.sequence = expected;
      event.address = expected;
      event.value = kept.sequence - expected;
      event.detail = manifest.keep().isEmpty() ? ExitEvent.GAP_UNKNOWN : ExitEvent.GAP_NOT_KEPT;
    }
    expected = event.sequence + (event.kind == ExitKind.GAP ? event.value : 1);
    return true;
  }

  // ---- queue ----

  private boolean fromQueue(final ExitEvent event) throws IOException {
    while (left > 0 || nextBatch()) {
      left--;
      final int size = HostMemory.getShort(room.address() + offset);
      offset += Short.BYTES;
      if (offset > length || size > length - offset) {
        throw new IOException("a batch is shorter than its records");
      }
      decode(event, size);
      offset += size;
      // Some may have come from the ring already.
      if (event.sequence >= expected) {
        return true;
      }
    }
    return false;
  }

  private void decode(final ExitEvent event, final int size) throws IOException {
    try {
      decoder.decode(room.address() + offset, size, event);
    } catch (final IllegalStateException e) {
      throw new IOException(e.getMessage(), e);
    }
  }

  private boolean nextBatch() throws IOException {
    do {
      if (!queue.next(batch)) {
        return false;
      }
    } while (batch.nextSequence() <= expected);
    length = batch.unpack(room);
    left = batch.count();
    offset = 0;
    decoder.reset();
    return true;
  }

  private static List<Path> files(final Path folder) {
    return Files.isDirectory(TraceFolder.queue(folder))
        ? TraceFolder.queueFiles(folder)
        : List.of();
  }

  // ---- ring ----

  /** Whether there is something new in the ring. */
  private boolean look() throws IOException {
    if (ring == null) {
      final Path path = TraceFolder.ring(folder, 0);
      if (!Files.exists(path)) {
        return false;
      }
      ring = ExitRing.openReadOnly(path);
      if (ring.trace() != manifest.trace()) {
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
    ringDecoder.reset();
    return true;
  }

  private boolean fromRing(final ExitEvent event) {
    while (remains != null) {
      if (!remains.next() || !isNext(event)) {
        remains = null; // the rest when it is written, or by the queue
        return false;
      }
      if (event.sequence == expected) {
        return true;
      }
    }
    return false;
  }

  /** Decodes a record; false where it is none, or one before it was not seen. */
  private boolean isNext(final ExitEvent event) {
    event.sequence = -1;
    if (!ringDecoder.isReady() && !remains.isFull()) {
      return true;
    }
    try {
      ringDecoder.decode(remains.address(), remains.length(), event);
    } catch (final IllegalStateException e) {
      return false;
    }
    return event.sequence <= expected;
  }

  @Override
  public void close() {
    arena.close();
    try {
      queue.close();
    } catch (final IOException e) {
      throw new TraceException(folder + ": cannot be closed: " + e.getMessage(), e);
    } finally {
      if (ring != null) {
        ring.close();
      }
      if (rest != null) {
        rest.close();
      }
    }
  }
}
