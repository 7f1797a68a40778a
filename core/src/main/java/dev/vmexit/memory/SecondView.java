package dev.vmexit.memory;

/**
 * A slot's memory at a second address of this process, for a hypervisor alone. What happens to that
 * mapping, such as faults that somebody wants to see, happens to none of our own accesses.
 *
 * @param host address of its first byte; valid until the memory is closed
 * @param file the descriptor whose pages both addresses show
 */
record SecondView(long host, int file) {
  /** Makes a file and the second view of it. */
  static SecondView create(final long bytes) {
    final int file = HostMapping.createFile(bytes);
    try {
      return new SecondView(HostMapping.mapFile(file, bytes), file);
    } catch (final RuntimeException e) {
      HostMapping.closeFile(file);
      throw e;
    }
  }

  void close(final long bytes) {
    HostMapping.unmap(host, bytes);
    HostMapping.closeFile(file);
  }
}
