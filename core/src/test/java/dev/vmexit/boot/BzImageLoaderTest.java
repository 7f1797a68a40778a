package dev.vmexit.boot;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class BzImageLoaderTest {
  private static final long MIB = 1 << 20;
  private static final long PARAMS = LowMemory.BOOT_PARAMS;

  private final GuestMemory memory = GuestMemory.builder().ramWithHole(16 * MIB).build();

  @AfterEach
  void close() {
    memory.close();
  }

  private BootEntry load(final ByteBuffer image, final BootOptions options) {
    return BzImageLoader.load(memory, Images.kernel(image), options);
  }

  @Test
  void shouldEnterIn64BitModeWhenTheHeaderOffersIt() {
    final BootEntry entry = load(Images.bzImage(), BootOptions.NONE);

    assertEquals(BootEntry.Mode.LONG64, entry.mode());
    assertEquals(Images.BZ_ADDRESS + 0x200, entry.rip());
    assertEquals(PARAMS, entry.gpr(Gpr.RSI));
    assertEquals(PARAMS, entry.gprs()[4], "rsi is the fifth of kvm_regs");
    assertEquals(0x8000_0011L, entry.cr0());
    assertEquals(ControlRegisters.CR4_PAE, entry.cr4());
    assertEquals(0x500, entry.efer());
    assertEquals(0xA09B, entry.segment(Seg.CS).rights());
    assertEquals(2, entry.rflags());
  }

  @Test
  void shouldEnterIn32BitModeWhenTheKernelHasNo64BitEntry() {
    final ByteBuffer image = Images.bzImage().putShort(0x236, (short) 0);

    final BootEntry entry = load(image, BootOptions.NONE);

    assertEquals(BootEntry.Mode.PROTECTED32, entry.mode());
    assertEquals(Images.BZ_ADDRESS, entry.rip());
    assertEquals(PARAMS, entry.gpr(Gpr.RSI));
    assertEquals(0, entry.gpr(Gpr.RBP) | entry.gpr(Gpr.RDI) | entry.gpr(Gpr.RBX));
    assertEquals(0x11, entry.cr0());
    assertEquals(0, entry.efer() | entry.cr4());
    assertEquals(0xC09B, entry.segment(Seg.CS).rights());
  }

  @Test
  void shouldLoadAtOneMebibyteWhenTheProtocolHasNoPreferredAddress() {
    final ByteBuffer image = Images.bzImage().putShort(0x206, (short) 0x206);

    assertEquals(0x10_0000, load(image, BootOptions.NONE).rip());
  }

  @Test
  void shouldPlaceTheProtectedModePartAndTheHeader() {
    load(Images.bzImage(), BootOptions.NONE);

    final byte[] body = new byte[Images.BZ_BODY_SIZE];
    memory.read(Images.BZ_ADDRESS, body, 0, body.length);
    final byte[] wanted = new byte[Images.BZ_BODY_SIZE];
    Images.bzImage().get(Images.BZ_BODY, wanted);
    assertArrayEquals(wanted, body);
    assertEquals(0x5372_6448, memory.read32(PARAMS + 0x202));
    assertEquals(0xFF, memory.read8(PARAMS + 0x210), "type_of_loader");
    assertEquals(0, memory.read8(PARAMS + 0x1EF), "sentinel");
    assertEquals(Images.BZ_INIT_SIZE, memory.read32(PARAMS + 0x260));
  }

  @Test
  void shouldDescribeItsSegmentsInTheGdt() {
    final BootEntry entry = load(Images.bzImage(), BootOptions.NONE);

    assertEquals(0x00AF_9B00_0000_FFFFL, memory.read64(entry.gdtBase() + 0x10));
    assertEquals(0x00CF_9300_0000_FFFFL, memory.read64(entry.gdtBase() + 0x18));
    assertEquals(0x1F, entry.gdtLimit());
  }

  @ParameterizedTest
  @CsvSource({"0", "0x7000", "0x200200", "0x40000000", "0xFFFFFFFF"})
  void shouldMapTheFirst4GibToThemselves(final String address) {
    final long gva = Long.decode(address);
    final BootEntry entry = load(Images.bzImage(), BootOptions.NONE);

    final long pml4e = memory.read64(entry.cr3());
    final long pdpte = memory.read64((pml4e & -4096) + 8 * (gva >> 30));
    final long pde = memory.read64((pdpte & -4096) + 8 * (gva >> 21 & 511));
    assertEquals(3, pml4e & 0xFFF);
    assertEquals(3, pdpte & 0xFFF);
    assertEquals(0x83, pde & 0xFFF);
    assertEquals(gva & -0x20_0000, pde & -0x1000);
  }

  @Test
  void shouldHandOverCommandLineMemoryMapAndRsdp() {
    load(Images.bzImage(), new BootOptions(Optional.empty(), "console=ttyS0 é", 0xE_0000));

    final byte[] line = "console=ttyS0 é\0".getBytes(StandardCharsets.UTF_8);
    final byte[] read = new byte[line.length];
    memory.read(Integer.toUnsignedLong(memory.read32(PARAMS + 0x228)), read, 0, read.length);
    assertArrayEquals(line, read);
    assertEquals(0xE_0000, memory.read64(PARAMS + 0x70));
    assertEquals(3, memory.read8(PARAMS + 0x1E8));
    assertEquals(15 * 1024, memory.read32(PARAMS + 0x1E0), "KiB above 1 MiB");
    assertEquals(0, memory.read64(PARAMS + 0x2D0));
    assertEquals(0x9_FC00, memory.read64(PARAMS + 0x2D8));
    assertEquals(1, memory.read32(PARAMS + 0x2E0));
    assertEquals(0x9_FC00, memory.read64(PARAMS + 0x2E4));
    assertEquals(2, memory.read32(PARAMS + 0x2F4));
    assertEquals(0x10_0000, memory.read64(PARAMS + 0x2F8));
    assertEquals(15 * MIB, memory.read64(PARAMS + 0x300));
  }

  @Test
  void shouldPlaceTheInitrdAtTheTopOfMemory() {
    load(Images.bzImage(), new BootOptions(Optional.of(Images.initrd(5000)), "", 0));

    assertEquals(16 * MIB - 0x2000, memory.read32(PARAMS + 0x218));
    assertEquals(5000, memory.read32(PARAMS + 0x21C));
    assertEquals(0x5A, memory.read8(16 * MIB - 0x2000));
    assertEquals(0x5A, memory.read8(16 * MIB - 0x2000 + 4999));
    assertEquals(0, memory.read8(16 * MIB - 0x2000 + 5000));
  }

  @Test
  void shouldPlaceTheInitrdBelowItsHighestAddress() {
    final ByteBuffer image = Images.bzImage().putInt(0x22C, 0x7F_FFFF);

    load(image, new BootOptions(Optional.of(Images.initrd(4096)), "", 0));

    assertEquals(0x7F_F000, memory.read32(PARAMS + 0x218));
  }

  @Test
  void shouldSayHowMuchIsFreeWhenTheInitrdDoesNotFit() {
    final BootOptions options =
        new BootOptions(Optional.of(Images.initrd((int) (14 * MIB))), "", 0);

    final BootException e =
        assertThrows(BootException.class, () -> load(Images.bzImage(), options));

    assertEquals(
        "initrd test.gz: 14 MiB do not fit: a memory of 16 MiB has 14 MiB free above the kernel;"
            + " give more by --memory",
        e.getMessage());
  }

  @Test
  void shouldCountTheSpaceThatTheKernelUnpacksInto() {
    final ByteBuffer image = Images.bzImage().putInt(0x260, (int) (14 * MIB) + 1);

    final BootException e = assertThrows(BootException.class, () -> load(image, BootOptions.NONE));

    assertTrue(e.getMessage().contains("length 0xe00001"), e.getMessage());
    assertTrue(e.getMessage().contains("RAM ends at 0x1000000"), e.getMessage());
  }

  @Test
  void shouldRefuseACommandLineThatTheKernelWouldCut() {
    final BootException e =
        assertThrows(
            BootException.class,
            () -> load(Images.bzImage(), new BootOptions(Optional.empty(), "x".repeat(2048), 0)));

    assertEquals(
        "command line of 2048 bytes: the kernel takes at most 2047, give a shorter --append",
        e.getMessage());
  }

  @ParameterizedTest
  @CsvSource({
    "0x1FE, 0, is not a bzImage",
    "0x202, 0, is not a bzImage",
    "0x206, 0x0205, speaks boot protocol 2.5",
    "0x211, 0, is a zImage",
    "0x1F4, 0, has no protected-mode part",
    "0x1F4, 0x7FFFFFFF, truncated or damaged",
    "0x1F1, 0xFF, truncated or damaged",
    "0x230, 3, no power of two",
    "0x25C, 0xFF, wants to be loaded at 0xff00200000",
    "0x258, 0x7C00, wants to be loaded at 0x7c00",
    "0x260, -1, needs memory at 0x200000",
  })
  void shouldNameTheFieldWhenTheHeaderIsWrong(
      final String offset, final String value, final String message) {
    final int at = Integer.decode(offset);
    final ByteBuffer image = Images.bzImage();
    switch (at) {
      case 0x1F1, 0x211 -> image.put(at, Integer.decode(value).byteValue());
      case 0x1FE, 0x206 -> image.putShort(at, Integer.decode(value).shortValue());
      default -> image.putInt(at, Integer.decode(value));
    }

    final BootException e = assertThrows(BootException.class, () -> load(image, BootOptions.NONE));

    assertTrue(e.getMessage().startsWith("kernel test: "), e.getMessage());
    assertTrue(e.getMessage().contains(message), e.getMessage());
  }

  @Test
  void shouldTakeAnImageThatEndsInItsLastParagraph() {
    final byte[] whole = Images.bzImage().array();

    BzImageLoader.load(
        memory,
        ImageFile.of("kernel", "short", Arrays.copyOf(whole, whole.length - 15)),
        BootOptions.NONE);

    final byte[] body = new byte[Images.BZ_BODY_SIZE - 15];
    memory.read(Images.BZ_ADDRESS, body, 0, body.length);
    assertArrayEquals(Arrays.copyOfRange(whole, Images.BZ_BODY, whole.length - 15), body);
  }

  @Test
  void shouldRefuseEveryTruncation() {
    final byte[] whole = Images.bzImage().array();
    for (int length = 0; length <= whole.length - 16; length += length < 0x270 ? 1 : 61) {
      final ImageFile cut = ImageFile.of("kernel", "cut", Arrays.copyOf(whole, length));
      assertThrows(
          BootException.class,
          () -> BzImageLoader.load(memory, cut, BootOptions.NONE),
          () -> "cut to " + cut.length());
    }
  }

  @Test
  void shouldSayHowMuchMemoryWhenThereIsTooLittle() {
    try (GuestMemory small = GuestMemory.builder().ram(0, 0x1_0000).build()) {
      final BootException e =
          assertThrows(
              BootException.class,
              () -> BzImageLoader.load(small, Images.kernel(Images.bzImage()), BootOptions.NONE));

      assertTrue(e.getMessage().startsWith("memory of 64 KiB: too small"), e.getMessage());
    }
  }
}
