package dev.vmexit.cli;

import java.io.File;
import java.io.IOException;
import java.util.List;
import java.util.jar.JarFile;

/**
 * The run that the launcher makes the JVM's AOT cache from (JEP 483, 514): loads every class of
 * vmexit's own jars, as a guest asks for instructions and devices that the run does not come to,
 * and then does what {@link Main} does.
 */
public final class AotTraining {
  private static final String CLASS = ".class";

  private AotTraining() {}

  /** Runs the tool and ends the process with its status. */
  public static void main(final String[] args) throws IOException, ClassNotFoundException {
    for (final String jar : System.getProperty("java.class.path").split(File.pathSeparator, -1)) {
      if (new File(jar).getName().startsWith("vmexit-")) {
        for (final String name : classes(jar)) {
          Class.forName(name, false, AotTraining.class.getClassLoader());
        }
      }
    }
    Main.main(args);
  }

  /** The names of a jar's classes. */
  static List<String> classes(final String jar) throws IOException {
    try (JarFile file = new JarFile(jar)) {
      return file.stream()
          .map(entry -> entry.getName())
          .filter(name -> name.endsWith(CLASS) && !name.endsWith("-info" + CLASS))
          .map(name -> name.substring(0, name.length() - CLASS.length()).replace('/', '.'))
          .toList();
    }
  }
}
