package dev.vmexit.boot;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.function.Consumer;

/**
 * Writes ACPI Machine Language: the few constructs that a machine's DSDT takes (ACPI specification,
 * 20.2). Blocks are written by a consumer of a nested writer, because a block's length stands in
 * front of it and its own size depends on it.
 */
final class AmlWriter {
  private static final int NAME_OP = 0x08;
  private static final int BYTE_PREFIX = 0x0A;
  private static final int WORD_PREFIX = 0x0B;
  private static final int DWORD_PREFIX = 0x0C;
  private static final int STRING_PREFIX = 0x0D;
  private static final int SCOPE_OP = 0x10;
  private static final int BUFFER_OP = 0x11;
  private static final int PACKAGE_OP = 0x12;
  private static final int EXTENSION_PREFIX = 0x5B;
  private static final int DEVICE_OP = 0x82;

  private final ByteArrayOutputStream out = new ByteArrayOutputStream();

  /** What was written so far. */
  byte[] toByteArray() {
    return out.toByteArray();
  }

  /** {@code Scope (path) {body}}. */
  AmlWriter scope(final String path, final Consumer<AmlWriter> body) {
    out.write(SCOPE_OP);
    return block(path, body);
  }

  /** {@code Device (name) {body}}. */
  AmlWriter device(final String name, final Consumer<AmlWriter> body) {
    out.write(EXTENSION_PREFIX);
    out.write(DEVICE_OP);
    return block(name, body);
  }

  /** {@code Name (name, value)}; the value is the next thing written. */
  AmlWriter name(final String name) {
    out.write(NAME_OP);
    path(name);
    return this;
  }

  /** An integer of up to 32 bits, unsigned. */
  AmlWriter integer(final long value) {
    if (value >>> 32 != 0) {
      throw new IllegalArgumentException("value=" + value + ", allowed: 0 to 4294967295");
    }
    if (value <= 1) {
      out.write((int) value); // ZeroOp, OneOp
    } else if (value <= 0xFF) {
      out.write(BYTE_PREFIX);
      little(value, 1);
    } else if (value <= 0xFFFF) {
      out.write(WORD_PREFIX);
      little(value, 2);
    } else {
      out.write(DWORD_PREFIX);
      little(value, 4);
    }
    return this;
  }

  /** A string of ASCII characters. */
  AmlWriter string(final String value) {
    out.write(STRING_PREFIX);
    out.writeBytes(value.getBytes(StandardCharsets.US_ASCII));
    out.write(0);
    return this;
  }

  /** {@code Package () {values}} of integers. */
  AmlWriter integers(final long... values) {
    final AmlWriter body = new AmlWriter();
    body.out.write(values.length);
    for (final long value : values) {
      body.integer(value);
    }
    out.write(PACKAGE_OP);
    return sized(body);
  }

  /** {@code EisaId (id)}: three letters and four hexadecimal digits as one number. */
  AmlWriter eisaId(final String id) {
    final int letters =
        (id.charAt(0) - '@') << 10 | (id.charAt(1) - '@') << 5 | (id.charAt(2) - '@');
    final int value = letters << 16 | Integer.parseInt(id.substring(3), 16);
    return integer(Integer.toUnsignedLong(Integer.reverseBytes(value)));
  }

  /** A buffer of resource descriptors, closed by its end tag (ACPI specification, 6.4). */
  AmlWriter resources(final Consumer<AmlWriter> descriptors) {
    final AmlWriter content = new AmlWriter();
    descriptors.accept(content);
    content.out.write(0x79); // end tag
    content.out.write(0); // no checksum
    final AmlWriter body = new AmlWriter();
    body.integer(content.out.size());
    body.out.writeBytes(content.toByteArray());
    out.write(BUFFER_OP);
    return sized(body);
  }

  /** Resource descriptor: ports that the device decodes, all 16 address bits. */
  AmlWriter ports(final int first, final int count) {
    out.write(0x47);
    out.write(1); // decodes 16 bits
    little(first, 2); // lowest base address
    little(first, 2); // highest base address
    out.write(1); // alignment
    out.write(count);
    return this;
  }

  /** Resource descriptor: an ISA interrupt, edge-triggered and active high. */
  AmlWriter irq(final int irq) {
    out.write(0x22);
    little(1L << irq, 2);
    return this;
  }

  private AmlWriter block(final String path, final Consumer<AmlWriter> content) {
    final AmlWriter body = new AmlWriter();
    body.path(path);
    content.accept(body);
    return sized(body);
  }

  /** A name of one segment, padded by underscores, or one below the root. */
  private void path(final String path) {
    final boolean root = path.startsWith("\\");
    if (root) {
      out.write('\\');
    }
    final String segment = root ? path.substring(1) : path;
    if (segment.isEmpty() || segment.length() > 4) {
      throw new IllegalArgumentException("name=" + path + ", allowed: 1 to 4 characters");
    }
    out.writeBytes((segment + "___").substring(0, 4).getBytes(StandardCharsets.US_ASCII));
  }

  /**
   * Writes a body behind its PkgLength, which counts itself: one byte up to 63, else a low nibble
   * and up to three more bytes (ACPI specification, 20.2.4).
   */
  private AmlWriter sized(final AmlWriter body) {
    final int size = body.out.size();
    int bytes = 1;
    while (size + bytes >= (bytes == 1 ? 1 << 6 : 1 << (4 + 8 * (bytes - 1)))) {
      bytes++;
    }
    final int length = size + bytes;
    if (bytes == 1) {
      out.write(length);
    } else {
      out.write((bytes - 1) << 6 | (length & 0xF));
      little(length >>> 4, bytes - 1);
    }
    out.writeBytes(body.toByteArray());
    return this;
  }

  private void little(final long value, final int bytes) {
    for (int i = 0; i < bytes; i++) {
      out.write((int) (value >>> (8 * i)));
    }
  }
}
