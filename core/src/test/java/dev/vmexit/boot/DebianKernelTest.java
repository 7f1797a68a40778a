package dev.vmexit.boot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.x86.Gpr;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The loader on a distribution's own kernel, where {@code vmexit guest fetch} has got it. */
class DebianKernelTest {
  private static final long MIB = 1 << 20;
  private static Path guest;

  @BeforeAll
  static void find() {
    final String home = System.getenv().getOrDefault("HOME", "/");
    final String caches =
        System.getenv().getOrDefault("XDG_CACHE_HOME", Path.of(home, ".cache").toString());
    final String cache =
        System.getenv().getOrDefault("VMEXIT_CACHE", Path.of(caches, "vmexit").toString());
    guest = Path.of(cache, "guests", "debian-12-cloud");
    Assumptions.assumeTrue(
        Files.exists(guest.resolve("vmlinuz")),
        "SKIPPED: no " + guest + ", run: vmexit guest fetch debian-12-cloud");
  }

  @Test
  void shouldLoadTheDebianKernelAndItsInitrd() throws IOException {
    final KernelImage kernel = KernelImage.detect(guest.resolve("vmlinuz"));
    final ImageFile initrd = ImageFile.read("initrd", guest.resolve("initrd.gz"), 512 * MIB);
    assertEquals(KernelImage.Format.BZ_IMAGE, kernel.format());
    try (GuestMemory memory = GuestMemory.builder().ramWithHole(512 * MIB).build()) {
      final BootEntry entry =
          kernel.load(memory, new BootOptions(Optional.of(initrd), "console=ttyS0", 0xE_0000));

      assertEquals(BootEntry.Mode.LONG64, entry.mode());
      assertEquals(0x100_0200, entry.rip());
      final long params = entry.gpr(Gpr.RSI);
      final long gpa = Integer.toUnsignedLong(memory.read32(params + 0x218));
      assertEquals(512 * MIB - ((initrd.length() + 4095) & -4096), gpa);
      assertEquals(0x8B1F, memory.read16(gpa), "gzip");
    }
  }

  @Test
  void shouldSayWhatIsMissingWhenMemoryIsTooSmallForIt() {
    final KernelImage kernel = KernelImage.detect(guest.resolve("vmlinuz"));
    try (GuestMemory memory = GuestMemory.builder().ramWithHole(32 * MIB).build()) {
      final BootException e =
          assertThrows(BootException.class, () -> kernel.load(memory, BootOptions.NONE));
      assertTrue(e.getMessage().contains("the guest has 32 MiB"), e.getMessage());
    }
  }

  @Test
  void shouldRefuseEveryTruncation() throws IOException {
    final byte[] whole = Files.readAllBytes(guest.resolve("vmlinuz"));
    try (GuestMemory memory = GuestMemory.builder().ramWithHole(128 * MIB).build()) {
      for (int part = 0; part < 50; part++) {
        // Debian's signature comes after what is loaded, in the last few KiB.
        final int length = (int) ((whole.length - 8192L) * part / 50);
        final ImageFile cut = ImageFile.of("kernel", "cut", Arrays.copyOf(whole, length));
        assertThrows(
            BootException.class,
            () -> KernelImage.detect(cut).load(memory, BootOptions.NONE),
            () -> "cut to " + cut.length());
      }
    }
  }
}
