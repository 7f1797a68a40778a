package dev.vmexit.vm;

import org.agrona.DirectBuffer;

/** Bytes from outside that a device has no room for yet; those beyond its capacity are dropped. */
final class InputQueue {
  private static final int CAPACITY = 64 * 1024;

  private final byte[] bytes = new byte[CAPACITY];
  private int head;
  private int tail;

  void add(final DirectBuffer from, final int index, final int length) {
    for (int i = 0; i < length && tail - head < CAPACITY; i++) {
      bytes[tail++ & CAPACITY - 1] = from.getByte(index + i);
    }
  }

  boolean isEmpty() {
    return head == tail;
  }

  /** The next byte, 0 to 255; not to be called while it is empty. */
  int next() {
    return bytes[head++ & CAPACITY - 1] & 0xFF;
  }
}
