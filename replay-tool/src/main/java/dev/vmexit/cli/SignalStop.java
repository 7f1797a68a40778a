package dev.vmexit.cli;

import java.util.concurrent.CountDownLatch;

/**
 * Makes the JVM's shutdown (SIGINT, SIGTERM, SIGHUP) stop a run in order: the shutdown waits until
 * the tool is through with closing its trace and would end by itself.
 */
final class SignalStop {
  private static volatile Runnable action = () -> {};
  private static volatile boolean stopping;
  private static CountDownLatch finished;
  private static Thread hook;

  private SignalStop() {}

  /** From here to {@link #finished} a shutdown calls {@code stop}, and waits. */
  static synchronized void arm(final Runnable stop) {
    action = stop;
    if (hook == null) {
      final CountDownLatch latch = new CountDownLatch(1);
      final Thread thread = new Thread(() -> stop(latch), "signal-stop");
      try {
        Runtime.getRuntime().addShutdownHook(thread);
      } catch (final IllegalStateException e) {
        // Shutting down already: nothing waits for the run, so it need not begin.
        stop.run();
        return;
      }
      finished = latch;
      hook = thread;
    }
  }

  /** The run is over; a shutdown still waits until all is closed. */
  static void disarm() {
    action = () -> {};
  }

  /** The tool has closed everything; a shutdown need not wait for it any more. */
  static synchronized void finished() {
    if (hook == null) {
      return;
    }
    finished.countDown();
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (final IllegalStateException e) {
      // Shutting down: the hook has just been let go.
      return;
    } finally {
      hook = null;
    }
  }

  /** Whether a shutdown has begun. */
  static boolean stopping() {
    return stopping;
  }

  private static void stop(final CountDownLatch latch) {
    stopping = true;
    action.run();
    try {
      latch.await();
    } catch (final InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
