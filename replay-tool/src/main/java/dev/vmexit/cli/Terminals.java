package dev.vmexit.cli;

import java.io.Console;

/** Whether somebody sits at the other end. */
final class Terminals {
  private Terminals() {}

  /** Whether standard input and output are a terminal. */
  @SuppressWarnings("SystemConsoleNull") // it is null again where they are not, by JDK 25's default
  static boolean interactive() {
    final Console console = System.console();
    return console != null && console.isTerminal();
  }
}
