package dev.vmexit.device;

/**
 * The bridges of a PC of 1996: 82441FX host bridge and 82371SB ISA bridge. Registers and their
 * values at reset are those of Intel's datasheets 290549 (82441FX) and 290550 (82371SB).
 *
 * <p>The memory at 0xC0000 to 0xFFFFF is RAM that firmware was copied into: the PAM registers keep
 * what is written, but protect nothing. Nor is there SMRAM.
 */
public final class PcChipset {
  private static final int HOST_BRIDGE = 0x1237_8086;
  private static final int ISA_BRIDGE = 0x7000_8086;

  /** By this subsystem SeaBIOS tells a virtual machine with a firmware configuration device. */
  private static final int VIRTUAL_SUBSYSTEM = 0x1100_1AF4;

  private static final int PAM0 = 0x59;
  private static final int PAM_REGISTERS = 7;
  private static final int SMRAM = 0x72;
  private static final int PIRQ_ROUTE = 0x60;
  private static final int PIRQ_DISABLED = 0x8080_8080;

  private PcChipset() {}

  /** Plugs host bridge and ISA bridge into 00:00.0 and 00:01.0. */
  public static void plug(final PciConfig bus) {
    bus.plug(0, 0, hostBridge());
    bus.plug(1, 0, isaBridge());
  }

  private static PciFunction hostBridge() {
    final PciFunction bridge = new PciFunction(HOST_BRIDGE, 0x0600_0002);
    bridge.set(PciFunction.COMMAND, 4, 0x0280_0006);
    bridge.set(PciFunction.SUBSYSTEM, 4, VIRTUAL_SUBSYSTEM);
    for (int i = 0; i < PAM_REGISTERS; i++) {
      bridge.writable(PAM0 + i, 1, i == 0 ? 0x30 : 0x33);
    }
    bridge.set(SMRAM, 1, 0x02);
    bridge.writable(SMRAM, 1, 0x78);
    return bridge;
  }

  private static PciFunction isaBridge() {
    final PciFunction bridge = new PciFunction(ISA_BRIDGE, 0x0601_0000);
    bridge.set(PciFunction.COMMAND, 4, 0x0200_0007);
    bridge.set(PciFunction.HEADER_TYPE, 1, PciFunction.MULTI_FUNCTION);
    bridge.set(PIRQ_ROUTE, 4, PIRQ_DISABLED);
    bridge.writable(PIRQ_ROUTE, 4, 0x8F8F_8F8F);
    return bridge;
  }
}
