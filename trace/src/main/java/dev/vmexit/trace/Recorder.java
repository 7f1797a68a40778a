package dev.vmexit.trace;

import dev.vmexit.exit.ExitRing;
import dev.vmexit.exit.ExitRingWriter;
import dev.vmexit.exit.OnFull;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;
import org.agrona.concurrent.IdleStrategy;

/**
 * Moves records from the exit rings into the queue, on a thread of its own named {@code recorder}.
 *
 * <p>A batch goes from a full record to before another. It is given back to its ring only after the
 * queue has it: at any moment each record is in the queue or in a ring's file, and a killed process
 * loses none that was committed. So a batch that waits for its end needs no time limit, and the
 * queue is opened only when a ring would be full soon: a guest starts faster without its classes,
 * and a short run opens it at its end.
 *
 * <p>On a full disk it waits for room, and with it the vCPUs when their rings are full. Where the
 * run ends meanwhile, what was not moved stays in the rings' files, and the trace is whole.
 *
 * <p>On another I/O error the recorder gives up: it tells the vCPUs' writers not to wait for it and
 * the listener what failed; what was not yet moved stays in the rings.
 */
public final class Recorder implements AutoCloseable {
  private static final int DRAIN_LIMIT = 4096;

  /**
   * From one look at the rings to the next: meanwhile a vCPU fills a small part of its own. Each
   * look takes time of the core that the vCPU, or its translator, could use, and cache lines.
   */
  private static final long LOOK_NANOS = TimeUnit.MILLISECONDS.toNanos(1);

  /** After so many records the next look follows at once. */
  private static final int BUSY = 512;

  /** From one look for room on a full disk to the next. */
  private static final long FULL_RETRY_NANOS = TimeUnit.MILLISECONDS.toNanos(50);

  private final Path folder;
  private final TraceManifest manifest;
  private final RecordingLock lock;
  private final List<RingSource> sources = new ArrayList<>();
  private final RecorderListener listener;
  private final RecorderOptions options;
  private final Thread thread;

  /** Counted down when the queue can be opened at any time, or never. */
  private final CountDownLatch ready = new CountDownLatch(1);

  /** Counted down when the queue is open, or could not be opened. */
  private final CountDownLatch opened = new CountDownLatch(1);

  /** Belongs to the recorder's thread; null until it is opened. */
  private QueueWriter queue;

  /** Somebody waits for the queue. */
  private volatile boolean openNow;

  /** There is nothing to be kept. */
  private volatile boolean abandoned;

  /** Why the queue could not be opened, or null. */
  private volatile Throwable openFailure;

  private volatile boolean closing;
  private volatile boolean stopping;
  private long synced;
  private boolean folderSynced;
  private int rolls;
  private boolean paused;

  /** The disk stayed full up to the end: the rings have the last records. */
  private boolean ringsLeft;

  private volatile String failure;
  private String endReason = "";
  private boolean closed;
  private boolean madeFolder;

  private Recorder(
      final Path folder,
      final TraceManifest described,
      final RecorderOptions options,
      final Supplier<IdleStrategy> writerIdle,
      final RecorderListener listener)
      throws IOException {
    this.folder = folder;
    manifest =
        described
            .ended(false, "", -1, 0, "")
            .identified(identity(folder, described))
            .keeping(options.keep());
    this.listener = listener;
    this.options = options;
    synced = options.clock().nanoTime();
    boolean started = false;
    lock = RecordingLock.take(folder);
    try {
      for (int vcpu = 0; vcpu < manifest.vcpus(); vcpu++) {
        sources.add(
            new RingSource(
                new ExitRingWriter(
                    ExitRing.create(
                        TraceFolder.ring(folder, vcpu),
                        options.ringCapacity(),
                        vcpu,
                        manifest.trace()),
                    manifest.kinds(),
                    options.onFull(),
                    writerIdle.get()),
                manifest.trace(),
                this::append));
      }
      QueueWriter.checkRoom(Files.createDirectory(TraceFolder.queue(folder)));
      manifest.store(TraceFolder.manifest(folder));
      started = true;
    } finally {
      if (!started) {
        sources.forEach(RingSource::close);
        lock.close();
      }
    }
    thread = new Thread(this::run, "recorder");
    thread.setDaemon(true);
  }

  /**
   * Makes the trace folder and starts recording with rings that block.
   *
   * @param ringCapacity bytes of each vCPU's ring, a power of two
   */
  public static Recorder start(
      final Path folder,
      final TraceManifest manifest,
      final int ringCapacity,
      final Supplier<IdleStrategy> writerIdle,
      final RecorderListener listener) {
    return start(folder, manifest, RecorderOptions.blocking(ringCapacity), writerIdle, listener);
  }

