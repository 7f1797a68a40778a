package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.ControlRegisters;

/**
 * The debug registers' four breakpoints (SDM Vol. 3B, 18.2): on execution, on data writes, on data
 * reads and writes, on ports. Decoded from DR0 to DR3 and DR7 whenever those change.
 *
 * <p>Nothing here is asked while no breakpoint is enabled. With one of data the vCPU has no TLB, so
 * that every access comes by the slow path; with any, instructions run one by one.
 */
final class Breakpoints {
  private static final int COUNT = 4;
  private static final int EXECUTE = 0;
  private static final int WRITE = 1;
  private static final int PORT = 2;
  private static final int LENGTH_8 = 2;

  private final long[] first = new long[COUNT];
  private final long[] last = new long[COUNT];
  private final int[] kind = new int[COUNT];
  private int enabled;
  private int data;

  /** DR6 bits of the breakpoints that the running instruction met. */
  int hits;

  /** Takes the registers anew. */
  void update(final long state) {
    final long dr7 = HostMemory.getLong(state + StateLayout.DR7);
    final boolean ports =
        (HostMemory.getLong(state + StateLayout.CR4) & ControlRegisters.CR4_DE) != 0;
    enabled = 0;
    data = 0;
    hits = 0;
    for (int i = 0; i < COUNT; i++) {
      kind[i] = (int) (dr7 >>> 16 + 4 * i) & 3;
      final boolean on = (dr7 >>> 2 * i & 3) != 0 && (kind[i] != PORT || ports);
      if (!on) {
        continue;
      }
      final int code = (int) (dr7 >>> 18 + 4 * i) & 3;
      final int length = kind[i] == EXECUTE ? 1 : code == LENGTH_8 ? 8 : code + 1;
      // The address is taken as aligned to the length.
      first[i] = HostMemory.getLong(state + StateLayout.DR0 + i * 8L) & -length;
      last[i] = first[i] + length - 1;
      enabled |= 1 << i;
      if (kind[i] != EXECUTE && kind[i] != PORT) {
        data |= 1 << i;
      }
    }
  }

  /** Whether any is enabled. */
  boolean areArmed() {
    return enabled != 0;
  }

  /** Whether any of data is. */
  boolean watchData() {
    return data != 0;
  }

  /** DR6 bits of those on execution at a linear address. */
  int atInstruction(final long linear) {
    int found = 0;
    for (int i = 0; i < COUNT; i++) {
      if ((enabled & 1 << i) != 0 && kind[i] == EXECUTE && first[i] == linear) {
        found |= 1 << i;
      }
    }
    return found;
  }

  /** Notes a data access. */
  void access(final long linear, final int size, final boolean write) {
    for (int i = 0; i < COUNT; i++) {
      if ((data & 1 << i) != 0
          && (write || kind[i] != WRITE)
          && linear <= last[i]
          && linear + size - 1 >= first[i]) {
        hits |= 1 << i;
      }
    }
  }

  /** Notes an access to a port. */
  void port(final int port, final int size) {
    for (int i = 0; i < COUNT; i++) {
      if ((enabled & 1 << i) != 0
          && kind[i] == PORT
          && port <= last[i]
          && port + size - 1 >= first[i]) {
        hits |= 1 << i;
      }
    }
  }
}
