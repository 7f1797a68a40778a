package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.trace.TraceReader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The road of a PC: SeaBIOS reads GRUB from a disk or a CD, the menu is answered over the serial
 * line, and GRUB starts an unmodified Debian kernel from the same medium, whose own drivers then
 * read and write it by DMA. Skipped, with the reason, where the images cannot be made; {@code
 * VMEXIT_DEBIAN} is as in {@link DebianGuestTest}, and {@code all} runs the boots of the 32-bit
 * kernel too, two minutes each.
 */
final class DebianDiskTest {
  private static final String TIMEOUT = "400";
  private static final String PROMPT = "vmexit:/root# ";

  /** What the guest's script says of a check. */
  private static final Pattern ANSWER = Pattern.compile("^vmexit: .*( ok$| WRONG|disks )");

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
    "--disk debian-12-disk --cdrom debian-12-cd, 6, x86_64, shadow",
    "--disk debian-12-disk, 3, i686, shadow",
    "--cdrom debian-12-cd, 3, i686, nested"
  })
  void shouldBootThroughBiosAndGrub(
      final String drives, final String key, final String machine, final String mmu)
      throws Exception {
    assumeTrue(
        key.equals("6") || "all".equals(System.getenv("VMEXIT_DEBIAN")),
        "SKIPPED, the 32-bit kernel with " + drives + ": give VMEXIT_DEBIAN=all");
    final Path trace = temporary.resolve("trace");
    final List<String> arguments = new ArrayList<>(List.of("run", "--bios"));
    arguments.addAll(List.of(drives.split(" ", -1)));
    arguments.addAll(List.of("--mmu", mmu, "--record", trace.toString(), "--timeout", TIMEOUT));
    try (ForkedTool tool = ForkedTool.start(temporary, arguments.toArray(String[]::new))) {
      tool.await("GNU GRUB  version 2.");
      tool.await("executed automatically in ");
      tool.type(key);
      tool.await("] Linux version 6.1.");
      tool.await(PROMPT);
      tool.type("uname -m; cat /proc/ioports | grep -c ACPI\n");
      tool.await("\n" + machine);
      tool.await(PROMPT);
      tool.type("sh /etc/vmexit/disks\n");
      tool.await("\nvmexit: disks ");
      final Tool.Outcome outcome = powerOff(tool);
      final List<String> answers = new ArrayList<>();
      if (drives.contains(GuestDisk.DISK)) {
        answers.add("vmexit: files of the disk ok");
        answers.add("vmexit: written to the disk ok");
        answers.add("vmexit: last sectors ok");
      }
      if (drives.contains(GuestDisk.CD)) {
        answers.add("vmexit: files of the CD ok");
      }
      answers.add("vmexit: what the drivers complain of ok");
      answers.add(GuestInitramfs.DISKS_DONE);
      assertEquals(
          answers,
          outcome.out().lines().filter(line -> ANSWER.matcher(line).find()).toList(),
          outcome.out());
      for (final String trouble : new String[] {"BUG:", "WARNING:", "Oops", "Call Trace"}) {
        assertTrue(!outcome.out().contains(trouble), outcome.out());
      }
    }
    // All that md5sum saw came by the bus master: the files of each drive are above 20 MB.
    final long drivesCount = drives.split("--", -1).length - 1;
    final long moved = dmaBytes(trace);
    assertTrue(moved > drivesCount * 20_000_000, moved + " bytes by DMA");
    final Tool.Outcome replay = Tool.run("replay", trace.toString());
    assertEquals(ExitStatus.OK, replay.status(), replay.toString());
    assertTrue(replay.out().contains(" records agree ("), replay.out());
  }

  private static Tool.Outcome powerOff(final ForkedTool tool) throws Exception {
    tool.await(PROMPT);
    tool.type("poweroff -f\n");
    final Tool.Outcome outcome = tool.end();
    assertEquals(ExitStatus.OK, outcome.status(), outcome.err());
    assertTrue(outcome.err().startsWith("vmexit: the guest powered off\n"), outcome.err());
    return outcome;
  }

  private static long dmaBytes(final Path trace) {
    long bytes = 0;
    final ExitEvent event = new ExitEvent();
    try (TraceReader reader = TraceReader.open(trace)) {
      while (reader.next(event)) {
        if (event.kind == ExitKind.DMA) {
          bytes += event.dataLength;
        }
      }
    }
    return bytes;
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
      // The screen has no blanks at the ends of its rows.
      tool.awaitScreen(PROMPT.stripTrailing());
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
  void shouldStartAgainWhenGrubReboots() throws Exception {
    final Path trace = temporary.resolve("again");
    try (ForkedTool tool =
        ForkedTool.start(
            temporary,
            "run",
            "--bios",
            "--disk",
            GuestDisk.DISK,
            "--on-reset",
            "restart",
            "--record",
            trace.toString(),
            "--timeout",
            TIMEOUT)) {
      tool.await("executed automatically in ");
      tool.type("c");
      tool.await("grub> ");
      tool.type("reboot\n");
      tool.await("executed automatically in ");
      tool.type("p");
      final Tool.Outcome outcome = tool.end();
      assertEquals(ExitStatus.OK, outcome.status(), outcome.err());
      assertTrue(outcome.err().contains("; it starts again\n"), outcome.err());
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
