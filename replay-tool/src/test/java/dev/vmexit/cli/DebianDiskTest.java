package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The road of a PC: SeaBIOS reads GRUB from a disk or a CD, the menu is answered over the serial
 * line, and GRUB starts an unmodified Debian kernel from the same medium. Skipped, with the reason,
 * where the images cannot be made; {@code VMEXIT_DEBIAN} is as in {@link DebianGuestTest}, and
 * {@code all} runs the boots of the 32-bit kernel too, two minutes each.
 */
final class DebianDiskTest {
  private static final String TIMEOUT = "400";
  private static final String PROMPT = "vmexit:/root# ";

  @TempDir private Path temporary;

  @BeforeAll
  static void make() {
    final String wish = System.getenv().getOrDefault("VMEXIT_DEBIAN", "");
    assumeFalse(wish.equals("off"), "SKIPPED, no boots from disks: VMEXIT_DEBIAN=off");
    try {
      SeaBios.bios();
      GuestDisk.ofProcess().require(GuestDisk.DISK);
      GuestDisk.ofProcess().require(GuestDisk.CD);
    } catch (final GuestException e) {
      if (wish.equals("required") || wish.equals("all")) {
        throw e;
      }
      abort("SKIPPED, no boots from disks: " + e.getMessage());
    }
  }

  @ParameterizedTest
  @CsvSource({
    "--disk, debian-12-disk, 6, x86_64, shadow",
    "--disk, debian-12-disk, 3, i686, shadow",
    "--cdrom, debian-12-cd, 3, i686, nested"
  })
  void shouldBootThroughBiosAndGrub(
      final String option,
      final String image,
      final String key,
      final String machine,
      final String mmu)
      throws Exception {
    assumeTrue(
        key.equals("6") || "all".equals(System.getenv("VMEXIT_DEBIAN")),
        "SKIPPED, the 32-bit kernel from " + image + ": give VMEXIT_DEBIAN=all");
    final Path trace = temporary.resolve("trace");
    try (ForkedTool tool =
        ForkedTool.start(
            temporary,
            "run",
            "--bios",
            option,
            image,
            "--mmu",
            mmu,
            "--record",
            trace.toString(),
            "--timeout",
            TIMEOUT)) {
      tool.await("GNU GRUB  version 2.");
      tool.await("executed automatically in ");
      tool.type(key);
      tool.await("] Linux version 6.1.");
      tool.await(PROMPT);
      tool.type("uname -m; cat /proc/ioports | grep -c ACPI\n");
      tool.await("\n" + machine);
      tool.await(PROMPT);
      tool.type("poweroff -f\n");
      final Tool.Outcome outcome = tool.end();
      assertEquals(ExitStatus.OK, outcome.status(), outcome.err());
      assertTrue(outcome.err().startsWith("vmexit: the guest powered off\n"), outcome.err());
      for (final String trouble : new String[] {"BUG:", "WARNING:", "Oops", "Call Trace"}) {
        assertTrue(!outcome.out().contains(trouble), outcome.out());
      }
    }
    final Tool.Outcome replay = Tool.run("replay", trace.toString());
    assertEquals(ExitStatus.OK, replay.status(), replay.toString());
    assertTrue(replay.out().contains(" records agree ("), replay.out());
  }

  /** The display's menu, the kernel's console on it, and a shell at the keyboard. */
  @Test
  void shouldShowTheDisplayAndTakeKeys() throws Exception {
    final Path trace = temporary.resolve("display");
    try (ForkedTool tool =
        ForkedTool.start(
            temporary,
            "run",
            "--bios",
            "--display",
            "text",
            "--disk",
            GuestDisk.DISK,
            "--record",
            trace.toString(),
            "--timeout",
            TIMEOUT)) {
      tool.awaitScreen("64-bit, on the display");
      tool.awaitScreen("executed automatically in ");
      tool.type("d");
      tool.awaitScreen(PROMPT);
      tool.type("echo \"$((6*7))<>\"\n");
      tool.awaitScreen("42<>");
      tool.type("poweroff -f\n");
      final Tool.Outcome outcome = tool.end();
      assertEquals(ExitStatus.OK, outcome.status(), outcome.err());
      assertTrue(outcome.out().contains("\u001B[?1049l"), "the terminal's own screen is back");
    }
    final Tool.Outcome replay = Tool.run("replay", trace.toString());
    assertEquals(ExitStatus.OK, replay.status(), replay.toString());
  }

  @Test
  void shouldPowerOffFromTheMenu() throws Exception {
    try (ForkedTool tool =
        ForkedTool.start(
            temporary,
            "run",
            "--bios",
            "--disk",
            GuestDisk.DISK,
            "--no-record",
            "--timeout",
            TIMEOUT)) {
      tool.await("executed automatically in ");
      tool.type("p");
      final Tool.Outcome outcome = tool.end();
      assertEquals(ExitStatus.OK, outcome.status(), outcome.err());
    }
  }
}
