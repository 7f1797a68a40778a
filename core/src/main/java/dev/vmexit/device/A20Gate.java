package dev.vmexit.device;

/**
 * The A20 line as the keyboard controller and port 0x92 drive it; what it does to memory is {@link
 * dev.vmexit.memory.MemoryMap}'s.
 */
public final class A20Gate {
  private final Runnable changed;
  private boolean enabled = true;

  /** Makes a line that passes A20, as at power-on; {@code changed} is called when that changes. */
  public A20Gate(final Runnable changed) {
    this.changed = changed;
  }

  /** Whether A20 is passed. */
  public boolean enabled() {
    return enabled;
  }

  /** Passes A20, or holds it low. */
  public void enabled(final boolean on) {
    if (on != enabled) {
      enabled = on;
      changed.run();
    }
  }
}
