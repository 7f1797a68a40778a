package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The launcher, beside a build and a JDK that only say how they were called. */
class LauncherTest {
  private static final String JAVA =
      """
      #!/bin/sh
      echo "$*" >>"$CALLS"
      for option; do
        case $option in
          -XX:AOTCacheOutput=*) [ -z "${BROKEN:-}" ] || exit 1; echo cache >"${option#*=}"; exit ;;
        esac
      done
      exit 7
      """;

  @TempDir private Path folder;
  private Path root;
  private Path jar;
  private Path calls;

  @BeforeEach
  void build() throws IOException {
    root = Files.createDirectories(folder.resolve("root"));
    final Path launcher = ForkedTool.root().resolve("vmexit");
    assertTrue(Files.isExecutable(Files.copy(launcher, root.resolve("vmexit"))));
    Files.createDirectories(root.resolve(".mvn"));
    Files.writeString(root.resolve(".mvn").resolve("jvm.flags"), "-Xms64m\n");
    for (final String module : List.of("", "core", "trace", "replay-tool")) {
      Files.createDirectories(root.resolve(module).resolve("src").resolve("main"));
      age(Files.writeString(root.resolve(module).resolve("pom.xml"), ""), 60);
    }
    final Path target = Files.createDirectories(root.resolve("replay-tool").resolve("target"));
    Files.createDirectories(target.resolve("lib"));
    jar = age(Files.writeString(target.resolve("vmexit-replay-tool-1.jar"), ""), 30);
    calls = folder.resolve("calls");
    jdk("jdk", "25");
  }

  private Path jdk(final String name, final String release) throws IOException {
    final Path home = folder.resolve(name);
    final Path bin = Files.createDirectories(home.resolve("bin"));
    final Path java = Files.writeString(bin.resolve("java"), JAVA);
    assertTrue(java.toFile().setExecutable(true));
    Files.writeString(
        home.resolve("release"),
        "JAVA_VERSION=\"" + release + "\"\nJAVA_RUNTIME_VERSION=\"" + release + "+1\"\n");
    return home;
  }

  private static Path age(final Path file, final int minutes) throws IOException {
    final long then = System.currentTimeMillis() - Duration.ofMinutes(minutes).toMillis();
    return Files.setLastModifiedTime(file, FileTime.fromMillis(then));
  }

  private record Outcome(int status, String text, List<String> calls) {}

  private Outcome launch(final Map<String, String> environment, final String... args)
      throws IOException, InterruptedException {
    Files.deleteIfExists(calls);
    final ProcessBuilder builder =
        new ProcessBuilder(
            Stream.concat(Stream.of(root.resolve("vmexit").toString()), Stream.of(args)).toList());
    builder.environment().remove("VMEXIT_AOT");
    builder.environment().remove("VMEXIT_JAVA_OPTS");
    builder.environment().put("VMEXIT_JAVA_HOME", folder.resolve("jdk").toString());
    builder.environment().put("CALLS", calls.toString());
    builder.environment().putAll(environment);
    final Process process = builder.redirectErrorStream(true).start();
    process.getOutputStream().close();
    final String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    final int status = process.waitFor();
    return new Outcome(status, text, Files.exists(calls) ? Files.readAllLines(calls) : List.of());
  }

  @Test
  void shouldMakeTheCacheOnceAndUseIt() throws Exception {
    final Outcome first = launch(Map.of(), "stat", "a b");
    assertEquals(7, first.status);
    assertEquals(2, first.calls.size(), first.calls::toString);
    assertTrue(
        first.calls.get(0).contains(" dev.vmexit.cli.AotTraining run --backend soft --record "),
        first.calls::toString);
    assertTrue(first.text.startsWith("vmexit: making the JVM's AOT cache, once"), first.text);
    assertTrue(
        first.calls.get(1).matches(".* -XX:AOTCache=\\S+25\\+1\\.aot .* stat a b"),
        first.calls::toString);

    final Outcome second = launch(Map.of(), "doctor");
    assertEquals(1, second.calls.size(), second.calls::toString);
    assertTrue(second.calls.get(0).contains("-XX:AOTCache="), second.calls::toString);
    assertEquals("", second.text);
    try (Stream<Path> left = Files.list(jar.getParent())) {
      assertFalse(left.anyMatch(path -> path.toString().contains("training")));
    }
  }

  @Test
  void shouldMakeItAnewForAnotherBuildOrJdk() throws Exception {
    launch(Map.of(), "doctor");
    Files.setLastModifiedTime(
        jar, FileTime.fromMillis(System.currentTimeMillis() + Duration.ofHours(1).toMillis()));
    assertEquals(2, launch(Map.of(), "doctor").calls.size());
    age(jar, 30);
    final String other = jdk("other", "26").toString();
    assertEquals(2, launch(Map.of("VMEXIT_JAVA_HOME", other), "doctor").calls.size());
    assertEquals(1, launch(Map.of("VMEXIT_JAVA_HOME", other), "doctor").calls.size());
  }

  @Test
  void shouldStartWithoutItWhenItCannotBeMade() throws Exception {
    final Outcome first = launch(Map.of("BROKEN", "yes"), "doctor");
    assertEquals(7, first.status);
    assertEquals(2, first.calls.size(), first.calls::toString);
    assertFalse(first.calls.get(1).contains("AOT"), first.calls::toString);
    // Nor tried again by each start.
    final Outcome second = launch(Map.of(), "doctor");
    assertEquals(1, second.calls.size(), second.calls::toString);
    assertFalse(second.calls.get(0).contains("AOT"), second.calls::toString);
  }

  @Test
  void shouldDoWithoutItWhenToldSo() throws Exception {
    final Outcome outcome = launch(Map.of("VMEXIT_AOT", "off", "VMEXIT_JAVA_OPTS", "-Da -Db"), "x");
    assertEquals(1, outcome.calls.size(), outcome.calls::toString);
    assertFalse(outcome.calls.get(0).contains("AOT"), outcome.calls::toString);
    assertTrue(outcome.calls.get(0).contains(" -Da -Db -cp "), outcome.calls::toString);
  }

  @Test
  void shouldSayWhatIsWrongWithAJdk() throws Exception {
    final Path old = jdk("old", "17");
    final Outcome outcome = launch(Map.of("VMEXIT_JAVA_HOME", old.toString()), "doctor");
    assertEquals(1, outcome.status);
    assertEquals("vmexit: VMEXIT_JAVA_HOME=" + old + " is no JDK 25 or newer\n", outcome.text);
  }
}
