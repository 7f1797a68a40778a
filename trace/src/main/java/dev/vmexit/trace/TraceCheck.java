package dev.vmexit.trace;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.zip.CRC32C;
import java.util.zip.CheckedInputStream;

/** Checks what is in a trace's folder beside its records. */
public final class TraceCheck {
  private static final int BUFFER = 1 << 16;

  private TraceCheck() {}

  /** What is wrong with the initial memory, in one line, or null. */
  public static String initialMemory(final Path folder, final TraceManifest manifest) {
    final Path file = TraceFolder.memory(folder);
    try {
      if (!Files.exists(file)) {
        return manifest.memoryChecksum().isEmpty() ? null : file + " is missing";
      }
      if (!manifest.memoryChecksum().isEmpty()
          && !checksum(file).equals(manifest.memoryChecksum())) {
        return file + " is damaged, or of another trace: its checksum is wrong";
      }
      InitialMemory.forEachPage(file, (gfn, content) -> {});
      return null;
    } catch (final TraceException e) {
      return e.getMessage();
    } catch (final IOException e) {
      return file + ": cannot be read: " + e.getMessage();
    }
  }

  /** CRC-32C of a file, as the manifest has it. */
  static String checksum(final Path file) throws IOException {
    try (CheckedInputStream in = new CheckedInputStream(Files.newInputStream(file), new CRC32C())) {
      final byte[] buffer = new byte[BUFFER];
      int count = 0;
      while (count >= 0) {
        count = in.read(buffer);
      }
      return String.format(Locale.ROOT, "%08x", in.getChecksum().getValue());
    }
  }
}
