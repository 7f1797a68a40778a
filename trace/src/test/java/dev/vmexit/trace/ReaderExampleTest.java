package dev.vmexit.trace;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import java.io.StringWriter;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The example in the package's documentation, as it stands there, compiles and does what it says.
 */
final class ReaderExampleTest {
  private static final Pattern SNIPPET =
      Pattern.compile("\\{@snippet :\n(.*?)\n \\* }\n \\*/", Pattern.DOTALL);

  @TempDir Path temporary;

  private static String example() throws Exception {
    final String door =
        Files.readString(Path.of("../trace/src/main/java/dev/vmexit/trace/package-info.java"));
    final Matcher matcher = SNIPPET.matcher(door);
    Assertions.assertTrue(matcher.find());
    return """
    package example;
    import dev.vmexit.exit.ExitEvent;
    import dev.vmexit.exit.ExitKind;
    import dev.vmexit.trace.TracePoint;
    import dev.vmexit.trace.TraceReader;
    import java.nio.file.Path;
    public final class Example {
      public\
    """
        + matcher.group(1).replaceAll("(?m)^ \\*", "")
        + "\n}\n";
  }

  private void record(final Path folder) {
    try (Recorder recorder = TestTraces.start(folder)) {
      final ExitEvent event = new ExitEvent();
      for (int i = 0; i < 10; i++) {
        event.kind = i % 2 == 0 ? ExitKind.PIO : ExitKind.HLT;
        event.address = 0x3F8;
        event.write = i != 8;
        event.size = 1;
        event.hostTime = i * 1_000;
        recorder.sink(0).write(event);
      }
    }
  }

  @Test
  void shouldCompileAndReadATrace() throws Exception {
    final Path source = Files.writeString(temporary.resolve("Example.java"), example());
    final StringWriter complaints = new StringWriter();
    final var compiler = ToolProvider.getSystemJavaCompiler();
    final boolean compiled =
        compiler
            .getTask(
                complaints,
                null,
                null,
                List.of(
                    "-proc:none",
                    "-cp",
                    System.getProperty("java.class.path"),
                    "-d",
                    temporary.toString()),
                null,
                compiler.getStandardFileManager(null, null, null).getJavaFileObjects(source))
            .call();
    Assertions.assertTrue(compiled, complaints.toString());
    record(temporary.resolve("trace"));
    try (URLClassLoader loader = new URLClassLoader(new URL[] {temporary.toUri().toURL()})) {
      // Of the exits from 5 us on, 6 goes to the console and 8 comes from it.
      assertEquals(
          1L,
          MethodHandles.publicLookup()
              .findStatic(
                  loader.loadClass("example.Example"),
                  "bytesToTheConsole",
                  MethodType.methodType(long.class, Path.class))
              .invoke(temporary.resolve("trace")));
    } catch (final Throwable e) {
      throw new AssertionError(e);
    }
  }
}
