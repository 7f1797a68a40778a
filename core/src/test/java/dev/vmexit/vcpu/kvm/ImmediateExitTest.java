package dev.vmexit.vcpu.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.vmexit.memory.HostMemory;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

final class ImmediateExitTest {
  private static final int ROUNDS = 20_000;

  private static int flag(final long page) {
    return HostMemory.getByte(page + KvmRun.IMMEDIATE_EXIT);
  }

  @Test
  void shouldSetTheByteUntilItIsCleared() {
    final long page = HostMemory.allocate(64);
    final ImmediateExit immediate = new ImmediateExit(page);
    try {
      immediate.set();
      assertEquals(1, flag(page));
      immediate.clear();
      assertEquals(0, flag(page));
      immediate.setMine();
      assertEquals(1, flag(page));
      assertEquals(0, HostMemory.getByte(page + KvmRun.REQUEST_INTERRUPT_WINDOW));
    } finally {
      immediate.close();
      HostMemory.free(page);
    }
  }

  /** Threads that set it at any time write nowhere when it is closed. */
  @Test
  void shouldWriteNowhereWhenItIsClosed() throws InterruptedException {
    final AtomicReference<ImmediateExit> current = new AtomicReference<>();
    final AtomicBoolean through = new AtomicBoolean();
    final Runnable setter =
        () -> {
          while (!through.get()) {
            final ImmediateExit immediate = current.get();
            if (immediate != null) {
              immediate.set();
            }
          }
        };
    final Thread first = new Thread(setter);
    final Thread second = new Thread(setter);
    final long page = HostMemory.allocate(64);
    first.start();
    second.start();
    try {
      for (int i = 0; i < ROUNDS; i++) {
        final ImmediateExit immediate = new ImmediateExit(page);
        current.set(immediate);
        while (flag(page) == 0) {
          Thread.onSpinWait();
        }
        immediate.close();
        HostMemory.putByte(page + KvmRun.IMMEDIATE_EXIT, 0);
        immediate.set();
        assertEquals(0, flag(page));
      }
    } finally {
      through.set(true);
      first.join();
      second.join();
      HostMemory.free(page);
    }
  }
}
