package dev.vmexit.cli;

import dev.vmexit.exit.ExitSink;
import dev.vmexit.exit.UntimedSink;
import dev.vmexit.vm.TscClock;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import org.agrona.concurrent.NanoClock;
import org.agrona.concurrent.SystemNanoClock;
import picocli.CommandLine.Option;

/** Where the host times of the records come from: {@code run --timestamps}. */
final class TimestampOptions {
  /** The rate of the TSC is measured at least so long; while the guest is loaded anyway. */
  private static final long CALIBRATION_NANOS = 20_000_000;

  private static final Path KERNEL_CLOCK =
      Path.of("/sys/devices/system/clocksource/clocksource0/current_clocksource");

  /** What can be asked for. */
  enum Wish {
    AUTO,
    TSC,
    NANO,
    NONE
  }

  @Option(
      names = "--timestamps",
      paramLabel = "CLOCK",
      defaultValue = "auto",
      description = {
        "Host times in the trace: tsc, nano (System.nanoTime), none,",
        "or auto: the TSC where the kernel, too, takes it.",
        "Default: ${DEFAULT-VALUE}."
      })
  private Wish timestamps;

  private TscClock.Calibration calibration;
  private NanoClock clock;
  private String source;

  /** Whether the records will have no times. */
  boolean none() {
    return timestamps == Wish.NONE;
  }

  /** Starts to measure, where there is something to measure. */
  void begin(final PrintWriter err) {
    final boolean available = TscClock.isAvailable();
    if (timestamps == Wish.TSC && !available) {
      err.println(
          "vmexit: --timestamps tsc: this processor has no invariant TSC; System.nanoTime is taken");
      err.flush();
    }
    if (available && (timestamps == Wish.TSC || (timestamps == Wish.AUTO && kernelTakesIt()))) {
      calibration = TscClock.begin(SystemNanoClock.INSTANCE);
    }
  }

  private static boolean kernelTakesIt() {
    try {
      return Files.readString(KERNEL_CLOCK).trim().equals("tsc");
    } catch (final IOException e) {
      return false; // no such kernel: then nobody has said that its cores agree
    }
  }

  /** The host's clock for the machine and its records. */
  NanoClock clock() {
    choose();
    return clock;
  }

  /** Its name, for the manifest. */
  String source() {
    choose();
    return source;
  }

  private void choose() {
    if (clock != null) {
      return;
    }
    if (calibration == null) {
      clock = SystemNanoClock.INSTANCE;
      source = timestamps == Wish.NONE ? "none" : "System.nanoTime";
      return;
    }
    final TscClock tsc = calibration.end(CALIBRATION_NANOS);
    clock = tsc;
    source =
        String.format(
            Locale.ROOT,
            "TSC, %.3f MHz by System.nanoTime within %.1f ppm",
            tsc.megahertz(),
            tsc.errorPpm());
  }

  /** What records are written to. */
  ExitSink sink(final ExitSink sink) {
    return timestamps == Wish.NONE ? new UntimedSink(sink) : sink;
  }
}
