package dev.vmexit.vm;

import java.nio.ByteBuffer;
import org.agrona.concurrent.MessageHandler;
import org.agrona.concurrent.UnsafeBuffer;
import org.agrona.concurrent.ringbuffer.ManyToOneRingBuffer;
import org.agrona.concurrent.ringbuffer.RingBufferDescriptor;

/**
 * The in-ring: the only way from other threads to a machine. Any thread offers; the vCPU's thread
 * drains between two entries.
 */
public final class CommandRing {
  static final int STOP = 1;
  static final int CONSOLE_INPUT = 2;
  static final int NMI = 3;
  static final int WAKE = 4;
  static final int KEYS = 5;
  static final int CHECKPOINT = 6;

  private static final int CAPACITY = 64 * 1024;

  private final ManyToOneRingBuffer ring =
      new ManyToOneRingBuffer(
          new UnsafeBuffer(
              ByteBuffer.allocateDirect(CAPACITY + RingBufferDescriptor.TRAILER_LENGTH)));

  /**
   * Something was offered since the last {@link #drain}: one look, where the ring takes several.
   */
  private volatile boolean offered;

  private volatile Runnable wake = () -> {};
  private volatile Runnable stopping = () -> {};

  /** Called after each offer, from the offering thread: kicks the vCPU. */
  void onOffer(final Runnable action) {
    wake = action;
  }

  /**
   * Has an action run at each {@link #stop}, on its thread: whatever the vCPU may be waiting for
   * outside of this ring must let it go on.
   */
  public void onStop(final Runnable action) {
    stopping = action;
  }

  /**
   * Asks the machine to stop.
   *
   * @param reason an ordinal of {@link RunEnd}
   * @return false where the ring is full
   */
  public boolean stop(final RunEnd reason) {
    final UnsafeBuffer message = new UnsafeBuffer(new byte[4]);
    message.putInt(0, reason.ordinal());
    final boolean taken = offer(STOP, message, 4);
    stopping.run();
    return taken;
  }

  /** Bytes typed at the console; false where the ring is full. */
  public boolean consoleInput(final byte[] bytes, final int length) {
    return length == 0 || offer(CONSOLE_INPUT, new UnsafeBuffer(bytes), length);
  }

  /** Keys pressed and released, as scan codes of set 2; false where the ring is full. */
  public boolean keys(final byte[] codes, final int length) {
    return length == 0 || offer(KEYS, new UnsafeBuffer(codes), length);
  }

  /** Presses the NMI button. */
  public boolean nmi() {
    return offer(NMI, new UnsafeBuffer(new byte[4]), 4);
  }

  /**
   * Asks for a record that a replay can start at: the shadow tables begin anew there, so that the
   * guest's next accesses fault again. False where the ring is full.
   */
  public boolean checkpoint() {
    return offer(CHECKPOINT, new UnsafeBuffer(new byte[4]), 4);
  }

  private boolean offer(final int type, final UnsafeBuffer message, final int length) {
    final boolean taken = ring.write(type, message, 0, length);
    offered = true;
    wake.run();
    return taken;
  }

  int drain(final MessageHandler handler) {
    if (!offered) {
      return 0;
    }
    // Before the ring is read: what is offered from here on is seen now, or says so again.
    offered = false;
    // A read ends at the buffer's end: the second one takes what lies behind that.
    return ring.read(handler) + ring.read(handler);
  }
}
