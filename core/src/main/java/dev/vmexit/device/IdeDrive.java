package dev.vmexit.device;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * What disks and CD drives on an IDE channel share (ATA/ATAPI-6, T13 1410D): the task file, the
 * data register with the block of data behind it, and data that stream to or from a store. All of
 * it happens at once, when the guest asks; a drive is never busy while the guest could look.
 */
abstract class IdeDrive {
  static final int STATUS_ERROR = 1;
  static final int STATUS_DATA = 1 << 3;
  static final int STATUS_SEEK = 1 << 4;
  static final int STATUS_READY = 1 << 6;

  static final int ERROR_ABORT = 1 << 2;
  static final int ERROR_NOT_FOUND = 1 << 4;
  static final int ERROR_UNCORRECTABLE = 1 << 6;

  static final int BLOCK = 64 * 1024;

  // Registers, with what was in them before: the high halves of 48-bit commands.
  int features;
  int error;
  int count;
  int countBefore;
  int low;
  int lowBefore;
  int mid;
  int midBefore;
  int high;
  int highBefore;
  int device;
  int status;

  final BlockStore store;

  /** The drive has asked for attention since the guest last read the status. */
  private boolean interrupt;

  private final byte[] buffer = new byte[BLOCK];
  private int at;
  private int end;
  private boolean toDrive;

  /** Data that do not come from the store, or null. */
  private byte[] response;

  private long streamAt;
  private long streamLeft;
  private int blockBytes;
  private boolean dma;

  IdeDrive(final BlockStore store) {
    this.store = store;
  }

  // ---- what differs ----

  /** Executes a command. */
  abstract void command(int command);

  /** Puts the signature of this kind of drive into the registers. */
  abstract void signature();

  /** A block of data lies ready for the guest, or room for one of its. */
  abstract void blockReady(int bytes, boolean first);

  /** All data have been moved, by the bus master or by the guest. */
  abstract void streamDone(boolean byDma);

  /** The host could not read or write. */
  abstract void streamFailed();

  /** A block that is not part of a stream was written by the guest: a packet. */
  abstract void blockWritten(byte[] block);

  // ---- registers ----

  final boolean interrupts() {
    return interrupt;
  }

  final void interrupts(final boolean wanted) {
    interrupt = wanted;
  }

  final void reset() {
    endData();
    interrupt = false;
    features = 0;
    signature();
  }

  final void ready() {
    status = STATUS_READY | STATUS_SEEK;
    error = 0;
  }

  final void fail(final int bits) {
    endData();
    status = STATUS_READY | STATUS_SEEK | STATUS_ERROR;
    error = bits;
    interrupt = true;
  }

  private void endData() {
    at = 0;
    end = 0;
    streamLeft = 0;
    response = null;
    dma = false;
  }

  // ---- data ----

  /** Starts sending bytes that are not on the medium. */
  final void send(final byte[] bytes, final int length, final int block, final boolean byDma) {
    response = bytes;
    start(0, length, block, false, byDma);
  }

  /** Starts moving bytes of the medium. */
  final void stream(
      final long offset,
      final long length,
      final int block,
      final boolean write,
      final boolean byDma) {
    response = null;
    start(offset, length, block, write, byDma);
  }

  private void start(
      final long offset,
      final long length,
      final int block,
      final boolean write,
      final boolean byDma) {
    streamAt = offset;
    streamLeft = length;
    blockBytes = Math.min(block, BLOCK);
    toDrive = write;
    dma = byDma;
    at = 0;
    end = 0;
    error = 0;
    if (byDma) {
      status = STATUS_READY | STATUS_SEEK | STATUS_DATA;
    } else {
      nextBlock(true);
    }
  }

  /** Asks the guest for a block that is no part of a stream. */
  final void expect(final int bytes) {
    endData();
    toDrive = true;
    end = bytes;
  }

