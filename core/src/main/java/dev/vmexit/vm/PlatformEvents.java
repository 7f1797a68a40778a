package dev.vmexit.vm;

/** What the devices of a machine ask of it; called on the vCPU thread, inside a guest's access. */
public interface PlatformEvents {
  /** The guest entered S5. */
  void powerOff();

  /**
   * The guest asked for a reset.
   *
   * @param source by which device, in words for a report
   */
  void reset(String source);

  /**
   * The guest ended the machine through the debug exit device.
   *
   * @param status never 0
   */
  void debugExit(int status);

  /**
   * The guest changed what memory there is.
   *
   * @param state of {@link dev.vmexit.memory.MemoryMap}
   */
  default void memoryMapped(final long state) {}
}
