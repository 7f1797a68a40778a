package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import dev.vmexit.vcpu.kvm.KvmSystem;
import dev.vmexit.vcpu.kvm.KvmUnavailableException;
import dev.vmexit.x86.encode.Assembler;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * Debian's SeaBIOS, in a read-only slot, on both processors: from the reset vector to the boot
 * sector of a disk. Its log is the same, and so are its exits until it reads the clock.
 */
@Timeout(value = 300, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
final class SeaBiosOnKvmTest {
  private static final int SECTOR = 512;
  private static final Pattern IN_STEP = Pattern.compile("vCPU 0: ([\\d,]+) exits are the same");

  /** Exits from the reset vector to the first look at the clock; of Debian 12's, 1,432. */
  private static final int IN_STEP_AT_LEAST = 1_000;

  @TempDir private Path temporary;

  @BeforeAll
  static void find() {
    try {
      SeaBios.bios();
      KvmSystem.open().close();
    } catch (final GuestException | KvmUnavailableException e) {
      abort("SKIPPED, not tested on this host: " + e.getMessage());
    }
  }

  private Path disk() throws IOException {
    final byte[] image = new byte[8 << 20];
    final Assembler a = new Assembler(2, 0x7C00);
    FlatGuests.debugExit(a);
    final byte[] code = a.assemble();
    System.arraycopy(code, 0, image, 0, code.length);
    image[SECTOR - 2] = 0x55;
    image[SECTOR - 1] = (byte) 0xAA;
    return Files.write(temporary.resolve("disk"), image);
  }

  private void run(final String backend, final Path disk) throws IOException {
    final Path log = temporary.resolve(backend + ".log");
    final Tool.Outcome run =
        Tool.run(
            "run",
            "--backend",
            backend,
            "--bios",
            "--bios-log",
            log.toString(),
            "--console",
            "none",
            "--memory",
            "64M",
            "--disk",
            disk + ",snapshot",
            "--debug-exit",
            "--record",
            temporary.resolve(backend).toString());
    assertEquals(85, run.status(), run.err());
  }

  @Test
  void shouldBootTheSameWayOnBothProcessors() throws IOException {
    final Path disk = disk();
    run("soft", disk);
    run("kvm", disk);
    final String log = Files.readString(temporary.resolve("kvm.log"));
    assertTrue(log.contains("Booting from 0000:7c00"), log);
    assertEquals(
        threadsSorted(Files.readString(temporary.resolve("soft.log"))), threadsSorted(log));

    final Tool.Outcome diff =
        Tool.run("diff", temporary.resolve("soft").toString(), temporary.resolve("kvm").toString());
    final Matcher inStep = IN_STEP.matcher(diff.out());
    if (!inStep.find()) {
      // Even the seconds of the clock were the same.
      assertEquals(ExitStatus.OK, diff.status(), diff.out());
      return;
    }
    assertTrue(Integer.parseInt(inStep.group(1).replace(",", "")) >= IN_STEP_AT_LEAST, diff.out());
    // The first difference is the time of day, or how often something that takes time was asked.
    assertEquals(ExitStatus.REPLAY_DIFFERENCE, diff.status(), diff.out());
  }

  /** Line by line, but while SeaBIOS looks for devices: it turns to the next thread by time. */
  private static List<String> threadsSorted(final String log) {
    final List<String> lines = new ArrayList<>(log.lines().toList());
    final int first = lines.indexOf("Turning on vga text mode console");
    final int last = lines.indexOf("All threads complete.");
    assertTrue(first >= 0 && last > first, log);
    Collections.sort(lines.subList(first + 1, last));
    return lines;
  }
}
