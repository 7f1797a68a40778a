package dev.vmexit.exit;

/** Where the run loop puts its records. Used by one vCPU thread alone. */
public interface ExitSink extends AutoCloseable {
  /** Whether records of a kind are kept: where not, the run loop need not fill one. */
  boolean wants(ExitKind kind);

  /**
   * Takes a record and sets its {@link ExitEvent#sequence}. A kind that is not wanted is dropped
   * with no sequence spent.
   */
  void write(ExitEvent event);

  /** No more records come. */
  @Override
  void close();
}
