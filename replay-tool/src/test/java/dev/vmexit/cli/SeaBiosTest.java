package dev.vmexit.cli;

import static dev.vmexit.x86.encode.Register.AH;
import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.EAX;
import static dev.vmexit.x86.encode.Register.EBX;
import static dev.vmexit.x86.encode.Register.ECX;
import static dev.vmexit.x86.encode.Register.EDX;
import static dev.vmexit.x86.encode.Register.ESI;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
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

  /** The display's BIOS sets a font of 8 lines and bright backgrounds; a boot sector draws. */
  @Test
  void shouldShowFiftyRowsOfAPcsCharacters() throws Exception {
    final Assembler a = new Assembler(2, 0x7C00);
    final Label text = a.label("text");
    final Label again = a.label("again");
    final Label done = a.label("done");
    for (final int function : new int[] {0x0003, 0x1112, 0x1003}) {
      a.mov(EAX, function);
      a.xor(EBX, EBX);
      a.interrupt(0x10);
    }
    a.mov(ESI, text);
    a.mov(EDX, 0x3100);
    a.bind(again);
    a.mov(EAX, 0x0200);
    a.xor(EBX, EBX);
    a.interrupt(0x10);
    a.lods(1);
    a.test(AL, AL);
    a.jcc(Condition.E, done);
    a.mov(AH, 0x09);
    a.mov(EBX, 0x009F);
    a.mov(ECX, 1);
    a.interrupt(0x10);
    a.inc(EDX);
    a.jmp(again);
    a.bind(done);
    final Label rest = a.here();
    a.hlt();
    a.jmp(rest);
    a.bind(text);
    a.db(0xC9, 0xCD, 0xBB, ' ', 'F', 'I', 'F', 'T', 'Y', 0);
    final byte[] sector = Arrays.copyOf(a.assemble(), 1 << 20);
    sector[510] = 0x55;
    sector[511] = (byte) 0xAA;
    final Path disk = Files.write(temporary.resolve("boot"), sector);
    try (ForkedTool tool =
        ForkedTool.start(
            temporary,
            "run",
            "--bios",
            "--display",
            "text",
            "--no-record",
            "--disk",
            disk.toString(),
            "--exit-on",
            "\u2554\u2550\u2557 FIFTY",
            "--timeout",
            "300")) {
      final Tool.Outcome run = tool.end();
      final String shown =
          new String(run.out().getBytes(StandardCharsets.ISO_8859_1), StandardCharsets.UTF_8);
      assertEquals(ExitStatus.OK, run.status(), run.err());
      assertTrue(shown.contains("\u001B[50;1H\u001B[0;97;104m\u2554\u2550\u2557 FI"), shown);
      final String left = shown.substring(shown.indexOf("\u001B[?1049l"));
      assertEquals("\u2554\u2550\u2557 FIFTY", left.lines().skip(49).findFirst().orElse(left));
    }
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
