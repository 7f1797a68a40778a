package dev.vmexit.trace;

import java.nio.file.Path;

/**
 * A part of a trace that cannot be read.
 *
 * @param file where it is
 * @param fromOffset first byte of it in the file
 * @param toOffset first byte behind it
 * @param firstSequence first record that is missing
 * @param nextSequence first record behind it that is there; the same where none is missing; less
 *     where nobody knows
 * @param what is wrong, as the end of a sentence that the file's name starts
 */
public record TraceDamage(
    Path file, long fromOffset, long toOffset, long firstSequence, long nextSequence, String what) {
  /** One line for people. */
  @Override
  public String toString() {
    final String where =
        file + " at " + fromOffset + (toOffset > fromOffset ? " to " + toOffset : "") + " " + what;
    if (nextSequence == firstSequence) {
      return where + ": no record is missing";
    }
    if (nextSequence < firstSequence) {
      return where + ": what comes from record " + firstSequence + " on is missing";
    }
    return where
        + (nextSequence == firstSequence + 1
            ? ": record " + firstSequence + " is missing"
            : ": records " + firstSequence + " to " + (nextSequence - 1) + " are missing");
  }
}
