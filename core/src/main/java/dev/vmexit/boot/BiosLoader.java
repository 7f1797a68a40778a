package dev.vmexit.boot;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/**
 * Puts a BIOS where a PC has it: as ROM that ends at 4 GiB. Its last 128 KiB are seen below 1 MiB
 * too, as long as the chipset does not show RAM there ({@link dev.vmexit.memory.MemoryMap}). The
 * processor begins as after a reset.
 */
public final class BiosLoader {
  private static final long FOUR_GIB = 1L << 32;
  private static final int MIB = 1 << 20;
  private static final int SMALLEST = 64 * 1024;
  private static final int LARGEST = 16 * MIB;

  /** How much of the ROM's end a BIOS copies into RAM below 1 MiB. */
  private static final int SHADOW = 128 * 1024;

  private static final int CODE_RIGHTS = 0x9B;
  private static final int DATA_RIGHTS = 0x93;
  private static final int LDT_RIGHTS = 0x82;
  private static final int TSS_RIGHTS = 0x8B;

  private BiosLoader() {}

  /**
   * Reads a BIOS.
   *
   * @throws BootException where the file cannot be read or has no size that a BIOS has
   */
  public static ImageFile read(final java.nio.file.Path path) {
    final ImageFile image = ImageFile.read("bios", path, LARGEST);
    final int length = image.length();
    if (length < SMALLEST || length % SMALLEST != 0) {
      throw image.error(
          length
              + " bytes are no BIOS, wanted: a multiple of 64 KiB up to 16 MiB; give another file");
    }
    return image;
  }

  /** Adds the ROM below 4 GiB to a memory that is being described. */
  public static GuestMemory.Builder addRom(
      final GuestMemory.Builder memory, final ImageFile image) {
    return memory.rom(FOUR_GIB - image.length(), image.bytes());
  }

  /**
   * Looks whether a machine can start there.
   *
   * @param memory with the ROM of {@link #addRom}
   * @return the state after a reset: SDM Vol. 3A, table 10-1, and 10.1.4 for the first instruction
   * @throws BootException where the memory ends below 1 MiB
   */
  public static BootEntry start(final GuestMemory memory) {
    if (!memory.isRam(MIB - SHADOW, SHADOW) || memory.ramBytes() < MIB) {
      throw new BootException(
          "memory of "
              + BootException.size(memory.ramBytes())
              + ": too small for a BIOS, give at least --memory 2M");
    }
    return reset();
  }

  private static BootEntry reset() {
    final BootEntry.Segment[] segments = new BootEntry.Segment[Seg.COUNT];
    Arrays.fill(segments, new BootEntry.Segment(0, 0, 0xFFFF, DATA_RIGHTS));
    segments[Seg.CS] = new BootEntry.Segment(0xF000, 0xFFFF_0000L, 0xFFFF, CODE_RIGHTS);
    segments[Seg.LDTR] = new BootEntry.Segment(0, 0, 0xFFFF, LDT_RIGHTS);
    segments[Seg.TR] = new BootEntry.Segment(0, 0, 0xFFFF, TSS_RIGHTS);
    return new BootEntry(
        BootEntry.Mode.REAL16,
        0xFFF0,
        Flags.RESERVED_1,
        Collections.nCopies(Gpr.COUNT, 0L),
        ControlRegisters.CR0_CD | ControlRegisters.CR0_NW | ControlRegisters.CR0_ET,
        0,
        0,
        0,
        List.of(segments),
        0,
        0xFFFF,
        0,
        0xFFFF);
  }
}
