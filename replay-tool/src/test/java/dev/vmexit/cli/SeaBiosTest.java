package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Starts Debian's SeaBIOS, unmodified, in a machine with nothing to boot from. With virtual time it
 * gives up after a minute that takes no time, and resets the machine. Skipped, with the reason,
 * where the BIOS is neither installed nor to be fetched.
 */
final class SeaBiosTest {
  @TempDir private Path temporary;

  @BeforeAll
  static void find() {
    try {
      SeaBios.bios();
    } catch (final GuestException e) {
      abort("SKIPPED, no BIOS: " + e.getMessage());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"shadow", "nested"})
  void shouldFindNothingToBootFrom(final String mmu) throws Exception {
    final Path log = temporary.resolve("log");
    final Path trace = temporary.resolve("trace");
    final Tool.Outcome run =
        Tool.run(
            "run",
            "--bios",
            "--bios-log",
            log.toString(),
            "--console",
            "none",
            "--clock",
            "virtual",
            "--mmu",
            mmu,
            "--timeout",
            "300",
            "--record",
            trace.toString());
    final String said = Files.readString(log);
    assertEquals(ExitStatus.RESET, run.status(), said + run.err());
    for (final String line :
        new String[] {
          "SeaBIOS (version ",
          "Running on QEMU (i440fx)",
          "Found 3 PCI devices",
          "Using pmtimer, ioport 0xb008",
          "PS2 keyboard initialized",
          "No bootable device.  Retrying in 60 seconds.",
          "Attempting a hard reboot"
        }) {
      assertTrue(said.contains(line), line + " is not in " + said);
    }
    final Tool.Outcome replay = Tool.run("replay", trace.toString());
    assertEquals(ExitStatus.OK, replay.status(), replay.toString());
    assertTrue(replay.out().contains(" records agree ("), replay.out());
  }

  @Test
  void shouldFindTheDrives() throws Exception {
    final Path log = temporary.resolve("log");
    final Path disk = Files.write(temporary.resolve("disk"), new byte[8 << 20]);
    final Path disc = Files.write(temporary.resolve("disc"), new byte[1 << 20]);
    final Tool.Outcome run =
        Tool.run(
            "run",
            "--bios",
            "--bios-log",
            log.toString(),
            "--console",
            "none",
            "--clock",
            "virtual",
            "--timeout",
            "300",
            "--no-record",
            "--disk",
            disk + ",snapshot",
            "--disk",
            disk + ",readonly",
            "--cdrom",
            disc.toString());
    final String said = Files.readString(log);
    assertEquals(ExitStatus.RESET, run.status(), said + run.err());
    for (final String line :
        new String[] {
          "ata0-0: vmexit disk ATA-6 Hard-Disk (8 MiBytes)",
          "ata0-1: vmexit disk ATA-6 Hard-Disk (8 MiBytes)",
          "DVD/CD [ata1-0: vmexit CD drive ATAPI-6 DVD/CD]",
          "Boot failed: not a bootable disk",
          "Boot failed: Could not read from CDROM (code 0005)"
        }) {
      assertTrue(said.contains(line), line + " is not in " + said);
    }
  }
}
