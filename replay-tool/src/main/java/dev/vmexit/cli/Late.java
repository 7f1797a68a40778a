package dev.vmexit.cli;

import java.util.function.Consumer;

/** A value that another thread sets once. */
final class Late<T> {
  private volatile T value;

  void set(final T newValue) {
    value = newValue;
  }

  /** The value, or null. */
  T get() {
    return value;
  }

  void ifSet(final Consumer<T> action) {
    final T now = value;
    if (now != null) {
      action.accept(now);
    }
  }
}
