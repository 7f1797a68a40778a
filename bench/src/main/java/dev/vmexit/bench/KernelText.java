package dev.vmexit.bench;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.GZIPInputStream;

/**
 * The machine code of a Linux kernel: the {@code .text} section of an ELF file, which may be inside
 * a bzImage (Linux, Documentation/arch/x86/boot: {@code payload_offset}, {@code payload_length}).
 * LZ4 and gzip payloads are unpacked here.
 */
final class KernelText {
  private static final int ELF_MAGIC = 0x464C_457F;
  private static final int BZIMAGE_MAGIC = 0x5372_6448; // "HdrS"
  private static final int LZ4_LEGACY_MAGIC = 0x184C_2102;
  private static final int GZIP_MAGIC = 0x8B1F;

  // The setup header of a bzImage.
  private static final int SETUP_SECTORS = 0x1F1;
  private static final int HEADER_MAGIC = 0x202;
  private static final int PAYLOAD_OFFSET = 0x248;
  private static final int PAYLOAD_LENGTH = 0x24C;
  private static final int SECTOR = 512;

  // ELF64: the file header, then a section header.
  private static final int SECTIONS_OFFSET = 0x28;
  private static final int SECTION_HEADER_SIZE = 0x3A;
  private static final int SECTION_COUNT = 0x3C;
  private static final int NAMES_INDEX = 0x3E;
  private static final int SECTION_FILE_OFFSET = 0x18;
  private static final int SECTION_SIZE = 0x20;

  private KernelText() {}

  /**
   * Reads a vmlinux or a bzImage.
   *
   * @throws IOException where it is neither, or packed in another way
   */
  static byte[] read(final Path file) throws IOException {
    final ByteBuffer image = little(Files.readAllBytes(file));
    if (image.limit() > PAYLOAD_LENGTH + 4 && image.getInt(HEADER_MAGIC) == BZIMAGE_MAGIC) {
      return text(file, unpack(file, payload(image)));
    }
    return text(file, image);
  }

  private static ByteBuffer little(final byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static ByteBuffer payload(final ByteBuffer image) {
    final int setup = ((image.get(SETUP_SECTORS) & 0xFF) + 1) * SECTOR;
    final int from = setup + image.getInt(PAYLOAD_OFFSET);
    return little(Arrays.copyOfRange(image.array(), from, from + image.getInt(PAYLOAD_LENGTH)));
  }

  private static ByteBuffer unpack(final Path file, final ByteBuffer payload) throws IOException {
    if (payload.getInt(0) == LZ4_LEGACY_MAGIC) {
      return unpackLz4(payload);
    }
    if ((payload.getShort(0) & 0xFFFF) == GZIP_MAGIC) {
      try (InputStream in = new GZIPInputStream(new ByteArrayInputStream(payload.array()))) {
        return little(in.readAllBytes());
      }
    }
    throw new IOException(
        file + ": the kernel is packed with neither LZ4 nor gzip; give its vmlinux instead");
  }

  /** Blocks of the legacy frame, each after its length; the kernel's build adds the whole size. */
  private static ByteBuffer unpackLz4(final ByteBuffer in) {
    final int end = in.limit() - Integer.BYTES;
    final byte[] out = new byte[in.getInt(end)];
    int at = 0;
    in.position(Integer.BYTES);
    while (in.position() < end) {
      final int length = in.getInt();
      at = unpackBlock(in, in.position() + length, out, at);
    }
    return little(out);
  }

  private static int unpackBlock(
      final ByteBuffer in, final int end, final byte[] out, final int start) {
    int at = start;
    while (in.position() < end) {
      final int token = in.get() & 0xFF;
      final int literals = length(in, token >> 4);
      in.get(out, at, literals);
      at += literals;
      if (in.position() < end) {
        final int distance = in.getShort() & 0xFFFF;
        final int match = length(in, token & 15) + 4;
        // Byte by byte: a match may overlap what it makes.
        for (int i = 0; i < match; i++, at++) {
          out[at] = out[at - distance];
        }
      }
    }
    return at;
  }

  private static int length(final ByteBuffer in, final int nibble) {
    int length = nibble;
    if (nibble == 15) {
      int more;
      do {
        more = in.get() & 0xFF;
        length += more;
      } while (more == 255);
    }
    return length;
  }

  private static byte[] text(final Path file, final ByteBuffer elf) throws IOException {
    if (elf.limit() < SECTOR || elf.getInt(0) != ELF_MAGIC) {
      throw new IOException(file + " is neither an ELF file nor a bzImage that holds one");
    }
    final int sections = (int) elf.getLong(SECTIONS_OFFSET);
    final int stride = elf.getShort(SECTION_HEADER_SIZE);
    final int names =
        (int) elf.getLong(sections + elf.getShort(NAMES_INDEX) * stride + SECTION_FILE_OFFSET);
    final byte[] wanted = ".text\0".getBytes(StandardCharsets.US_ASCII);
    for (int i = 0; i < elf.getShort(SECTION_COUNT); i++) {
      final int section = sections + i * stride;
      final int name = names + elf.getInt(section);
      if (Arrays.equals(elf.array(), name, name + wanted.length, wanted, 0, wanted.length)) {
        final int from = (int) elf.getLong(section + SECTION_FILE_OFFSET);
        return Arrays.copyOfRange(
            elf.array(), from, from + (int) elf.getLong(section + SECTION_SIZE));
      }
    }
    throw new IOException(file + ": the ELF file has no .text section");
  }
}
