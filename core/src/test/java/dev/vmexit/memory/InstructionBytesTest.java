package dev.vmexit.memory;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.api.Test;

class InstructionBytesTest {
  private final byte[] bytes = new byte[InstructionBytes.LENGTH];
  private final byte[] copy = new byte[InstructionBytes.LENGTH];

  InstructionBytesTest() {
    new Random(1).nextBytes(bytes);
  }

  @Test
  void shouldCopyEachByteAndNoneBeside() {
    InstructionBytes.copy(bytes, copy);
    assertArrayEquals(bytes, copy);
    try (Arena arena = Arena.ofConfined()) {
      final MemorySegment place = arena.allocate(InstructionBytes.LENGTH + 2L).fill((byte) 0x55);
      InstructionBytes.copyIn(bytes, place.address() + 1);
      assertArrayEquals(
          bytes, place.asSlice(1, InstructionBytes.LENGTH).toArray(ValueLayout.JAVA_BYTE));
      assertEquals(0x55, place.get(ValueLayout.JAVA_BYTE, 0));
      assertEquals(0x55, place.get(ValueLayout.JAVA_BYTE, InstructionBytes.LENGTH + 1L));
      final byte[] back = new byte[InstructionBytes.LENGTH];
      InstructionBytes.copyOut(place.address() + 1, back);
      assertArrayEquals(bytes, back);
    }
  }

  @Test
  void shouldRefuseAnArrayThatIsTooShort() {
    assertThrows(IndexOutOfBoundsException.class, () -> InstructionBytes.copy(bytes, new byte[14]));
    assertThrows(IndexOutOfBoundsException.class, () -> InstructionBytes.copy(new byte[14], copy));
  }
}
