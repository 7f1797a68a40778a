package dev.vmexit.irq;

/** What carries messages among the local APICs and the I/O APIC. */
interface ApicBus {
  /**
   * Delivers a message to whom it names.
   *
   * @param destination APIC ID or logical destination: 8 bits, 32 from an x2APIC
   * @param logical whether it is a logical one
   * @param mode {@link ApicMessage}'s FIXED to EXT_INT
   * @param level whether the interrupt is level-triggered
   * @return whether a local APIC took it
   */
  boolean deliver(int destination, boolean logical, int mode, int vector, boolean level);

  /** Delivers to all processors, or all but the sender. */
  void deliverToAll(LocalApic sender, boolean includingSender, int mode, int vector);

  /** A local APIC has ended a level-triggered interrupt. */
  void endOfInterrupt(int vector);
}
