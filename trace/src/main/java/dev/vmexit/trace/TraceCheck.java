package dev.vmexit.trace;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.Locale;
import java.util.zip.CRC32C;

/** Checks what is in a trace's folder beside its records. */
public final class TraceCheck {
  private static final int BUFFER = 1 << 16;

  private TraceCheck() {}

  /** What is wrong with the initial memory and registers, in one line, or null. */
  public static String start(final Path folder, final TraceManifest manifest) {
    try {
      final String expected = manifest.startChecksum();
      if (!expected.isEmpty() && !startChecksum(folder, manifest.vcpus()).equals(expected)) {
        return folder
            + ": "
            + folder.relativize(TraceFolder.memory(folder))
            + " or a vCPU's initial state is damaged, missing, or of another trace: its checksum"
            + " is wrong";
      }
      if (TraceFiles.exists(TraceFolder.memory(folder))) {
        InitialMemory.forEachPage(TraceFolder.memory(folder), (gfn, content) -> {});
      }
      return null;
    } catch (final TraceException e) {
      return e.getMessage();
    } catch (final IOException e) {
      return folder + ": cannot be read: " + e.getMessage();
    }
  }

  /** CRC-32C of what a guest can be executed again from, as the manifest has it. */
  static String startChecksum(final Path folder, final int vcpus) throws IOException {
    final CRC32C checksum = new CRC32C();
    add(TraceFolder.memory(folder), checksum);
    for (int vcpu = 0; vcpu < vcpus; vcpu++) {
      add(TraceFolder.state(folder, vcpu), checksum);
    }
    return String.format(Locale.ROOT, "%08x", checksum.getValue());
  }

  private static void add(final Path file, final CRC32C checksum) throws IOException {
    if (!TraceFiles.exists(file)) {
      return;
    }
    try (InputStream in = TraceFiles.open(file)) {
      final byte[] buffer = new byte[BUFFER];
      for (int count = in.read(buffer); count >= 0; count = in.read(buffer)) {
        checksum.update(buffer, 0, count);
      }
    }
  }
}
