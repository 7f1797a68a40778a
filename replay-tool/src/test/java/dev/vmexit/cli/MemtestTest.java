package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.vmexit.boot.AcpiTables;
import dev.vmexit.boot.BootEntry;
import dev.vmexit.boot.BootOptions;
import dev.vmexit.boot.KernelImage;
import dev.vmexit.exit.NullExitSink;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.vm.RunEnd;
import dev.vmexit.vm.RunResult;
import dev.vmexit.vm.VirtualMachine;
import java.nio.file.Path;
import java.util.Optional;
import org.agrona.concurrent.SystemNanoClock;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Debian's memtest86+, both builds, unmodified. Skipped, with the reason, where it can neither be
 * found nor fetched; {@code VMEXIT_DEBIAN} is as in {@link DebianGuestTest}, and {@code all} has
 * each run a whole pass, minutes long.
 */
final class MemtestTest {
  /** Less than this it does not run in. */
  private static final String MEMORY = "8M";

  private static final int MEMORY_BYTES = 8 << 20;

  /** How its screen says that a pass is over, and that no word of memory was wrong. */
  private static final String PASSED = "Pass:  1        Errors: 0 ";

  /** Where a bit of memory is to be bad: above the program, and below the end. */
  private static final int BAD = 0x50_0000;

  private static final String TIMEOUT = "1200";

  @TempDir private Path temporary;

  private static GuestStore.Guest require(final String guest) {
    final String wish = System.getenv().getOrDefault("VMEXIT_DEBIAN", "");
    assumeFalse(wish.equals("off"), "SKIPPED, no memtest86+: VMEXIT_DEBIAN=off");
    try {
      return GuestStore.ofProcess().require(guest);
    } catch (final GuestException e) {
      if (wish.equals("required") || wish.equals("all")) {
        throw e;
      }
      abort("SKIPPED, no memtest86+: " + e.getMessage());
      throw e;
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"memtest86", "memtest86-ia32"})
  void shouldRunAPassWithoutErrors(final String guest) throws Exception {
    assumeTrue(
        "all".equals(System.getenv("VMEXIT_DEBIAN")),
        "SKIPPED, a pass of " + guest + ": minutes; give VMEXIT_DEBIAN=all");
    require(guest);
    final Tool.Outcome run =
        Tool.run(
            "run",
            guest,
            "--memory",
            MEMORY,
            "--no-record",
            "--exit-on",
            PASSED,
            "--timeout",
            TIMEOUT);
    assertEquals(ExitStatus.OK, run.status(), run.err());
    assertTrue(run.err().contains("the text of --exit-on was seen"), run.err());
  }

  /** The beginning of a pass is enough of a trace. */
  @ParameterizedTest
  @ValueSource(strings = {"memtest86", "memtest86-ia32"})
  void shouldAgreeWithItsTrace(final String guest) throws Exception {
    require(guest);
    final Path trace = temporary.resolve(guest);
    final Tool.Outcome run =
        Tool.run(
            "run",
            guest,
            "--memory",
            MEMORY,
            "--clock",
            "virtual",
            "--record",
            trace.toString(),
            "--stop-when",
            "count=1000000",
            "--timeout",
            TIMEOUT);
    assertEquals(ExitStatus.OK, run.status(), run.toString());
    final Tool.Outcome replay = Tool.run("replay", trace.toString());
    assertEquals(ExitStatus.OK, replay.status(), replay.toString());
    assertTrue(replay.out().contains(" records agree ("), replay.out());
    assertTrue(!replay.out().contains("Not checked"), replay.out());
  }

  /** Zero errors mean something only where a bad bit makes some. */
  @ParameterizedTest
  @ValueSource(strings = {"memtest86", "memtest86-ia32"})
  void shouldFindABitThatFlips(final String guest) {
    assumeTrue(
        guest.equals("memtest86") || "all".equals(System.getenv("VMEXIT_DEBIAN")),
        "SKIPPED, " + guest + " as the other: 20 s; give VMEXIT_DEBIAN=all");
    final GuestStore.Guest files = require(guest);
    try (GuestMemory memory = GuestMemory.builder().ramWithHole(MEMORY_BYTES).build()) {
      final Console console = new Console(memory);
      final long rsdp = AcpiTables.build(1).writeTo(memory);
      final BootEntry entry =
          KernelImage.detect(files.kernel())
              .load(memory, new BootOptions(Optional.empty(), files.commandLine(), rsdp));
      final VirtualMachine.Options options =
          new VirtualMachine.Options(
              "max",
              VirtualMachine.MmuKind.NESTED,
              VirtualMachine.ClockKind.HOST,
              0,
              console::accept,
              b -> {},
              false,
              SystemNanoClock.INSTANCE);
      try (VirtualMachine vm = new VirtualMachine(memory, entry, options, new NullExitSink())) {
        console.machine = vm;
        final RunResult result = vm.run();
        assertEquals(RunEnd.TEXT_SEEN, result.end(), result + "\n" + console.text);
      }
    }
  }

  /** Flips a bit whenever the guest shows its count, until that has risen, or it is through. */
  private static final class Console {
    private final GuestMemory memory;
    private final StringBuilder text = new StringBuilder();
    private VirtualMachine machine;

    Console(final GuestMemory memory) {
      this.memory = memory;
    }

    void accept(final int value) {
      text.append((char) value);
      final int errors = text.lastIndexOf("Errors: ");
      if (errors < 0 || errors + "Errors: ".length() != text.length() - 1) {
        return;
      }
      // The character behind it.
      memory.write8(BAD, memory.read8(BAD) ^ 1);
      if (value != '0') {
        machine.commands().stop(RunEnd.TEXT_SEEN);
      } else if (text.indexOf("Pass:  1", Math.max(0, text.length() - 100)) >= 0) {
        machine.commands().stop(RunEnd.STOPPED);
      }
    }
  }
}
