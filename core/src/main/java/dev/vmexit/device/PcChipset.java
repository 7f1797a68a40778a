package dev.vmexit.device;

import java.util.function.LongConsumer;

/**
 * The bridges of a PC of 1996: 82441FX host bridge and 82371SB ISA bridge. Registers and their
 * values at reset are those of Intel's datasheets 290549 (82441FX) and 290550 (82371SB).
 */
public final class PcChipset {
  private static final int ISA_BRIDGE = 0x7000_8086;
  private static final int PIRQ_ROUTE = 0x60;
  private static final int PIRQ_DISABLED = 0x8080_8080;

  private final HostBridge bridge;

  /**
   * Makes the bridges.
   *
   * @param opened whether the memory from 0xC0000 to 0xFFFFF is RAM already, as firmware leaves it
   * @param areas takes what becomes of that memory, as {@link dev.vmexit.memory.MemoryMap} has it,
   *     whenever the guest changes it
   */
  public PcChipset(final boolean opened, final LongConsumer areas) {
    bridge = new HostBridge(opened, areas);
  }

  /** Plugs host bridge and ISA bridge into 00:00.0 and 00:01.0. */
  public void plug(final PciConfig bus) {
    bus.plug(0, 0, bridge);
    bus.plug(1, 0, isaBridge());
  }

  /** What becomes of the memory from 0xC0000 to 0xFFFFF. */
  public long areas() {
    return bridge.areas();
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
