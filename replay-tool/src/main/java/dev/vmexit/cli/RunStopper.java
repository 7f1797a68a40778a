package dev.vmexit.cli;

import dev.vmexit.vm.RunEnd;
import dev.vmexit.vm.VirtualMachine;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** Ends the run when the time is over. */
final class RunStopper implements AutoCloseable {
  private final CountDownLatch done = new CountDownLatch(1);

  RunStopper(final VirtualMachine vm, final Double seconds) {
    if (seconds != null) {
      final Thread timer =
          new Thread(
              () -> {
                try {
                  if (!done.await((long) (seconds * 1e9), TimeUnit.NANOSECONDS)) {
                    vm.commands().stop(RunEnd.TIMEOUT);
                  }
                } catch (final InterruptedException e) {
                  Thread.currentThread().interrupt();
                }
              },
              "timeout");
      timer.setDaemon(true);
      timer.start();
    }
  }

  @Override
  public void close() {
    done.countDown();
    SignalStop.disarm();
  }
}
