import com.google.googlejavaformat.java.Formatter;
import com.google.googlejavaformat.java.ImportOrderer;
import com.google.googlejavaformat.java.JavaFormatterOptions;
import com.google.googlejavaformat.java.RemoveUnusedImports;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/**
 * Formats all Java sources below some folders with google-java-format, or checks that they are
 * formatted: {@code java Format.java check|write FOLDER...}. Ends with 1 where a check found some.
 */
class Format {
  public static void main(final String[] args) throws Exception {
    final boolean write = "write".equals(args[0]);
    final Formatter formatter =
        new Formatter(
            JavaFormatterOptions.builder().style(JavaFormatterOptions.Style.GOOGLE).build());
    int different = 0;
    for (int i = 1; i < args.length; i++) {
      for (final Path file : sources(Path.of(args[i]))) {
        final String text = Files.readString(file);
        final String formatted =
            formatter.formatSource(
                RemoveUnusedImports.removeUnusedImports(
                    ImportOrderer.reorderImports(text, JavaFormatterOptions.Style.GOOGLE)));
        if (!formatted.equals(text)) {
          different++;
          if (write) {
            Files.writeString(file, formatted);
          } else {
            System.err.println("not formatted: " + file);
          }
        }
      }
    }
    if (different > 0 && !write) {
      System.err.println(
          different + " files are not formatted; mend it: mvn -N -Dformat process-sources");
      System.exit(1);
    }
  }

  private static List<Path> sources(final Path folder) throws IOException {
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    try (Stream<Path> files = Files.walk(folder)) {
      return files.filter(file -> file.toString().endsWith(".java")).sorted().toList();
    }
  }
}
