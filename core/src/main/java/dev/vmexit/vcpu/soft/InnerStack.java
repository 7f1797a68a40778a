package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.Vector;

/** Pushes on a legacy stack that is not yet the current one. Reused: transfers do not nest. */
final class InnerStack {
  private final SoftVcpu cpu;
  private long base;
  private long limit;
  private boolean expandDown;
  private long mask;
  private int size;
  private int error;
  private long sp;

  InnerStack(final SoftVcpu cpu) {
    this.cpu = cpu;
  }

  /**
   * Describes the stack.
   *
   * @param raw descriptor of its segment, of a level below 3
   * @param newSize bytes of a push
   * @param newError code of the #SS where there is no room
   */
  void set(final long raw, final int newSize, final long newSp, final int newError) {
    final int rights = Descriptor.rights(raw);
    base = Descriptor.base(raw);
    limit = Descriptor.limit(raw);
    expandDown = (rights & (Descriptor.CODE | Descriptor.EXPAND_DOWN)) == Descriptor.EXPAND_DOWN;
    mask = (rights & Descriptor.BIG) != 0 ? 0xFFFF_FFFFL : 0xFFFFL;
    size = newSize;
    error = newError;
    sp = newSp & mask;
  }

  void push(final long value) {
    final long at = sp - size & mask;
    final long last = at + size - 1;
    if (expandDown ? at <= limit || last > mask : last > limit) {
      throw cpu.raise(Vector.SS, error);
    }
    cpu.storeSystem(base + at & 0xFFFF_FFFFL, size, value);
    sp = at;
  }

  long pointer() {
    return sp;
  }
}
