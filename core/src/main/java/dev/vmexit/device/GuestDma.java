package dev.vmexit.device;

/**
 * Guest memory as a bus master reaches it. What is written is told to the MMU, to the cached code
 * and to the trace. Used by the vCPU thread alone, between two guest instructions.
 */
public interface GuestDma {
  /**
   * Reads guest memory.
   *
   * @return false where not all of the range is memory: then nothing was read
   */
  boolean read(long gpa, byte[] to, int at, int length);

  /**
   * Writes guest memory.
   *
   * @return false where not all of the range is writable memory: then nothing was written
   */
  boolean write(long gpa, byte[] from, int at, int length);
}
