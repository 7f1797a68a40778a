package dev.vmexit.exit;

/** Keeps nothing: what runs without a recording writes here. */
public final class NullExitSink implements ExitSink {
  @Override
  public boolean wants(final ExitKind kind) {
    return false;
  }

  @Override
  public void write(final ExitEvent event) {}

  @Override
  public void close() {}
}
