package dev.vmexit.cli;

import java.util.concurrent.CountDownLatch;

/**
 * Makes the JVM's shutdown (SIGINT, SIGTERM, SIGHUP) stop a run in order: the shutdown waits until
 * the tool is through with closing its trace and would end by itself.
 */
final class SignalStop {
  private static final CountDownLatch FINISHED = new CountDownLatch(1);
  private static volatile Runnable action;
  private static volatile boolean armed;

  private SignalStop() {}

  static synchronized void arm(final Runnable stop) {
    action = stop;
    if (!armed) {
      armed = true;
      Runtime.getRuntime().addShutdownHook(new Thread(SignalStop::stop, "signal-stop"));
    }
  }

  static void disarm() {
    action = () -> {};
  }

  /** The tool has closed everything; a shutdown need not wait for it any more. */
  static void finished() {
    FINISHED.countDown();
  }

  private static void stop() {
    action.run();
    try {
      FINISHED.await();
    } catch (final InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
