package dev.vmexit.device;

import dev.vmexit.memory.MemoryMap;
import java.util.function.LongConsumer;

/**
 * The host bridge 82441FX (Intel datasheet 290549). Its seven PAM registers say for each area from
 * 0xC0000 to 0xFFFFF whether reads and writes reach RAM or the bus behind it, the BIOS's ROM; SMRAM
 * keeps what is written, but there is no system management mode.
 *
 * <pre>
 *   PAM0  0x59  bits 5:4  0xF0000-0xFFFFF     bit 0 of a pair: reads reach RAM
 *   PAM1  0x5A  bits 1:0  0xC0000-0xC3FFF     bit 1: writes do
 *               bits 5:4  0xC4000-0xC7FFF
 *   ...         and so on up to 0xEFFFF in PAM6, 0x5F
 * </pre>
 */
final class HostBridge extends PciFunction {
  private static final int ID = 0x1237_8086;

  /** By this subsystem SeaBIOS tells a virtual machine with a firmware configuration device. */
  private static final int VIRTUAL_SUBSYSTEM = 0x1100_1AF4;

  private static final int PAM0 = 0x59;
  private static final int PAM_REGISTERS = 7;
  private static final int SMRAM = 0x72;

  /** Areas of 16 KiB that PAM0 is about, the last 64 KiB. */
  private static final int FIRST_OF_PAM0 = 12;

  private static final int AREAS_OF_PAM0 = 4;

  private final LongConsumer listener;
  private long areas;

  /**
   * Makes the bridge.
   *
   * @param opened whether the areas are RAM already, as firmware leaves them
   * @param listener takes the areas as {@link MemoryMap} has them whenever they change
   */
  HostBridge(final boolean opened, final LongConsumer listener) {
    super(ID, 0x0600_0002);
    this.listener = listener;
    set(COMMAND, 4, 0x0280_0006);
    set(SUBSYSTEM, 4, VIRTUAL_SUBSYSTEM);
    for (int i = 0; i < PAM_REGISTERS; i++) {
      final int bits = i == 0 ? 0x30 : 0x33;
      set(PAM0 + i, 1, opened ? bits : 0);
      writable(PAM0 + i, 1, bits);
    }
    set(SMRAM, 1, 0x02);
    writable(SMRAM, 1, 0x78);
    areas = read();
  }

  /** The areas as {@link MemoryMap} has them. */
  long areas() {
    return areas;
  }

  private long read() {
    long result = MemoryMap.areas(0, FIRST_OF_PAM0, AREAS_OF_PAM0, get(PAM0, 1) >>> 4 & 3);
    for (int i = 1; i < PAM_REGISTERS; i++) {
      final int value = get(PAM0 + i, 1);
      result = MemoryMap.areas(result, 2 * i - 2, 1, value & 3);
      result = MemoryMap.areas(result, 2 * i - 1, 1, value >>> 4 & 3);
    }
    return result;
  }

  @Override
  protected void written(final int register, final int size) {
    final long now = read();
    if (now != areas) {
      areas = now;
      listener.accept(now);
    }
  }
}
