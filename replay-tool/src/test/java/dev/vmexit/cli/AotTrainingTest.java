package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AotTrainingTest {
  @TempDir private Path folder;

  @Test
  void shouldNameTheClassesOfAJarAndNothingElse() throws IOException {
    final Path jar = folder.resolve("vmexit-x.jar");
    try (JarOutputStream out = new JarOutputStream(Files.newOutputStream(jar))) {
      for (final String name :
          List.of(
              "META-INF/MANIFEST.MF",
              "a/",
              "a/B.class",
              "a/B$C.class",
              "a/package-info.class",
              "module-info.class",
              "a/text.txt",
              "D.class")) {
        out.putNextEntry(new JarEntry(name));
      }
    }
    assertEquals(List.of("a.B", "a.B$C", "D"), AotTraining.classes(jar.toString()));
  }
}
