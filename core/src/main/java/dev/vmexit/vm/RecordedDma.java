package dev.vmexit.vm;

import dev.vmexit.device.GuestDma;
import dev.vmexit.memory.GuestMemory;

/** Guest memory for bus masters, each write of which is told to the run loop. */
final class RecordedDma implements GuestDma {
  /** Hears of each write, after it, on the thread of the vCPU that had the device do it. */
  interface Listener {
    void dmaWritten(long gpa, byte[] from, int at, int length);
  }

  private final GuestMemory memory;
  private Listener listener;

  RecordedDma(final GuestMemory memory) {
    this.memory = memory;
  }

  /** Names who hears from now on: the run loop that is out of the guest. */
  void tell(final Listener who) {
    listener = who;
  }

  @Override
  public boolean read(final long gpa, final byte[] to, final int at, final int length) {
    if (!memory.isBacked(gpa, length)) {
      return false;
    }
    memory.read(gpa, to, at, length);
    return true;
  }

  @Override
  public boolean write(final long gpa, final byte[] from, final int at, final int length) {
    if (!memory.isRam(gpa, length)) {
      return false;
    }
    memory.write(gpa, from, at, length);
    listener.dmaWritten(gpa, from, at, length);
    return true;
  }

  /** The same to RAM that is behind ROM; see {@link GuestMemory#writeBehind}. */
  void writeBehind(final long gpa, final byte[] from, final int length) {
    if (memory.writeBehind(gpa, length, RecordedState.littleEndian(from, length))) {
      listener.dmaWritten(gpa, from, 0, length);
    }
  }
}
