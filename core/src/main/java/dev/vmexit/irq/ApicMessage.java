package dev.vmexit.irq;

/** Delivery modes of APIC messages (SDM Vol. 3A, 11.6.1) and how a destination is matched. */
final class ApicMessage {
  static final int FIXED = 0;
  static final int LOWEST_PRIORITY = 1;
  static final int SMI = 2;
  static final int NMI = 4;
  static final int INIT = 5;
  static final int STARTUP = 6;
  static final int EXT_INT = 7;

  /** Physical destination of all processors. */
  static final int BROADCAST = 0xFF;

  /** The same from an x2APIC. */
  static final int BROADCAST_X2APIC = -1;

  private ApicMessage() {}
}
