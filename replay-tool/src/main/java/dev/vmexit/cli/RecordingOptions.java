package dev.vmexit.cli;

import dev.vmexit.exit.OnFull;
import dev.vmexit.trace.Durability;
import dev.vmexit.trace.RecorderOptions;
import dev.vmexit.trace.TraceKeep;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.agrona.concurrent.SystemNanoClock;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** Options of {@code run} that say how it records. */
final class RecordingOptions {
  private static final Pattern SIZE = Pattern.compile("(\\d{1,6})([MG])");

  /** Room for all exits of a boot. */
  private static final int RING_BYTES = 32 << 20;

  /** Where a folder is to stay small. */
  private static final int SMALL_RING_BYTES = 16 << 20;

  /** Below it a kept file would be mostly room for the next batches. */
  private static final long MIN_KEPT_BYTES = 16L << 20;

  @Option(
      names = "--on-full",
      paramLabel = "WHAT",
      defaultValue = "block",
      description = {
        "When the guest exits faster than is recorded: block lets it",
        "wait; drop leaves a gap in the trace that says how many",
        "records are missing. Default: ${DEFAULT-VALUE}."
      })
  private OnFull onFull;

  @Option(
      names = "--durability",
      paramLabel = "WHEN",
      defaultValue = "none",
      description = {
        "What is synced to the disk, for a power cut: none, each batch,",
        "or all at an interval of a second. Default: ${DEFAULT-VALUE}."
      })
  private Durability durability;

  @Option(
      names = "--roll",
      paramLabel = "SIZE",
      description = "Begin another file after so many bytes, such as 64M.")
  private String roll;

  @Option(
      names = "--keep",
      paramLabel = "LAST",
      converter = KeepConverter.class,
      description = {
        "Keep only the end of the run: 1000000 (exits), 30s (also ms,",
        "min, h) or 512M (also G, T). Default: everything."
      })
  private TraceKeep keep;

  /** Whether one of them was given a value that says something only where there is a trace. */
  boolean isBounded() {
    return roll != null || keep != null;
  }

  /** Whether what is kept is measured by the times of the records. */
  boolean keepsTime() {
    return keep != null && keep.unit() == TraceKeep.Unit.TIME;
  }

  RecorderOptions options() {
    final TraceKeep kept = keep == null ? TraceKeep.ALL : keep;
    final long rollBytes = roll == null ? RecorderOptions.rollBytes(kept) : bytes(roll);
    if (roll != null && rollBytes < RecorderOptions.MIN_ROLL) {
      throw new UserException("--roll " + roll + " is too small; give 1M or more");
    }
    if (kept.unit() == TraceKeep.Unit.BYTES
        && (kept.value() < MIN_KEPT_BYTES || kept.value() < 4 * rollBytes)) {
      throw new UserException(
          "--keep "
              + kept
              + " is too little; give 16M or more"
              + (roll == null ? "" : ", and four files of --roll " + roll));
    }
    return RecorderOptions.blocking(kept.isBounded() ? SMALL_RING_BYTES : RING_BYTES)
        .with(onFull)
        .with(durability, SystemNanoClock.INSTANCE)
        .with(rollBytes, kept);
  }

  private static long bytes(final String text) {
    final Matcher matcher = SIZE.matcher(text);
    if (!matcher.matches()) {
      throw new UserException("--roll " + text + " is not a size; write it like 64M or 1G");
    }
    return Long.parseLong(matcher.group(1)) << (matcher.group(2).equals("M") ? 20 : 30);
  }

  /** Reads a {@link TraceKeep}. */
  static final class KeepConverter implements ITypeConverter<TraceKeep> {
    @Override
    public TraceKeep convert(final String value) {
      try {
        return TraceKeep.parse(value);
      } catch (final IllegalArgumentException e) {
        throw new TypeConversionException(e.getMessage());
      }
    }
  }
}