  /**
   * Makes the trace folder and starts recording.
   *
   * @param folder new, or empty
   * @param options how it is recorded
   * @param writerIdle how a vCPU waits when its ring is full
   * @param listener hears what the user should know
   * @throws TraceException if the folder is in use or cannot be written
   */
  public static Recorder start(
      final Path folder,
      final TraceManifest manifest,
      final RecorderOptions options,
      final Supplier<IdleStrategy> writerIdle,
      final RecorderListener listener) {
    final Recorder recorder = begin(folder, manifest, options, writerIdle, listener);
    boolean open = false;
    try {
      recorder.awaitOpen();
      open = true;
    } finally {
      if (!open) {
        recorder.abandon();
      }
    }
    return recorder;
  }

  /**
   * As {@link #start}, but the queue is opened later, by the recorder's thread: that takes longer
   * than all else. {@link #awaitReady} is to be called before the first exit, {@link #abandon}
   * where that fails. For a queue that is opened while the guest runs the disk may be full, or
   * fail, as for any of its batches.
   *
   * @throws TraceException if the folder is in use or cannot be written
   */
  public static Recorder begin(
      final Path folder,
      final TraceManifest manifest,
      final RecorderOptions options,
      final Supplier<IdleStrategy> writerIdle,
      final RecorderListener listener) {
    final boolean made = TraceFolder.create(folder);
    try {
      final Recorder recorder = new Recorder(folder, manifest, options, writerIdle, listener);
      recorder.madeFolder = made;
      recorder.thread.start();
      return recorder;
    } catch (final IOException | InternalError | RuntimeException e) {
      if (!(e instanceof FileAlreadyExistsException)) { // then it is another's recording
        TraceFolder.clear(folder, made);
      }
      throw cannotStart(folder, e);
    }
  }

  /**
   * Waits until the queue can be opened whatever happens; until it is open where a ring that is
   * full meanwhile would lose records, as one that drops does.
   *
   * @throws TraceException if it could not be opened
   */
  public void awaitReady() {
    await(ready);
    if (options.onFull() == OnFull.DROP) {
      awaitOpen();
    }
  }

  private void awaitOpen() {
    openNow = true;
    LockSupport.unpark(thread);
    await(opened);
  }