  private void nextBlock(final boolean first) {
    final int bytes = (int) Math.min(blockBytes, streamLeft);
    if (!toDrive && !fetch(buffer, 0, bytes)) {
      streamFailed();
      return;
    }
    at = 0;
    end = bytes;
    blockReady(bytes, first);
  }

  private boolean fetch(final byte[] to, final int offset, final int bytes) {
    if (response == null) {
      if (!store.read(streamAt, to, offset, bytes)) {
        return false;
      }
    } else {
      System.arraycopy(response, (int) streamAt, to, offset, bytes);
    }
    streamAt += bytes;
    streamLeft -= bytes;
    return true;
  }

  private boolean put(final byte[] from, final int offset, final int bytes) {
    if (!store.write(streamAt, from, offset, bytes)) {
      return false;
    }
    streamAt += bytes;
    streamLeft -= bytes;
    return true;
  }

  /** Reads the data register; bytes beyond the block are zeros. */
  final int readData(final int size) {
    if (toDrive || at >= end) {
      return 0;
    }
    int value = 0;
    for (int i = 0; i < size && at < end; i++) {
      value |= (buffer[at++] & 0xFF) << 8 * i;
    }
    if (at >= end) {
      blockRead();
    }
    return value;
  }

  /** Reads the data register many times. */
  final void readData(final int size, final int times, final byte[] to) {
    int done = 0;
    final int wanted = size * times;
    while (done < wanted) {
      final int bytes = toDrive ? 0 : Math.min(wanted - done, (end - at) / size * size);
      if (bytes == 0) {
        final int value = readData(size);
        for (int i = 0; i < size; i++) {
          to[done++] = (byte) (value >>> 8 * i);
        }
      } else {
        System.arraycopy(buffer, at, to, done, bytes);
        at += bytes;
        done += bytes;
        if (at >= end) {
          blockRead();
        }
      }
    }
  }

  private void blockRead() {
    if (streamLeft > 0) {
      nextBlock(false);
    } else {
      endData();
      streamDone(false);
    }
  }

  /** Writes the data register. */
  final void writeData(final int size, final int value) {
    if (!toDrive || at >= end) {
      return;
    }
    for (int i = 0; i < size && at < end; i++) {
      buffer[at++] = (byte) (value >>> 8 * i);
    }
    if (at < end) {
      return;
    }
    if (streamLeft == 0) {
      final byte[] block = Arrays.copyOf(buffer, end);
      endData();
      blockWritten(block);
    } else if (!put(buffer, 0, end)) {
      streamFailed();
    } else if (streamLeft > 0) {
      nextBlock(false);
    } else {
      endData();
      streamDone(false);
    }
  }

  // ---- DMA ----

  /** Whether the drive waits for the bus master, which is to move data in its direction. */
  final boolean wantsDma() {
    return dma;
  }

  final boolean dmaToDrive() {
    return toDrive;
  }

  /** Bytes that the drive still wants to move. */
  final long dmaLeft() {
    return streamLeft;
  }

  /** Moves bytes, at most {@link #dmaLeft}; false where the host could not. */
  final boolean dmaMove(final byte[] bytes, final int offset, final int length) {
    return toDrive ? put(bytes, offset, length) : fetch(bytes, offset, length);
  }

  /** The bus master is done with all data. */
  final void dmaDone() {
    endData();
    streamDone(true);
  }

  /** The bus master could not go on. */
  final void dmaFailed() {
    streamFailed();
  }

  // ---- IDENTIFY ----

  static void word(final byte[] to, final int index, final int value) {
    to[2 * index] = (byte) value;
    to[2 * index + 1] = (byte) (value >>> 8);
  }

  /** Text in IDENTIFY is padded with blanks, its bytes swapped in each word. */
  static void text(final byte[] to, final int index, final int words, final String text) {
    final byte[] bytes = text.getBytes(StandardCharsets.US_ASCII);
    for (int i = 0; i < 2 * words; i++) {
      to[2 * index + (i ^ 1)] = i < bytes.length ? bytes[i] : (byte) ' ';
    }
  }
}
