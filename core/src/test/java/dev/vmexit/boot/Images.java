package dev.vmexit.boot;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Small kernels made by hand, right in every field, for tests to load or to damage. */
final class Images {
  static final int BZ_SETUP_SECTORS = 2;
  static final int BZ_BODY = (BZ_SETUP_SECTORS + 1) * 512;
  static final int BZ_BODY_SIZE = 4096;
  static final long BZ_ADDRESS = 0x20_0000;
  static final int BZ_INIT_SIZE = 0x8000;

  private Images() {}

  static ImageFile kernel(final ByteBuffer bytes) {
    return ImageFile.of("kernel", "test", bytes.array());
  }

  static ImageFile initrd(final int size) {
    final byte[] bytes = new byte[size];
    Arrays.fill(bytes, (byte) 0x5A);
    return ImageFile.of("initrd", "test.gz", bytes);
  }

  /** Protocol 2.15 with a 64-bit entry; each body byte is the low byte of its offset. */
  static ByteBuffer bzImage() {
    final ByteBuffer image = little(BZ_BODY + BZ_BODY_SIZE);
    image.put(0x1F1, (byte) BZ_SETUP_SECTORS);
    image.putInt(0x1F4, BZ_BODY_SIZE / 16);
    image.putShort(0x1FE, (short) 0xAA55);
    image.put(0x200, (byte) 0xEB).put(0x201, (byte) 0x6A);
    image.put(0x202, "HdrS".getBytes(StandardCharsets.US_ASCII));
    image.putShort(0x206, (short) 0x20F);
    image.put(0x211, (byte) 1);
    image.putInt(0x22C, 0x7FFF_FFFF);
    image.putInt(0x230, 0x20_0000);
    image.put(0x234, (byte) 1);
    image.putShort(0x236, (short) 0x3F);
    image.putInt(0x238, 2047);
    image.putLong(0x258, BZ_ADDRESS);
    image.putInt(0x260, BZ_INIT_SIZE);
    for (int i = 0; i < BZ_BODY_SIZE; i++) {
      image.put(BZ_BODY + i, (byte) i);
    }
    return image;
  }

  static final long ELF_ADDRESS = 0x10_0000;
  static final int ELF_TEXT = 0x200;
  static final int ELF_TEXT_SIZE = 0x100;
  static final int ELF_MEMORY_SIZE = 0x1000;
  static final int ELF_NOTE = 0x100;
  static final long PVH_ENTRY = ELF_ADDRESS + 0x10;
  static final int ELF64_LOAD_HEADER = 64;
  static final int ELF32_LOAD_HEADER = 52;

  /** 64-bit ELF linked at -2 GiB, one segment, and a PVH note behind a note of somebody else. */
  static ByteBuffer elf64() {
    final ByteBuffer image = little(ELF_TEXT + ELF_TEXT_SIZE);
    image.putInt(0, ElfFile.MAGIC).put(4, (byte) 2).put(5, (byte) 1).put(6, (byte) 1);
    image.putShort(16, (short) 2).putShort(18, (short) 62).putInt(20, 1);
    image.putLong(24, 0xFFFF_FFFF_8010_0000L).putLong(32, 64);
    image.putShort(52, (short) 64).putShort(54, (short) 56).putShort(56, (short) 2);
    image.putInt(64, 1).putLong(72, ELF_TEXT).putLong(80, 0xFFFF_FFFF_8010_0000L);
    image.putLong(88, ELF_ADDRESS).putLong(96, ELF_TEXT_SIZE).putLong(104, ELF_MEMORY_SIZE);
    image.putInt(120, 4).putLong(128, ELF_NOTE).putLong(152, 40).putLong(160, 40);
    image.putLong(168, 4);
    notes(image);
    return image;
  }

  /** 32-bit ELF linked where it is loaded. */
  static ByteBuffer elf32() {
    final ByteBuffer image = little(ELF_TEXT + ELF_TEXT_SIZE);
    image.putInt(0, ElfFile.MAGIC).put(4, (byte) 1).put(5, (byte) 1).put(6, (byte) 1);
    image.putShort(16, (short) 2).putShort(18, (short) 3).putInt(20, 1);
    image.putInt(24, (int) ELF_ADDRESS + 0x20).putInt(28, 52);
    image.putShort(40, (short) 52).putShort(42, (short) 32).putShort(44, (short) 2);
    image.putInt(52, 1).putInt(56, ELF_TEXT).putInt(60, (int) ELF_ADDRESS);
    image.putInt(64, (int) ELF_ADDRESS).putInt(68, ELF_TEXT_SIZE).putInt(72, ELF_MEMORY_SIZE);
    image.putInt(84, 4).putInt(88, ELF_NOTE).putInt(100, 40).putInt(104, 40).putInt(112, 4);
    notes(image);
    return image;
  }

  private static void notes(final ByteBuffer image) {
    image.putInt(ELF_NOTE, 4).putInt(ELF_NOTE + 4, 4).putInt(ELF_NOTE + 8, 18);
    image.put(ELF_NOTE + 12, "GNU\0".getBytes(StandardCharsets.US_ASCII));
    image.putInt(ELF_NOTE + 20, 4).putInt(ELF_NOTE + 24, 4).putInt(ELF_NOTE + 28, 18);
    image.put(ELF_NOTE + 32, "Xen\0".getBytes(StandardCharsets.US_ASCII));
    image.putInt(ELF_NOTE + 36, (int) PVH_ENTRY);
    for (int i = 0; i < ELF_TEXT_SIZE; i++) {
      image.put(ELF_TEXT + i, (byte) (i + 1));
    }
  }

  static final int MULTIBOOT_HEADER = 0x40;

  /** A raw file with addresses in its multiboot header. */
  static ByteBuffer multiboot() {
    final ByteBuffer image = little(0x300);
    final int load = (int) ELF_ADDRESS;
    multibootHeader(image, MULTIBOOT_HEADER, 1 << 16 | 3);
    image
        .putInt(MULTIBOOT_HEADER + 12, load + MULTIBOOT_HEADER)
        .putInt(MULTIBOOT_HEADER + 16, load);
    image.putInt(MULTIBOOT_HEADER + 20, load + 0x280).putInt(MULTIBOOT_HEADER + 24, load + 0x1000);
    image.putInt(MULTIBOOT_HEADER + 28, load + 0x80);
    for (int i = 0x80; i < 0x300; i++) {
      image.put(i, (byte) i);
    }
    return image;
  }

  static void multibootHeader(final ByteBuffer image, final int at, final int flags) {
    image.putInt(at, 0x1BAD_B002).putInt(at + 4, flags).putInt(at + 8, -(0x1BAD_B002 + flags));
  }

  private static ByteBuffer little(final int size) {
    return ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
  }
}
