package dev.vmexit.trace;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.MemoryMap;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

final class InitialMemoryTest {
  private static final long BYTES = 64L << 20;

  @TempDir Path folder;

  private static GuestMemory memory() {
    return GuestMemory.builder().ram(0, BYTES).rom(0xFFFF_0000L, new byte[0x1_0000]).build();
  }

  private Path saved() throws IOException {
    final Path file = folder.resolve("memory.bin.gz");
    try (GuestMemory memory = memory()) {
      final Random random = new Random(1);
      final byte[] content = new byte[100_000];
      random.nextBytes(content);
      memory.write(0x7F_F123, content, 0, content.length);
      memory.write64(0, 0x1234_5678_9ABC_DEF0L);
      memory.write8(BYTES - 1, 0xEE);
      // Touched, but zero again: not worth a page.
      memory.write8(0x200_0000, 1);
      memory.write8(0x200_0000, 0);
      assertEquals(25 + 2, InitialMemory.save(file, memory, InitialMemory.Aim.SMALL));
    }
    return file;
  }

  @Test
  void shouldGiveBackEveryByte() throws IOException {
    final Path file = saved();
    assertTrue(Files.size(file) < 110_000, "size=" + Files.size(file));
    try (GuestMemory memory = memory()) {
      assertEquals(27, InitialMemory.load(file, memory));
      final byte[] expected = new byte[100_000];
      new Random(1).nextBytes(expected);
      final byte[] read = new byte[100_000];
      memory.read(0x7F_F123, read, 0, read.length);
      assertTrue(Arrays.equals(expected, read));
      assertEquals(0x1234_5678_9ABC_DEF0L, memory.read64(0));
      assertEquals(0xEE, memory.read8(BYTES - 1));
      assertEquals(0, memory.read8(0x200_0000));
    }
  }

  @ParameterizedTest
  @EnumSource
  void shouldGiveBackEveryByteWhenPagesThatCompressAndOthersAlternate(final InitialMemory.Aim aim)
      throws IOException {
    final Path file = folder.resolve("memory.bin.gz");
    final int pages = 600;
    final byte[] content = new byte[pages * GuestMemory.PAGE_SIZE];
    final Random random = new Random(2);
    random.nextBytes(content);
    for (int page = 0; page < pages; page++) {
      if (random.nextInt(3) == 0) {
        final int at = page * GuestMemory.PAGE_SIZE;
        Arrays.fill(content, at, at + 3000, (byte) page);
      }
    }
    try (GuestMemory memory = memory()) {
      memory.write(0x10_0000, content, 0, content.length);
      assertEquals(pages, InitialMemory.save(file, memory, aim));
    }
    assertTrue(Files.size(file) < content.length * 9L / 10, "size=" + Files.size(file));
    try (GuestMemory memory = memory()) {
      assertEquals(pages, InitialMemory.load(file, memory));
      final byte[] read = new byte[content.length];
      memory.read(0x10_0000, read, 0, read.length);
      assertTrue(Arrays.equals(content, read));
    }
  }

  /** A page is where it was built, whatever the guest sees there at the moment. */
  @ParameterizedTest
  @EnumSource
  void shouldSaveEachPageAsBuiltWhenTheGuestSeesAnother(final InitialMemory.Aim aim)
      throws IOException {
    final Path file = folder.resolve("memory.bin.gz");
    try (GuestMemory memory = memory()) {
      memory.write64(0x1000, 0x1111);
      memory.write64(0x10_1000, 0x2222);
      memory.map(MemoryMap.PLAIN | MemoryMap.A20_LOW);
      assertEquals(0x1111, memory.read64(0x10_1000));
      assertEquals(2, InitialMemory.save(file, memory, aim));
    }
    try (GuestMemory memory = memory()) {
      assertEquals(2, InitialMemory.load(file, memory));
      assertEquals(0x1111, memory.read64(0x1000));
      assertEquals(0x2222, memory.read64(0x10_1000));
    }
  }

  @Test
  void shouldSayWhatIsWrongWithAFile() throws IOException {
    final Path file = saved();
    final byte[] good = Files.readAllBytes(file);
    Files.write(file, Arrays.copyOf(good, good.length / 2));
    assertMessage("truncated", file);
    final byte[] bad = good.clone();
    bad[good.length / 2] ^= 1;
    Files.write(file, bad);
    assertMessage("cannot be read", file);
    Files.writeString(file, "not gzip at all, but long enough for a header");
    assertMessage("cannot be read", file);
    assertMessage("cannot be read", folder.resolve("missing"));
    try (GuestMemory small = GuestMemory.builder().ram(0, 1 << 20).build()) {
      Files.write(file, good);
      final TraceException e =
          assertThrows(TraceException.class, () -> InitialMemory.load(file, small));
      assertTrue(e.getMessage().contains("is in no slot"), e.getMessage());
    }
  }

  private static void assertMessage(final String part, final Path file) {
    final TraceException e =
        assertThrows(
            TraceException.class, () -> InitialMemory.forEachPage(file, (gfn, content) -> {}));
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }
}