  private void await(final CountDownLatch latch) {
    boolean interrupted = false;
    while (true) {
      try {
        latch.await();
        break;
      } catch (final InterruptedException e) {
        // It takes a fraction of a second; the interrupt is passed on.
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    if (openFailure != null) {
      throw cannotStart(folder, openFailure);
    }
  }

  private static TraceException cannotStart(final Path folder, final Throwable why) {
    return new TraceException(folder + ": recording cannot start: " + describe(why), why);
  }

  /** Two traces of one place and moment are still of two processes. */
  private static long identity(final Path folder, final TraceManifest manifest) {
    final String text =
        folder.toAbsolutePath()
            + " "
            + manifest.startTime()
            + " "
            + ProcessHandle.current().pid()
            + " "
            + manifest.commandLine();
    long hash = 0xCBF2_9CE4_8422_2325L; // FNV-1a
    for (int i = 0; i < text.length(); i++) {
      hash = (hash ^ text.charAt(i)) * 0x100_0000_01B3L;
    }
    return hash;
  }

  /** Where a vCPU's thread writes. */
  public ExitRingWriter sink(final int vcpu) {
    return sources.get(vcpu).writer();
  }

  /** Records that the vCPUs have dropped so far. */
  public long dropped() {
    return sources.stream().mapToLong(source -> source.writer().dropped()).sum();
  }

  /** Why recording stopped early, or null. */
  public String failure() {
    return failure;
  }

  /**
   * Says that the run is being stopped: vCPUs that wait for a full disk get room for the records
   * that they are at, so that they come to see it. From any thread.
   */
  public void stopping() {
    stopping = true;
  }

  /** Why the run ends, for the manifest; before {@link #close}. */
  public void endReason(final String reason) {
    endReason = reason;
  }

  /**
   * Moves what is left and closes the trace. The vCPUs must have written their last record.
   *
   * @throws TraceException if the trace could not be completed; it is readable all the same
   */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    sources.forEach(source -> source.writer().close());
    closing = true;
    LockSupport.unpark(thread);
    boolean interrupted = false;
    while (thread.isAlive()) {
      try {
        thread.join();
      } catch (final InterruptedException e) {
        // A trace is closed in order even so; the interrupt is passed on.
        interrupted = true;
      }
    }
    sources.forEach(RingSource::close);
    try {
      end();
    } catch (final IOException e) {
      if (failure == null) {
        failure = describe(e);
      }
    }
    lock.close();
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    if (failure != null) {
      throw new TraceException(folder + ": recording ended early: " + failure);
    }
  }

  /** Closes the recording of a run that did not begin, and takes its folder away. */
  public void abandon() {
    abandoned = true;
    try {
      close();
    } catch (final TraceException e) {
      // A full disk, say; there was nothing to be kept.
      failure = e.getMessage();
    }
    TraceFolder.clear(folder, madeFolder);
  }

  private void end() throws IOException {
    long records = 0;
    long dropped = 0;
    for (final RingSource source : sources) {
      // Not what the queue has: the last records may have been dropped.
      records += source.writer().sequence();
      dropped += source.writer().dropped();
    }
    final String start = TraceCheck.startChecksum(folder, sources.size());
    if (failure == null) {
      manifest.ended(true, endReason, records, dropped, start).store(TraceFolder.manifest(folder));
      for (int vcpu = 0; vcpu < sources.size() && !ringsLeft; vcpu++) {
        Files.deleteIfExists(TraceFolder.ring(folder, vcpu));
      }
    } else {
      manifest
          .ended(false, "recording failed: " + failure, -1, dropped, start)
          .store(TraceFolder.manifest(folder));
    }
    if (options.durability() != Durability.NONE) {
      TraceFolder.sync(folder);
    }
  }

  private void run() {
    try {
      QueueWriter.makeReady();
      ready.countDown();
      while (!isOpenDue()) {
        LockSupport.parkNanos(FillPace.LOOK_NANOS);
      }
      if (abandoned || !open()) {
        return;
      }
    } catch (final Throwable e) {
      openFailure = e;
      if (openNow || ready.getCount() > 0) {
        failure = describe(e); // who waits for it tells
      } else {
        fail(describe(e));
      }
      return;
    } finally {
      ready.countDown();
      opened.countDown();
    }
    try {
      move();
    } catch (final Throwable e) {
      // Whatever it was, the guest must not go on unrecorded. InternalError is a SIGBUS of the
      // queue's mapping, as on a full disk or a vanished one.
      fail(describe(e));
    }
    try {
      queue.close();
    } catch (final Throwable e) {
      if (failure == null) {
        fail(describe(e));
      }
    }
  }

  private boolean isOpenDue() {
    if (closing || openNow || options.durability() != Durability.NONE) {
      return true;
    }
    boolean due = false;
    for (final RingSource source : sources) {
      due |= source.isDue();
    }
    return due;
  }

  /** Opens the queue as soon as there is room for it; false where the run ended before that. */
  private boolean open() throws IOException {
    while (true) {
      final boolean last = closing;
      try {
        QueueWriter.checkRoom(TraceFolder.queue(folder));
        queue =
            new QueueWriter(
                TraceFolder.queue(folder), manifest.startTime().toEpochMilli(), options);
        resume();
        return true;
      } catch (final DiskFullException e) {
        if (openNow) {
          throw e;
        }
        if (!pause(e, last)) {
          return false;
        }
      }
    }
  }

  private void move() throws IOException {
    while (true) {
      // Read before the drain: what was written before the close is then seen by it.
      final boolean last = closing;
      int work = 0;
      for (final RingSource source : sources) {
        work += source.drain(DRAIN_LIMIT);
      }
      syncInTime();
      if (ringsLeft) {
        return;
      }
      if (work >= BUSY) {
        continue;
      }
      if (!last) {
        LockSupport.parkNanos(LOOK_NANOS);
      } else if (work == 0) {
        break;
      }
    }
    for (final RingSource source : sources) {
      source.flush();
    }
  }

  private void syncInTime() throws IOException {
    if (options.durability() != Durability.INTERVAL) {
      return;
    }
    final long now = options.clock().nanoTime();
    if (now - synced >= Durability.INTERVAL_NANOS) {
      synced = now;
      syncFolder();
      queue.sync();
      for (final RingSource source : sources) {
        source.force();
      }
    }
  }

  /** Once: the manifest and the start of the guest are there by the first time. */
  private void syncFolder() throws IOException {
    if (!folderSynced) {
      folderSynced = true;
      TraceFolder.sync(folder);
    }
  }

  /**
   * Appends a batch, as soon as the disk has room for it.
   *
   * @return false where the run ended before that
   */
  private boolean append(final BatchWriter batch, final int length) throws IOException {
    if (options.durability() == Durability.BATCH) {
      syncFolder();
    }
    while (true) {
      final boolean last = closing;
      try {
        queue.append(batch.bytes(), length, batch.span(), batch.firstTime());
        listener.appended(batch.nextSequence());
        if (queue.rolls() != rolls) {
          rolls = queue.rolls();
          listener.rolled();
        }
        resume();
        return true;
      } catch (final DiskFullException e) {
        if (!pause(e, last)) {
          return false;
        }
      }
    }
  }

  /** Waits a moment for room on the disk; false where the run has ended. */
  private boolean pause(final DiskFullException full, final boolean last) {
    if (last) {
      ringsLeft = true;
      return false;
    }
    if (!paused) {
      paused = true;
      listener.paused(full.getMessage());
    }
    if (stopping) {
      sources.forEach(RingSource::release);
    }
    LockSupport.parkNanos(FULL_RETRY_NANOS);
    return true;
  }

  private void resume() {
    if (paused) {
      paused = false;
      listener.resumed();
    }
  }

  private void fail(final String reason) {
    failure = reason;
    for (final RingSource source : sources) {
      source.writer().readerFailed();
    }
    listener.failed(reason);
  }

  private static String describe(final Throwable e) {
    if (e instanceof InternalError) {
      return "disk full, or gone"; // a SIGBUS says no more
    }
    if (e instanceof FileSystemException host) {
      return TraceFolder.why(host);
    }
    return e.getMessage() == null ? e.toString() : e.getMessage();
  }
}
