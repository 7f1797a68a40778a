package dev.vmexit.memory;

/** Hears of writes to guest memory that did not come from the vCPU's own stores. */
@FunctionalInterface
public interface WriteListener {
  /**
   * Bytes were written; called after the store, on the writer's thread.
   *
   * @param gpa first byte written
   * @param length bytes, above 0; may cover several pages and adjacent slots
   */
  void memoryWritten(long gpa, long length);
}
