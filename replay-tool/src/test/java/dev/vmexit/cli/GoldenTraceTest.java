package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.trace.TraceFolder;
import dev.vmexit.trace.TraceManifest;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * A trace of each schema version, as that version wrote it, stays readable, folder and packed. Made
 * when a version is released, and never again, in an empty folder with
 *
 * <pre>
 *   vmexit run --backend soft --clock virtual --record trace
 *   vmexit pack trace
 *   vmexit dump trace --json &gt;dump.json
 *   vmexit stat trace &gt;stat.txt
 *   zip -9 -r golden-VERSION.zip .
 * </pre>
 */
final class GoldenTraceTest {
  @TempDir Path temporary;

  /** All versions that there are: a new one needs its trace. */
  static List<Integer> versions() {
    return IntStream.rangeClosed(1, TraceManifest.SCHEMA_VERSION).boxed().toList();
  }

  private void unzip(final int version) throws IOException {
    final String name = "golden/golden-" + version + ".zip";
    try (InputStream resource = GoldenTraceTest.class.getResourceAsStream(name)) {
      assertNotNull(resource, name + " is missing");
      try (ZipInputStream zip = new ZipInputStream(resource)) {
        for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
          final Path file = temporary.resolve(entry.getName());
          if (entry.isDirectory()) {
            Files.createDirectories(file);
          } else {
            Files.createDirectories(file.getParent());
            Files.copy(zip, file);
          }
        }
      }
    }
  }

  private String expected(final String name) throws IOException {
    return Files.readString(temporary.resolve(name));
  }

  /** How an instruction is written may become better; its bytes are those that were recorded. */
  private static String withoutDisassembly(final String json) {
    return json.replaceAll("\"instruction\":\"[^\"]*\"", "");
  }

  private String said(final String... words) {
    final Tool.Outcome outcome = Tool.run(words);
    assertEquals(0, outcome.status(), outcome.err());
    assertEquals("", outcome.err());
    return outcome.out();
  }

  @ParameterizedTest
  @MethodSource("versions")
  void shouldReadTheTraceOfAVersionAsItDid(final int version) throws IOException {
    unzip(version);
    for (final String name : List.of("trace", "trace.vmtrace")) {
      final Path trace = temporary.resolve(name);
      assertEquals(version, TraceFolder.load(trace).schemaVersion());
      final String[] dump = {"dump", trace.toString(), "--json"};
      assertEquals(withoutDisassembly(expected("dump.json")), withoutDisassembly(said(dump)));
      assertEquals(expected("stat.txt"), said("stat", trace.toString()));
      assertTrue(said("verify", trace.toString()).contains("Whole: 725 records"));
    }
  }
}
