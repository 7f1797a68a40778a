package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.vcpu.kvm.KvmSystem;
import dev.vmexit.vcpu.kvm.KvmUnavailableException;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Register;
import java.io.IOException;
import java.nio.file.Path;
import java.util.function.Consumer;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Traces of small guests, from either processor, compared by {@code vmexit diff}. */
final class DiffCommandTest {
  private static final int DEBUG_EXIT_STATUS = 2 * 42 + 1;

  @TempDir Path folder;

  /** Ports in each size, a string, and memory that is not there. */
  private static void accesses(final Assembler a, final int last) {
    a.cld();
    a.mov(Register.CX, 20);
    final Label again = a.here();
    a.out(0x80, Register.AL);
    a.inc(Register.EAX);
    a.loop(again);
    a.mov(Register.DX, 0x80);
    a.mov(Register.ESI, 0x7C00);
    a.mov(Register.ECX, 5);
    a.rep();
    a.outs(1);
    a.in(Register.AX, 0xC0);
    a.test(Register.AX, Register.AX);
    final Label same = a.label();
    a.jcc(Condition.E, same);
    a.bind(same);
    a.mov(Register.AL, last);
    a.out(0x80, Register.AL);
    FlatGuests.debugExit(a);
  }

  private String record(
      final String name, final String backend, final int bits, final Consumer<Assembler> guest)
      throws IOException {
    final Path file = FlatGuests.write(folder.resolve(name + ".bin"), bits, guest);
    final String trace = folder.resolve(name).toString();
    final Tool.Outcome run =
        Tool.run(
            "run",
            "--kernel",
            file.toString(),
            "--load-address",
            Long.toString(FlatGuests.address(bits)),
            "--mode",
            Integer.toString(bits),
            "--memory",
            "16M",
            "--backend",
            backend,
            "--debug-exit",
            "--record",
            trace);
    assertEquals(DEBUG_EXIT_STATUS, run.status(), run::err);
    return trace;
  }

  @ParameterizedTest
  @ValueSource(ints = {16, 32, 64})
  void shouldFindNoDifferenceBetweenTheProcessors(final int bits) throws IOException {
    try {
      KvmSystem.open().close();
    } catch (final KvmUnavailableException e) {
      Assumptions.abort("SKIPPED, not tested on this host: " + e.getMessage());
    }
    final String soft = record("soft", "soft", bits, a -> accesses(a, 1));
    final String kvm = record("kvm", "kvm", bits, a -> accesses(a, 1));
    final Tool.Outcome diff = Tool.run("diff", soft, kvm);
    assertEquals(ExitStatus.OK, diff.status(), diff.out());
    // 20 bytes, 5 of a string, a word in, the last byte, the debug exit.
    assertTrue(diff.out().contains("The same 28 exits in the same order."), diff.out());
  }

  @Test
  void shouldShowTheFirstDifferenceInFull() throws IOException {
    final String one = record("one", "soft", 16, a -> accesses(a, 1));
    final String two = record("two", "soft", 16, a -> accesses(a, 2));
    final Tool.Outcome diff = Tool.run("diff", one, two, "--kind", "pio");
    assertEquals(ExitStatus.REPLAY_DIFFERENCE, diff.status(), diff.out());
    assertTrue(diff.out().contains("vCPU 0: 26 exits are the same"), diff.out());
    assertTrue(diff.out().contains("out 0x80/1 = 0x1 "), diff.out());
    assertTrue(diff.out().contains("out 0x80/1 = 0x2 "), diff.out());
    assertTrue(diff.out().lines().anyMatch(line -> line.matches("rax +0*1 +0*2")), diff.out());
    assertTrue(diff.out().lines().anyMatch(line -> line.matches("PIO +28 +28 +27")), diff.out());
  }

  @Test
  void shouldSayInOneLineWhenAKindIsInNeitherOrATraceIsNot() throws IOException {
    final String one = record("one", "soft", 16, a -> accesses(a, 1));
    final Tool.Outcome none = Tool.run("diff", one, folder.resolve("none").toString());
    assertEquals(ExitStatus.ERROR, none.status());
    none.assertOneLine("none");
    final Tool.Outcome kind = Tool.run("diff", one, one, "--kind", "gap");
    assertEquals(ExitStatus.ERROR, kind.status());
    kind.assertOneLine("--kind", "GAP");
  }
}
