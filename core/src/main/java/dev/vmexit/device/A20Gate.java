package dev.vmexit.device;

/**
 * The A20 line as the guest sees it through the keyboard controller and port 0x92.
 *
 * <p>The bit is kept, but never masks an address: processors since 2013 have no A20M# pin, and what
 * this machine boots wants A20 on.
 */
public final class A20Gate {
  private boolean enabled = true;

  /** Whether A20 is passed; so it is at power-on. */
  public boolean enabled() {
    return enabled;
  }

  /** Sets what {@link #enabled} tells. */
  public void enabled(final boolean on) {
    enabled = on;
  }
}
