package dev.vmexit.trace;

import dev.vmexit.exit.ExitDecoder;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
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
 * what is in it. Never waits: the caller does, as it likes. Of several vCPUs each one's records
 * come in their order, and those of different ones as they are found. Belongs to the thread that
 * opened it.
 */
public final class TraceFollower implements TraceView, AutoCloseable {
  private final Path folder;
  private final TraceManifest manifest;
  private final BatchReader batch = new BatchReader();
  private final Arena arena = Arena.ofConfined();
  private final MemorySegment room =
      arena.allocate(BatchWriter.MAX_LENGTH + ExitDecoder.SLACK, Long.BYTES);
  private final ExitEvent kept = new ExitEvent();

  // One for each vCPU.
  private final ExitDecoder[] decoders;
  private final RingFollower[] rings;
  private final long[] expected;

  private final LiveQueue queue;
  private int left;
  private int offset;
  private int length;

  /** The vCPU whose record was read last. */
  private int vcpu;

  private TraceReader rest;
  private boolean keptWaits;
  private boolean ended;
  private long records;
  private long gaps;
  private long notKept;

  private TraceFollower(final Path folder, final TraceManifest manifest) {
    this.folder = folder;
    this.manifest = manifest;
    queue = new LiveQueue(() -> files(folder), manifest.trace());
    decoders = new ExitDecoder[manifest.vcpus()];
    rings = new RingFollower[manifest.vcpus()];
    expected = new long[manifest.vcpus()];
    for (int i = 0; i < rings.length; i++) {
      decoders[i] = new ExitDecoder();
      rings[i] = new RingFollower(TraceFolder.ring(folder, i), manifest.trace());
    }
  }

  /**
   * Opens a trace; one whose recording has ended is read as by a {@link TraceReader}.
   *
   * @throws TraceException if it is no trace
   */
  public static TraceFollower open(final Path folder) {
    return new TraceFollower(folder, TraceFolder.load(folder));
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
    final boolean recording = left > 0 || ringsHave() || RecordingLock.isTaken(folder);
    if (fromRings(event) || fromQueue(event) || (look() && fromRings(event))) {
      return accept(event);
    }
    if (recording) {
      return false;
    }
    rest = TraceReader.open(folder);
    if (expected.length == 1) {
      rest.seek(new TracePoint(TracePoint.Unit.SEQUENCE, expected[0]));
    }
    return last(event);
  }

  private boolean last(final ExitEvent event) {
    while (!ended) {
      if (!rest.next(event)) {
        ended = true;
      } else {
        vcpu = event.vcpu < expected.length ? event.vcpu : 0;
        if (event.sequence + span(event) > expected[vcpu]) {
          return accept(event);
        }
      }
    }
    return false;
  }

  private static long span(final ExitEvent event) {
    return event.kind == ExitKind.GAP ? event.value : 1;
  }

  /** Puts a gap before a record that is not the next one. */
  private boolean accept(final ExitEvent event) {
    if (event.sequence > expected[vcpu] && rest == null) {
      ExitEvents.copy(event, kept);
      keptWaits = true;
      event.clearPayload();
      event.kind = ExitKind.GAP;
      event.sequence = expected[vcpu];
      event.address = expected[vcpu];
      event.value = kept.sequence - expected[vcpu];
      event.detail = manifest.keep().isEmpty() ? ExitEvent.GAP_UNKNOWN : ExitEvent.GAP_NOT_KEPT;
    }
    expected[vcpu] = event.sequence + span(event);
    return true;
  }

  // ---- queue ----

  private boolean fromQueue(final ExitEvent event) throws IOException {
    while (left > 0 || nextBatch()) {
      left--;
      vcpu = batch.ring();
      final int size = HostMemory.getShort(room.address() + offset);
      offset += Short.BYTES;
      if (offset > length || size > length - offset) {
        throw new IOException("a batch is shorter than its records");
      }
      decode(event, size);
      offset += size;
      // Some may have come from the ring already.
      if (event.sequence >= expected[vcpu]) {
        return true;
      }
    }
    return false;
  }

  private void decode(final ExitEvent event, final int size) throws IOException {
    try {
      decoders[vcpu].decode(room.address() + offset, size, event);
    } catch (final IllegalStateException e) {
      throw new IOException(e.getMessage(), e);
    }
  }

  private boolean nextBatch() throws IOException {
    do {
      if (!queue.next(batch)) {
        return false;
      }
      if (batch.ring() >= expected.length) {
        throw new IOException("a batch is of ring " + batch.ring());
      }
    } while (batch.nextSequence() <= expected[batch.ring()]);
    length = batch.unpack(room);
    left = batch.count();
    offset = 0;
    decoders[batch.ring()].reset();
    return true;
  }

  private static List<Path> files(final Path folder) {
    return Files.isDirectory(TraceFolder.queue(folder))
        ? TraceFolder.queueFiles(folder)
        : List.of();
  }

  // ---- rings ----

  private boolean ringsHave() {
    for (final RingFollower ring : rings) {
      if (ring.has()) {
        return true;
      }
    }
    return false;
  }

  /** Whether there is something new in any ring. */
  private boolean look() throws IOException {
    boolean found = false;
    for (int i = 0; i < rings.length; i++) {
      found |= rings[i].look(expected[i]);
    }
    return found;
  }

  private boolean fromRings(final ExitEvent event) {
    for (int i = 0; i < rings.length; i++) {
      if (rings[i].next(event, expected[i])) {
        vcpu = i;
        return true;
      }
    }
    return false;
  }

  @Override
  public void close() {
    arena.close();
    try {
      queue.close();
    } catch (final IOException e) {
      throw new TraceException(folder + ": cannot be closed: " + e.getMessage(), e);
    } finally {
      for (final RingFollower ring : rings) {
        ring.close();
      }
      if (rest != null) {
        rest.close();
      }
    }
  }
}
