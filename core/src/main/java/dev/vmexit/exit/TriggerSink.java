package dev.vmexit.exit;

import java.util.function.Consumer;

/**
 * Passes records on and does something, once, at the first exit that a condition is met by: on the
 * vCPU's thread, after the exit was handled and before the guest is entered again. A run without
 * conditions has none of these in its way.
 */
public final class TriggerSink implements ExitSink {
  private final ExitSink sink;
  private final ExitCondition condition;
  private final Consumer<ExitEvent> action;

  /** In front of another sink, which stays the caller's. */
  public TriggerSink(
      final ExitSink sink, final ExitCondition condition, final Consumer<ExitEvent> action) {
    this.sink = sink;
    this.condition = condition;
    this.action = action;
  }

  /** All: the condition may be about a kind that is not recorded, which the sink drops. */
  @Override
  public boolean wants(final ExitKind kind) {
    return true;
  }

  @Override
  public void write(final ExitEvent event) {
    sink.write(event);
    if (condition.isMet(event)) {
      action.accept(event);
    }
  }

  @Override
  public void close() {
    sink.close();
  }
}
