package dev.vmexit.vm;

import dev.vmexit.device.BlockStore;
import dev.vmexit.device.ByteSink;
import dev.vmexit.device.ScreenSink;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * What a machine has beside the devices that every one has. With firmware or a drive it has a PCI
 * bus with the chipset of {@link dev.vmexit.device.PcChipset}.
 *
 * @param firmware what a BIOS asks for, empty where there is none
 * @param disks at most two, on the first IDE channel
 * @param cdrom on the second IDE channel
 * @param screen takes what the display shows; without one there is neither display nor keyboard
 */
public record Peripherals(
    Optional<Firmware> firmware,
    List<BlockStore> disks,
    Optional<BlockStore> cdrom,
    Optional<ScreenSink> screen) {
  /** Nothing beside. */
  public static final Peripherals NONE =
      new Peripherals(Optional.empty(), List.of(), Optional.empty(), Optional.empty());

  /** Disks that there is room for. */
  public static final int MAX_DISKS = 2;

  /**
   * What a BIOS asks for.
   *
   * @param files of the firmware configuration device, by name
   * @param log takes what the BIOS writes to port 0x402, on the vCPU's thread
   */
  public record Firmware(Map<String, byte[]> files, ByteSink log) {
    public Firmware {
      files = Map.copyOf(files);
    }
  }

  public Peripherals {
    disks = List.copyOf(disks);
    if (disks.size() > MAX_DISKS) {
      throw new IllegalArgumentException(
          "disks=" + disks.size() + ", allowed: at most " + MAX_DISKS);
    }
  }

  /** Whether there is a PCI bus. */
  public boolean hasPci() {
    return firmware.isPresent() || !disks.isEmpty() || cdrom.isPresent();
  }
}
