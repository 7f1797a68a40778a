package dev.vmexit.cli;

import dev.vmexit.trace.TraceDamage;
import dev.vmexit.trace.TraceFiles;
import dev.vmexit.trace.TraceManifest;
import dev.vmexit.trace.TraceView;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;

/** What a reader of any view of a trace should know about the trace. */
final class TraceNotes {
  /** No line of ours is longer. */
  private static final int LINE = 200;

  private TraceNotes() {}

  /**
   * Prints what the times are of, a line for records that are missing, and one for a recording that
   * was cut off.
   */
  static void print(final TraceView reader, final PrintWriter out) {
    out.println("Times: " + reader.manifest().clockSource() + ".");
    missing(reader, out);
    closing(reader, out);
  }

  /** Prints a line for a snapshot that was taken on the way. */
  static void snapshot(final Path folder, final PrintWriter out) {
    final Path place = folder.resolve(TriggerOptions.SNAPSHOT).resolve(TriggerOptions.PLACE);
    try {
      if (TraceFiles.exists(place)) {
        try (InputStream in = TraceFiles.open(place)) {
          final byte[] text = in.readNBytes(LINE);
          out.println("Snapshot at " + new String(text, StandardCharsets.UTF_8).trim() + ".");
        }
      }
    } catch (final IOException e) {
      out.println("Snapshot that cannot be read: " + e.getMessage());
    }
  }

  /** Prints a line for records that are missing, and for those that were not to be kept. */
  static void missing(final TraceView reader, final PrintWriter out) {
    final TraceManifest manifest = reader.manifest();
    if (reader.notKept() > 0) {
      out.println(
          "This trace begins in the middle, at record "
              + reader.notKept()
              + ": the last "
              + manifest.keep()
              + " were to be kept.");
    }
    if (reader.gaps() > 0) {
      out.println(
          "Missing from this trace: "
              + reader.gaps()
              + " records"
              + (manifest.dropped() > 0
                  ? "; " + manifest.dropped() + " were dropped by --on-full drop."
                  : "."));
    }
  }

  /** Prints a line for a recording that was cut off. */
  static void closing(final TraceView reader, final PrintWriter out) {
    final TraceManifest manifest = reader.manifest();
    if (reader.recording()) {
      out.println("This trace is being recorded; it is read up to this moment, see --follow.");
    } else if (!manifest.complete()) {
      out.println(
          "This recording was not closed"
              + (manifest.endReason().isEmpty() ? "" : " (" + manifest.endReason() + ")")
              + (manifest.recovered().isEmpty()
                  ? "; it is read up to its last exit."
                  : "; recovered up to its last exit: " + manifest.recovered() + "."));
    }
  }

  /**
   * Prints a line for a damaged trace, of which only what is whole was shown; or for one that
   * changed while it was read, which is no damage.
   *
   * @return the exit status
   */
  static int damages(final Path folder, final TraceView reader, final PrintWriter err) {
    final List<TraceDamage> damages = reader.damages();
    if (damages.isEmpty()) {
      return ExitStatus.OK;
    }
    if (reader.recording()) {
      err.println(
          "vmexit: "
              + folder
              + ": is being recorded, and has changed while it was read: "
              + reader.gaps()
              + " records could not be read; follow it, or read it when its run has ended");
      err.flush();
      return ExitStatus.OK;
    }
    err.println("vmexit: " + summary(folder, reader));
    err.flush();
    return ExitStatus.ERROR;
  }

  private static String summary(final Path folder, final TraceView reader) {
    final List<TraceDamage> damages = reader.damages();
    final TraceDamage first = damages.getFirst();
    return folder
        + ": damaged in "
        + (damages.size() == 1 ? "1 place" : damages.size() + " places")
        + ", "
        + (reader.gaps() == 0 ? "no record is" : reader.gaps() + " records are")
        + " missing: "
        + (first.file().equals(folder) ? "it" : folder.relativize(first.file()))
        + " "
        + first.what()
        + "; see vmexit verify";
  }
}
