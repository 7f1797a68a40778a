package dev.vmexit.device;

/** Takes what a display shows, as text, on the vCPU's thread; must not block for long. */
@FunctionalInterface
public interface ScreenSink {
  /**
   * Something has changed.
   *
   * @param cells character in the low byte, attribute in the high one, row by row; the display's
   *     own, to be copied
   * @param cursor index of the cell with the cursor, or -1 where none is shown
   */
  void show(short[] cells, int columns, int rows, int cursor);

  /**
   * What bit 7 of the attributes of all pictures that follow means; before the first call it
   * blinks.
   *
   * @param on blinking characters; else a bright background
   */
  default void blinks(final boolean on) {}
}
