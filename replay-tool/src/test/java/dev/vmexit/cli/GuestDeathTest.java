package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.ExitKind;
import dev.vmexit.x86.encode.Assembler;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Guests that come to a bad end: how it is told, and that the trace leads up to it. */
final class GuestDeathTest {
  @TempDir Path temporary;

  private Tool.Outcome run(
      final int bits, final Consumer<Assembler> program, final String... options)
      throws IOException {
    final Path guest = FlatGuests.write(temporary.resolve("guest"), bits, program);
    final String[] fixed = {
      "run",
      "--kernel",
      guest.toString(),
      "--load-address",
      "0x" + Long.toHexString(FlatGuests.address(bits)),
      "--mode",
      Integer.toString(bits),
      "--record",
      temporary.resolve("trace").toString(),
    };
    final String[] args = java.util.Arrays.copyOf(fixed, fixed.length + options.length);
    System.arraycopy(options, 0, args, fixed.length, options.length);
    return Tool.run(args);
  }

  /**
   * Checks the post-mortem: last exits, registers, counts; and that the trace ends the same way.
   */
  private void assertPostMortem(final Tool.Outcome run, final ExitKind last, final long rip)
      throws IOException {
    assertTrue(run.err().lines().anyMatch(line -> line.matches(" +\\d+ " + last + " +rip .*")));
    final String registers = run.err().replaceAll("(?s).*last exits:\n", "");
    for (final String name :
        List.of("rax", "rsp", "r15", "rip", "cr0", "cr2", "cr3", "cr4", "efer", "rflags")) {
      assertTrue(registers.matches("(?s).*\\b" + name + " +[0-9a-f]{13,16}\\b.*"), name + run);
    }
    assertTrue(registers.contains(String.format("rip %016x\n", rip)), run.err());
    run.assertSays(" instructions, ", " exits\n", "trace: " + temporary.resolve("trace"));
    final List<ExitKind> kinds = TraceRecords.kinds(temporary.resolve("trace"));
    assertEquals(last, kinds.getLast(), kinds.toString());
    final Tool.Outcome replay = Tool.run("replay", temporary.resolve("trace").toString());
    assertEquals(ExitStatus.OK, replay.status(), replay.toString());
  }

  @ParameterizedTest
  @ValueSource(ints = {16, 32, 64})
  void shouldTellATripleFault(final int bits) throws IOException {
    final Tool.Outcome run = run(bits, FlatGuests::tripleFault);
    assertEquals(ExitStatus.TRIPLE_FAULT, run.status(), run.toString());
    assertTrue(run.err().startsWith("vmexit: the guest died of a triple fault"), run.err());
    final int lidt = bits == 16 ? 5 : bits == 32 ? 7 : 8;
    assertPostMortem(run, ExitKind.SHUTDOWN, FlatGuests.address(bits) + lidt);
  }

  @ParameterizedTest
  @ValueSource(ints = {16, 32, 64})
  void shouldTellAHaltThatNothingEnds(final int bits) throws IOException {
    final Tool.Outcome run = run(bits, FlatGuests::halt);
    assertEquals(ExitStatus.HALTED, run.status(), run.toString());
    assertTrue(
        run.err().startsWith("vmexit: the guest halted with interrupts disabled"), run.err());
    assertPostMortem(run, ExitKind.HLT, FlatGuests.address(bits) + 2);
  }

  /** An open bus reads as ones, which are no instruction; without an IDT that is the end. */
  @Test
  void shouldTellAJumpToWhereNothingIs() throws IOException {
    final Tool.Outcome run = run(64, FlatGuests::leave, "--timeout", "300");
    assertEquals(ExitStatus.TRIPLE_FAULT, run.status(), run.toString());
    assertPostMortem(run, ExitKind.SHUTDOWN, 0x8000_0000L);
  }

  /** In real mode the vectors are zeros: such a guest runs in circles, and time ends it. */
  @Test
  void shouldTellWhereAGuestWasWhenItsTimeIsOver() throws IOException {
    final Tool.Outcome run = run(16, FlatGuests::leaveReal, "--timeout", "1");
    assertEquals(ExitStatus.TIMEOUT, run.status(), run.toString());
    assertTrue(run.err().startsWith("vmexit: --timeout is over; its last exits:"), run.err());
    assertTrue(run.err().contains("  cr0 "), run.err());
    run.assertSays("trace: ");
    final Tool.Outcome replay = Tool.run("replay", temporary.resolve("trace").toString());
    assertEquals(ExitStatus.OK, replay.status(), replay.toString());
    assertFalse(replay.out().contains("not closed"), replay.out());
  }
}
