package dev.vmexit.cli;

import dev.vmexit.trace.TraceManifest;
import dev.vmexit.trace.TraceReader;
import java.io.PrintWriter;

/** What a reader of any view of a trace should know about the trace. */
final class TraceNotes {
  private TraceNotes() {}

  /** Prints a line for records that are missing, and one for a recording that was cut off. */
  static void print(final TraceReader reader, final PrintWriter out) {
    if (reader.gaps() > 0) {
      out.println("Missing from this trace: " + reader.gaps() + " records.");
    }
    final TraceManifest manifest = reader.manifest();
    if (!manifest.complete()) {
      out.println(
          "This recording was not closed"
              + (manifest.endReason().isEmpty() ? "" : " (" + manifest.endReason() + ")")
              + "; it is read up to its last exit.");
    }
  }
}
