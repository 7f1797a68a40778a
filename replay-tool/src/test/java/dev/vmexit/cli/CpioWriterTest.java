package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CpioWriterTest {
  private static byte[] sample() throws IOException {
    final ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (CpioWriter cpio = new CpioWriter(out)) {
      cpio.directory("dev", 0755);
      cpio.device("dev/console", 0600, 5, 1);
      cpio.file("a", 0644, new byte[] {1, 2, 3, 4, 5});
      cpio.link("sh", "busybox");
    }
    return out.toByteArray();
  }

  private static int field(final byte[] archive, final int entry, final int index) {
    final String digits = new String(archive, entry + 6 + 8 * index, 8, StandardCharsets.US_ASCII);
    return Integer.parseUnsignedInt(digits, 16);
  }

  @Test
  void shouldWriteHeadersThatTheKernelReads() throws IOException {
    final byte[] archive = sample();

    assertEquals("070701", new String(archive, 0, 6, StandardCharsets.US_ASCII));
    assertEquals(040755, field(archive, 0, 1));
    assertEquals(4, field(archive, 0, 11), "name with its NUL");
    final int console = 116; // 110 + "dev" and NUL, padded to 4
    assertEquals("070701", new String(archive, console, 6, StandardCharsets.US_ASCII));
    assertEquals(020600, field(archive, console, 1));
    assertEquals(5, field(archive, console, 9));
    assertEquals(1, field(archive, console, 10));
    final int file = console + 110 + 14; // "dev/console" and NUL, padded
    assertEquals(0100644, field(archive, file, 1));
    assertEquals(5, field(archive, file, 6));
    assertEquals(5, archive[file + 112 + 4]);
    assertEquals(0120777, field(archive, file + 112 + 8, 1));
  }

  @Test
  void shouldPadEveryPartToFourBytesAndEndWithTheTrailer() throws IOException {
    final byte[] archive = sample();

    assertEquals(0, archive.length % 4);
    final int trailer = archive.length - 124;
    assertEquals("TRAILER!!!", new String(archive, trailer + 110, 10, StandardCharsets.US_ASCII));
    assertEquals(0, field(archive, trailer, 1));
  }

  @Test
  void shouldWriteTheSameBytesForTheSameEntries() throws IOException {
    assertArrayEquals(sample(), sample());
  }

  @Test
  void shouldBeListedByCpio(@TempDir final Path folder) throws Exception {
    final Path archive = Files.write(folder.resolve("archive"), sample());
    String listing = null;
    for (final List<String> tool : List.of(List.of("cpio"), List.of("busybox", "cpio"))) {
      listing = listing == null ? list(tool, archive) : listing;
    }
    Assumptions.assumeTrue(
        listing != null, "SKIPPED: neither cpio nor busybox is installed, archive is unchecked");

    assertTrue(listing.contains("dev\ndev/console\na\nsh\n"), listing);
  }

  private static String list(final List<String> tool, final Path archive)
      throws InterruptedException {
    final List<String> command = new ArrayList<>(tool);
    command.add("-t");
    try {
      final Process process =
          new ProcessBuilder(command)
              .redirectInput(archive.toFile())
              .redirectErrorStream(true)
              .start();
      final String output =
          new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      return process.waitFor() == 0 ? output : null;
    } catch (final IOException e) {
      return null;
    }
  }
}
