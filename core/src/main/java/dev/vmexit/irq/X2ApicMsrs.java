package dev.vmexit.irq;

/**
 * The local APIC's registers as MSRs 800H to 8FFH (SDM Vol. 3A, 11.12.1): by the same numbers as in
 * memory but for a few, with #GP for what is reserved, read-only or write-only.
 */
final class X2ApicMsrs {
  private static final int ID = 0x02;
  private static final int EOI = 0x0B;
  private static final int LDR = 0x0D;
  private static final int DFR = 0x0E;
  private static final int ESR = 0x28;
  private static final int ICR = 0x30;
  private static final int ICR_HIGH = 0x31;
  private static final int SELF_IPI = 0x3F;
  private static final int ICR_SELF = 1 << 18 | 1 << 14;

  /** Bits of the registers that can be written, all others being reserved. */
  private static final int TPR_BITS = 0xFF;

  private static final int SVR_BITS = 0x3FF;
  private static final int[] LVT_BITS = {
    0x7_00FF, 0x1_07FF, 0x1_07FF, 0x1_A7FF, 0x1_A7FF, 0x1_00FF
  };
  private static final int LVT_READ_ONLY = 0x5000;
  private static final long ICR_RESERVED = 0xFFF3_2000L;

  private X2ApicMsrs() {}

  /** Logical ID: 16 bits of cluster, one bit of 16 in it. */
  private static int logicalId(final int id) {
    return id >> 4 << 16 | 1 << (id & 0xF);
  }

  static boolean matches(final int id, final int destination, final boolean logical) {
    if (destination == ApicMessage.BROADCAST_X2APIC || destination == ApicMessage.BROADCAST) {
      return true;
    }
    final int mine = logicalId(id);
    return logical
        ? destination >>> 16 == mine >>> 16 && (destination & mine & 0xFFFF) != 0
        : destination == id;
  }

  private static boolean readable(final int register) {
    return switch (register) {
      case ID, 0x03, 0x08, 0x0A, LDR, 0x0F, ESR, ICR -> true;
      case 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3E -> true;
      default -> register >= 0x10 && register < 0x28;
    };
  }

  /** Whether the MSR can be read; {@link #read} then does. */
  static boolean readable(final LocalApic apic, final int register) {
    return apic.x2apic() && readable(register);
  }

  static long read(final LocalApic apic, final int register) {
    return switch (register) {
      case ID -> apic.id();
      case LDR -> logicalId(apic.id());
      case ICR -> apic.readRegister(ICR) & 0xFFFF_FFFFL | (long) apic.readRegister(ICR_HIGH) << 32;
      default -> apic.readRegister(register) & 0xFFFF_FFFFL;
    };
  }

  /** Writes; false where that must be #GP. */
  static boolean write(final LocalApic apic, final int register, final long value) {
    if (!apic.x2apic() || register != ICR && value >>> 32 != 0) {
      return false;
    }
    final int low = (int) value;
    final boolean allowed =
        switch (register) {
          case 0x08 -> (low & ~TPR_BITS) == 0;
          case EOI, ESR -> low == 0;
          case 0x0F -> (low & ~SVR_BITS) == 0;
          case ICR -> (value & ICR_RESERVED) == 0;
          case 0x32, 0x33, 0x34, 0x35, 0x36, 0x37 ->
              (low & ~(LVT_BITS[register - 0x32] | LVT_READ_ONLY)) == 0;
          case 0x38 -> true;
          case 0x3E -> (low & ~0xB) == 0;
          case SELF_IPI -> (low & ~0xFF) == 0;
          // DFR is gone, ID and LDR are read-only.
          case DFR -> false;
          default -> false;
        };
    if (!allowed) {
      return false;
    }
    switch (register) {
      case ICR -> apic.command((int) (value >>> 32), low);
      case SELF_IPI -> apic.command(0, ICR_SELF | low);
      default -> apic.writeRegister(register, low);
    }
    return true;
  }
}
