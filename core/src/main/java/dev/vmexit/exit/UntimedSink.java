package dev.vmexit.exit;

/**
 * Passes records on without their host times: those of two runs of a virtual clock are the same.
 */
public final class UntimedSink implements ExitSink {
  private final ExitSink sink;

  /** In front of another, which stays the caller's. */
  public UntimedSink(final ExitSink sink) {
    this.sink = sink;
  }

  @Override
  public boolean wants(final ExitKind kind) {
    return sink.wants(kind);
  }

  @Override
  public void write(final ExitEvent event) {
    event.hostTime = 0;
    event.guestTime = 0;
    event.handlerTime = 0;
    sink.write(event);
  }

  @Override
  public void close() {
    sink.close();
  }
}
