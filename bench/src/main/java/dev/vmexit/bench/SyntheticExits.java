package dev.vmexit.bench;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.memory.HostMemory;

/**
 * Exits as a run loop has them: filled from a vCPU's state outside the heap. Each differs from the
 * one before in rip, flags, four registers, times, address and value. Not thread-safe.
 */
final class SyntheticExits implements AutoCloseable {
  private static final int STATE_BYTES = 256;

  private final long state = HostMemory.allocate(STATE_BYTES);

  SyntheticExits() {
    for (int i = 0; i < STATE_BYTES; i += Long.BYTES) {
      HostMemory.putLong(state + i, 0xFFFF_8880_0000_0000L + i * 0x12345L);
    }
  }

  /** Fills all of the nth exit but its host time. */
  void fill(final ExitEvent to, final long n) {
    final long at = state;
    // What the guest did meanwhile.
    HostMemory.putLong(at, n * 0x9E37_79B9L);
    HostMemory.putLong(at + 16, n & 0xFFF);
    HostMemory.putLong(at + 32, HostMemory.getLong(at + 32) + 8);
    HostMemory.putLong(at + 48, 0xFFFF_C900_0000_0000L | n << 4);

    to.clearPayload();
    to.kind = (n & 3) == 0 ? ExitKind.MMIO : ExitKind.PIO;
    for (int i = 0; i < 16; i++) {
      to.registers[i] = HostMemory.getLong(at + i * Long.BYTES);
    }
    to.rip = 0xFFFF_FFFF_8100_0000L + (n & 0x3F) * 0x1234;
    to.rflags = 2 | (n & 1) << 6;
    to.cr0 = 0x8005_0033L;
    to.cr3 = 0x0261_0000L;
    to.cr4 = 0x6F0;
    to.efer = 0xD01;
    to.mode = 8 | ExitEvent.MODE_PAGING;
    to.interruptState = (int) n & 1;
    to.instructionLength = 1;
    to.instruction[0] = (byte) 0xEC;
    to.address = (n & 3) == 0 ? 0xFEE0_0000L + (n & 0xF0) : 0x3F8 + (n & 7);
    to.value = n & 0xFF;
    to.size = 1;
    to.write = (n & 2) != 0;
    to.retired = n * 1000;
    to.guestTime = 2000 + (n & 0xFF);
    to.handlerTime = 300;
  }

  @Override
  public void close() {
    HostMemory.free(state);
  }
}
