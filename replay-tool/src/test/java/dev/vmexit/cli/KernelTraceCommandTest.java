package dev.vmexit.cli;

import static dev.vmexit.x86.encode.Register.AL;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.KernelEvent;
import dev.vmexit.trace.TraceReader;
import dev.vmexit.vcpu.kvm.KernelTracepoints;
import dev.vmexit.vcpu.kvm.KvmSystem;
import dev.vmexit.vcpu.kvm.KvmUnavailableException;
import dev.vmexit.x86.encode.Assembler;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumSet;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code run --kernel-trace} on this host's KVM, and what the other commands make of its trace. */
final class KernelTraceCommandTest {
  @TempDir private Path temporary;

  @BeforeAll
  static void needsKvmAndTracefs() {
    try {
      KvmSystem.open().close();
    } catch (final KvmUnavailableException e) {
      Assumptions.abort("SKIPPED, not tested on this host: " + e.getMessage());
    }
    KernelTracepoints.missing()
        .ifPresent(why -> Assumptions.abort("SKIPPED, not tested on this host: " + why));
  }

  private static void code(final Assembler a) {
    a.mov(AL, 7);
    a.out(0x80, AL);
    a.in(AL, 0x61);
    a.mov(AL, 0);
    a.out(0xF4, AL);
  }

  private String record(final String name, final String... more) throws IOException {
    final Path guest = FlatGuests.write(temporary.resolve("guest"), KernelTraceCommandTest::code);
    final Path trace = temporary.resolve(name);
    final String[] args = {
      "run",
      "--backend",
      "kvm",
      "--kernel",
      guest.toString(),
      "--load-address",
      FlatGuests.ADDRESS,
      "--debug-exit",
      "--record",
      trace.toString()
    };
    final String[] all = Arrays.copyOf(args, args.length + more.length);
    System.arraycopy(more, 0, all, args.length, more.length);
    final Tool.Outcome run = Tool.run(all);
    assertEquals(1, run.status(), run.err());
    return trace.toString();
  }

  @Test
  void shouldTellWhatKvmDidBeforeEachExit() throws IOException {
    final String trace = record("trace", "--kernel-trace");
    final ExitEvent event = new ExitEvent();
    int exits = 0;
    try (TraceReader reader = TraceReader.open(Path.of(trace))) {
      assertTrue(reader.manifest().kinds().contains(ExitKind.KERNEL));
      long time = 0;
      long port = -1;
      while (reader.next(event)) {
        assertTrue(event.hostTime >= time, "in the order of time");
        time = event.hostTime;
        if (event.kind == ExitKind.KERNEL && event.detail == KernelEvent.PIO.ordinal()) {
          port = event.write ? event.address : port;
        } else if (event.kind == ExitKind.PIO) {
          exits++;
          assertTrue(!event.write || event.address == port, "KVM's own event comes first");
        }
      }
    }
    assertEquals(3, exits);

    final String dump = Tool.run("dump", trace, "--kind", "kernel").out();
    assertTrue(dump.contains("KERNEL") && dump.contains("pio port 0x80 val 0x7"), dump);
    assertFalse(dump.contains(" PIO "), dump);
    final String stat = Tool.run("stat", trace, "--by", "tracepoint").out();
    assertTrue(stat.lines().anyMatch(line -> line.startsWith("pio ")), stat);
    final Tool.Outcome replay = Tool.run("replay", trace);
    assertEquals(ExitStatus.OK, replay.status(), replay.err() + replay.out());
    assertTrue(Tool.run("dump", trace, "--json").out().contains("\"kind\":\"KERNEL\""));
  }

  @Test
  void shouldChangeNothingOfTheExits() throws IOException {
    final String with = record("with", "--kernel-trace");
    final String without = record("without");
    try (TraceReader reader = TraceReader.open(Path.of(without))) {
      assertEquals(EnumSet.complementOf(EnumSet.of(ExitKind.KERNEL)), reader.manifest().kinds());
    }
    final Tool.Outcome diff = Tool.run("diff", with, without);
    assertEquals(ExitStatus.OK, diff.status(), diff.out() + diff.err());
    final Tool.Outcome same = Tool.run("diff", with, with);
    assertFalse(same.out().contains("KERNEL"), same.out());
  }
}
