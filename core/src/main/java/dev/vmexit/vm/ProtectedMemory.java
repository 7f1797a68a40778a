package dev.vmexit.vm;

import dev.vmexit.device.MmioDevice;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.MemoryMap;

/**
 * What is left of the memory from 0xC0000 to 0xFFFFF where the chipset does not have RAM take an
 * access: writes to ROM and to RAM that is protected vanish, those to RAM behind ROM reach it;
 * reads of nothing are all ones. The last half of an access that crosses into it from RAM comes
 * here too.
 */
final class ProtectedMemory implements MmioDevice {
  private final GuestMemory memory;
  private final RecordedDma dma;
  private final byte[] bytes = new byte[Long.BYTES];

  ProtectedMemory(final GuestMemory memory, final RecordedDma dma) {
    this.memory = memory;
    this.dma = dma;
  }

  @Override
  public long readMmio(final long offset, final int size) {
    final long gpa = MemoryMap.AREAS + offset;
    return memory.isBacked(gpa, size) ? memory.read(gpa, size) : -1L;
  }

  @Override
  public void writeMmio(final long offset, final int size, final long value) {
    final long gpa = MemoryMap.AREAS + offset;
    final int access = MemoryMap.access(memory.mapState(), gpa);
    if ((access & MemoryMap.WRITES_RAM) != 0) {
      for (int i = 0; i < size; i++) {
        bytes[i] = (byte) (value >>> 8 * i);
      }
      dma.writeBehind(gpa, bytes, size);
    }
  }
}
