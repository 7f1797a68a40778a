package dev.vmexit.boot;

import dev.vmexit.memory.GuestMemory;
import java.util.List;

/** What PVH and multiboot share: the space for their memory maps, and limits. */
final class StartInfo {
  /** Most bytes of a command line: what the widest-spread kernels read. */
  static final int COMMAND_LINE_MOST = 4095;

  private static final int MAP_SPACE = 0x1000;

  private StartInfo() {}

  /** The memory map's entries, checked to fit into their space. */
  static List<E820.Entry> mapEntries(final GuestMemory memory, final int entrySize) {
    final List<E820.Entry> entries = E820.of(memory).entries();
    if ((long) entries.size() * entrySize > MAP_SPACE) {
      throw new BootException(
          "memory map of "
              + entries.size()
              + " ranges: a kernel takes at most "
              + MAP_SPACE / entrySize);
    }
    return entries;
  }
}
