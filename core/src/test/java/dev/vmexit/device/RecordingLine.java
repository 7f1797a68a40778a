package dev.vmexit.device;

/** An interrupt line that counts its edges. */
public final class RecordingLine implements InterruptLine {
  private boolean level;
  private int rises;

  @Override
  public void set(final boolean asserted) {
    if (asserted && !level) {
      rises++;
    }
    level = asserted;
  }

  public boolean level() {
    return level;
  }

  public int rises() {
    return rises;
  }
}
