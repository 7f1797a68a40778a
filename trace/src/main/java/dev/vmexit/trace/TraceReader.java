package dev.vmexit.trace;

import dev.vmexit.exit.ExitDecoder;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitRing;
import dev.vmexit.exit.ExitRingRemains;
import dev.vmexit.memory.HostMemory;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Reads a trace from its first record to its last: the queue, and then what a killed process left
 * in the rings. Belongs to the thread that opened it: {@link #close} of another is a {@link
 * WrongThreadException}.
 *
 * <p>Where records are missing the reader delivers one of kind {@link ExitKind#GAP} in their place
 * and goes on behind them; {@link #damages} says why.
 */
public final class TraceReader implements TraceView, AutoCloseable {
  private final Path folder;
  private final TraceManifest manifest;
  private final boolean packed;
  private final boolean recording;
  private final List<Path> files;
  private final BatchReader batchReader = new BatchReader();
  private final ExitDecoder[] decoders;
  private final long[] expected;
  private final List<TraceDamage> damages = new ArrayList<>();
  private final List<TraceDamage> pending = new ArrayList<>();

  // The batch in work; close() gives it back. Closing a shared arena would stop every thread of the
  // process for a moment, at each of many short readings.
  private final Arena arena = Arena.ofConfined();
  private final MemorySegment batchRoom =
      arena.allocate(BatchWriter.MAX_LENGTH + ExitDecoder.SLACK, Long.BYTES);
  private final long batch = batchRoom.address();
  private int batchRing;
  private long batchSequence;
  private int batchLeft;
  private int offset;
  private int length;

  private int nextFile;
  private BatchSource file;
  private boolean queueDone;
  private int nextRing;
  private ExitRing ring;
  private Path ringFile;
  private ExitRingRemains remains;
  private long ringSequence;

  private TracePoint start = TracePoint.START;
  private boolean skipping;
  private boolean seeking;
  private ExitEvent afterGap;
  private long lastRetired;
  private long lastTime;
  private long records;
  private long gaps;
  private long notKept;
  private long droppedSeen;
  private boolean closed;

  TraceReader(final Path folder, final TraceManifest manifest) {
    this(folder, manifest, false);
  }

  private TraceReader(final Path folder, final TraceManifest manifest, final boolean recording) {
    this.recording = recording;
    this.folder = folder;
    this.manifest = manifest;
    decoders = new ExitDecoder[manifest.vcpus()];
    expected = new long[manifest.vcpus()];
    for (int i = 0; i < decoders.length; i++) {
      decoders[i] = new ExitDecoder();
    }
    packed = TraceFiles.isPacked(folder);
    files = packed ? List.of(folder) : TraceFolder.queueFiles(folder);
  }

  /**
   * Opens a trace, a folder or packed, finished or not. Of a trace whose process died the first
   * reader completes the manifest; else nothing in the folder is touched.
   *
   * @throws TraceException if it is no trace, of a newer schema, or has no queue
   */
  public static TraceReader open(final Path folder) {
    TraceManifest manifest = TraceFolder.load(folder);
    boolean recording = false;
    if (!TraceFiles.isPacked(folder) && !manifest.complete() && manifest.recovered().isEmpty()) {
      recording = RecordingLock.isTaken(folder);
      if (!recording) {
        // It may have ended between the two looks.
        manifest = TraceFolder.load(folder);
        if (!manifest.complete() && manifest.recovered().isEmpty()) {
          manifest = TraceRecovery.complete(folder, manifest);
        }
      }
    }
    return new TraceReader(folder, manifest, recording);
  }

  @Override
  public TraceManifest manifest() {
    return manifest;
  }

  @Override
  public boolean recording() {
    return recording;
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
    return List.copyOf(damages);
  }

  /**
   * Goes to a place, in a time that grows with the logarithm of the trace's length.
   *
   * @param point the next record delivered is the first one at or behind it
   */
  public void seek(final TracePoint point) {
    try {
      closeFiles();
      nextFile = 0;
      queueDone = false;
      nextRing = 0;
      batchLeft = 0;
      afterGap = null;
      pending.clear();
      Arrays.fill(expected, 0);
      start = point;
      skipping = true;
      // The batches of several vCPUs are not in one order: then all are read.
      seeking = decoders.length == 1 && seekFile(point);
    } catch (final IOException | InternalError e) {
      throw new TraceException(folder + ": cannot be read: " + why(e), e);
    }
  }

  private boolean seekFile(final TracePoint point) throws IOException {
    final BatchSource.BatchKey key =
        switch (point.unit()) {
          case SEQUENCE -> BatchSource.BatchKey.SEQUENCE;
          case RETIRED -> BatchSource.BatchKey.RETIRED;
          case TIME -> BatchSource.BatchKey.TIME;
        };
    // Records with the same key may stand in the batch before.
    final long value = point.unit() == TracePoint.Unit.SEQUENCE ? point.value() : point.value() - 1;
    if (files.isEmpty()) {
      return false;
    }
    final int number = lastFileFrom(key, value);
    file = source(number);
    nextFile = number + 1;
    return file.seek(key, value, batchReader);
  }

  /** The last file whose first batch is at or before a place, or the first one. */
  private int lastFileFrom(final BatchSource.BatchKey key, final long value) throws IOException {
    int low = 0;
    int high = files.size() - 1;
    while (low < high) {
      final int middle = (low + high + 1) >>> 1;
      int probe = middle;
      while (probe <= high && !firstBatch(probe)) {
        probe++; // nothing in it can be read: the next one tells as much
      }
      if (probe <= high && key.of(batchReader) <= value) {
        low = probe;
      } else {
        high = middle - 1;
      }
    }
    return low;
  }

  private BatchSource source(final int number) throws IOException {
    return packed
        ? new PackedRecords(folder, manifest.trace())
        : new QueueFile(files.get(number), manifest.trace());
  }

  private boolean firstBatch(final int number) throws IOException {
    try (BatchSource candidate = source(number)) {
      return candidate.first(batchReader);
    }
  }

  /**
   * Reads the next record.
   *
   * @return false at the end
   * @throws TraceException if a file cannot be read at all
   */
  public boolean next(final ExitEvent event) {
    while (deliver(event)) {
      if (!skipping || start.isReached(event)) {
        skipping = false;
        if (event.kind != ExitKind.GAP) {
          records++;
        } else if (event.detail == ExitEvent.GAP_NOT_KEPT) {
          notKept += event.value;
        } else {
          gaps += event.value;
          droppedSeen += event.detail == ExitEvent.GAP_DROPPED ? event.value : 0;
        }
        return true;
      }
    }
    return false;
  }

  private boolean deliver(final ExitEvent event) {
    if (afterGap != null) {
      ExitEvents.copy(afterGap, event);
      afterGap = null;
      return true;
    }
    final int from = read(event);
    if (from < 0) {
      return end(event);
    }
    if (event.sequence > expected[from]) {
      final boolean begins = expected[from] == 0 && !manifest.keep().isEmpty();
      if (pending.isEmpty() && !begins) {
        // Nothing was wrong with any byte: the file that had them is gone.
        damaged(TraceFolder.queue(folder), 0, 0, from, "lacks a file, or a part of one");
      }
      afterGap = new ExitEvent();
      ExitEvents.copy(event, afterGap);
      gap(
          event,
          expected[from],
          event.sequence,
          pending.isEmpty() ? ExitEvent.GAP_NOT_KEPT : ExitEvent.GAP_DAMAGED);
    }
    lastRetired = event.retired;
    lastTime = event.hostTime;
    settle(afterGap == null ? event.sequence : afterGap.sequence);
    final ExitEvent last = afterGap == null ? event : afterGap;
    expected[from] = last.sequence + (last.kind == ExitKind.GAP ? last.value : 1);
    return true;
  }

  /** Behind the last record there may be some that are known to have been there. */
  private boolean end(final ExitEvent event) {
    final long missing = manifest.records() < 0 ? 0 : manifest.records() - sum(expected);
    if (missing > 0) {
      // Those that were dropped at the very end stand in no gap of the vCPU's.
      final boolean dropped = missing <= manifest.dropped() - droppedSeen && pending.isEmpty();
      if (!dropped && pending.isEmpty()) {
        pending.add(new TraceDamage(folder, 0, 0, expected[0], -1, "is truncated"));
      }
      settle(expected[0] + missing);
      event.retired = lastRetired;
      event.hostTime = lastTime;
      gap(
          event,
          expected[0],
          expected[0] + missing,
          dropped ? ExitEvent.GAP_DROPPED : ExitEvent.GAP_DAMAGED);
      expected[0] += missing;
      return true;
    }
    settle(manifest.records() < 0 ? -1 : expected[0]);
    return false;
  }

  private static long sum(final long[] counts) {
    long sum = 0;
    for (final long count : counts) {
      sum += count;
    }
    return sum;
  }

  /**
   * Reads all of it.
   *
   * @return records in the queue, records in the rings alone, and what their numbers reach to
   */
  long[] count() {
    seek(TracePoint.START);
    final ExitEvent event = new ExitEvent();
    final long[] count = new long[3];
    while (next(event)) {
      if (event.kind != ExitKind.GAP) {
        count[queueDone ? 1 : 0]++;
      }
    }
    count[2] = sum(expected);
    return count;
  }

  /** Turns an event into a gap; of what it was its time remains. */
  private static void gap(final ExitEvent event, final long first, final long next, final int why) {
    final ExitEvent gap = new ExitEvent();
    gap.retired = event.retired;
    gap.hostTime = event.hostTime;
    gap.vcpu = event.vcpu;
    gap.kind = ExitKind.GAP;
    gap.sequence = first;
    gap.address = first;
    gap.value = next - first;
    gap.detail = why;
    ExitEvents.copy(gap, event);
  }

  private void damaged(
      final Path where, final long from, final long to, final int ofRing, final String what) {
    pending.add(new TraceDamage(where, from, to, expected[ofRing], -1, what));
  }

  /** Now it is known up to where records are missing. */
  private void settle(final long next) {
    if (pending.isEmpty()) {
      return;
    }
    for (final TraceDamage damage : pending) {
      damages.add(
          new TraceDamage(
              damage.file(),
              damage.fromOffset(),
              damage.toOffset(),
              damage.firstSequence(),
              next < 0 ? -1 : Math.max(next, damage.firstSequence()),
              damage.what()));
    }
    pending.clear();
  }

  /** Reads one record from where one is left; returns its ring, or -1 at the end. */
  private int read(final ExitEvent event) {
    try {
      while (!queueDone) {
        if (batchLeft > 0) {
          if (record(event)) {
            return batchRing;
          }
          continue;
        }
        if (!nextBatch()) {
          queueDone = true;
        }
      }
      return leftBehind(event);
    } catch (final IOException | InternalError e) {
      throw new TraceException(folder + ": cannot be read: " + why(e), e);
    }
  }

  /** What is wrong, without what only a programmer could read. */
  private static String why(final Throwable e) {
    return switch (e) {
      case InternalError fault -> "a file became shorter meanwhile";
      case FileSystemException host -> host.getFile() + ": " + host.getReason();
      default -> e.getMessage();
    };
  }

  private boolean record(final ExitEvent event) {
    try {
      if (offset + Short.BYTES > length) {
        throw new IllegalStateException("batch is shorter than its records");
      }
      final int recordLength = HostMemory.getShort(batch + offset);
      offset += Short.BYTES;
      if (recordLength > length - offset) {
        throw new IllegalStateException("record length=" + recordLength);
      }
      decoders[batchRing].decode(batch + offset, recordLength, event);
      if (event.sequence != batchSequence) {
        throw new IllegalStateException(
            "record says number " + event.sequence + " at place " + batchSequence);
      }
      if (event.kind == ExitKind.GAP && (event.value <= 0 || event.sequence + event.value < 0)) {
        throw new IllegalStateException("gap of " + event.value);
      }
      offset += recordLength;
      batchSequence += event.kind == ExitKind.GAP ? event.value : 1;
      batchLeft--;
      return true;
    } catch (final IllegalStateException e) {
      batchLeft = 0;
      final long at = file.batchOffset();
      damaged(file.file(), at, at, batchRing, "has a batch that is wrong: " + e.getMessage());
      return false;
    }
  }

  private boolean nextBatch() throws IOException {
    while (true) {
      if (file == null) {
        if (nextFile >= files.size()) {
          return false;
        }
        file = source(nextFile++);
      }
      final boolean there = file.next(batchReader, expected[0]);
      if (file.damage() != null) {
        damaged(file.file(), file.damageFrom(), file.damageTo(), 0, file.damage());
      }
      if (!there) {
        file.close();
        file = null;
      } else if (take()) {
        return true;
      }
    }
  }

  /** Takes the batch that was read, unless it makes no sense. */
  private boolean take() {
    final long at = file.batchOffset();
    final int from = batchReader.ring();
    if (from >= decoders.length) {
      damaged(file.file(), at, at, 0, "has a batch of ring " + from);
      return false;
    }
    if (seeking) {
      seeking = false;
      expected[from] = batchReader.firstSequence();
    }
    if (batchReader.firstSequence() < expected[from]) {
      damaged(file.file(), at, at, from, "has a batch out of order");
      return false;
    }
    try {
      length = batchReader.unpack(batchRoom);
    } catch (final IllegalStateException e) {
      damaged(file.file(), at, at, from, "has a batch that is wrong: " + e.getMessage());
      return false;
    }
    batchRing = from;
    batchSequence = batchReader.firstSequence();
    batchLeft = batchReader.count();
    offset = 0;
    decoders[from].reset();
    return true;
  }

  // ---- rings ----

  private int leftBehind(final ExitEvent event) throws IOException {
    while (true) {
      if (remains == null && !openRing()) {
        return -1;
      }
      final boolean there = remains.next();
      final String damage = remains.damage();
      if (damage != null) {
        damaged(ringFile, 0, 0, batchRing, damage);
      }
      if (!there) {
        ring.close();
        remains = null;
        continue;
      }
      if (ringRecord(event)) {
        return batchRing;
      }
    }
  }

  private boolean ringRecord(final ExitEvent event) {
    final ExitDecoder decoder = decoders[batchRing];
    if (remains.isFull() || remains.sequenceLow() != (ringSequence & 0xFFFF_FFFFL)) {
      decoder.reset();
    }
    if (!decoder.isReady() && !remains.isFull()) {
      return false;
    }
    try {
      decoder.decode(remains.address(), remains.length(), event);
    } catch (final IllegalStateException e) {
      decoder.reset();
      damaged(ringFile, 0, 0, batchRing, "has a record that is wrong: " + e.getMessage());
      return false;
    }
    ringSequence = event.sequence + (event.kind == ExitKind.GAP ? event.value : 1);
    if (seeking) {
      seeking = false;
      expected[batchRing] = event.sequence;
    }
    // In the queue too: the process died between the append and the commit.
    return event.sequence >= expected[batchRing];
  }

  private boolean openRing() throws IOException {
    // What a killed process left in the rings was packed with the rest.
    while (!packed && nextRing < decoders.length) {
      batchRing = nextRing;
      ringFile = TraceFolder.ring(folder, nextRing++);
      if (!Files.exists(ringFile)) {
        if (!manifest.complete()) {
          damaged(ringFile, 0, 0, batchRing, "is missing");
        }
        continue;
      }
      try {
        ring = ExitRing.openReadOnly(ringFile);
      } catch (final IOException e) {
        damaged(ringFile, 0, 0, batchRing, "cannot be read: " + e.getMessage());
        continue;
      }
      if (ring.number() != batchRing || ring.trace() != manifest.trace()) {
        damaged(ringFile, 0, 0, batchRing, "is a ring of another trace");
        ring.close();
        continue;
      }
      decoders[batchRing].reset();
      ringSequence = -1;
      remains = new ExitRingRemains(ring, expected[batchRing]);
      return true;
    }
    return false;
  }

  private void closeFiles() throws IOException {
    if (remains != null) {
      ring.close();
      remains = null;
    }
    if (file != null) {
      file.close();
      file = null;
    }
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      arena.close();
      try {
        closeFiles();
      } catch (final IOException e) {
        throw new TraceException(folder + ": cannot be closed: " + why(e), e);
      }
    }
  }
}
