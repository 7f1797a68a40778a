package dev.vmexit.device;

/**
 * What a disk or a CD keeps its bytes in. Called on the vCPU's thread, so it should not take long.
 */
public interface BlockStore {
  /** Size in bytes; never changes. */
  long bytes();

  /** Whether the guest may write. */
  boolean isWritable();

  /**
   * Reads bytes, all of them inside the store.
   *
   * @return false where the host could not
   */
  boolean read(long offset, byte[] to, int at, int length);

  /**
   * Writes bytes, all of them inside the store.
   *
   * @return false where the host could not, or the store is read-only
   */
  boolean write(long offset, byte[] from, int at, int length);

  /** Brings what was written to the medium; false where the host could not. */
  boolean flush();
}
