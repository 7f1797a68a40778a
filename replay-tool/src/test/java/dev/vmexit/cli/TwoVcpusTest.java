package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.trace.TimeOrderedReader;
import dev.vmexit.trace.TraceFolder;
import dev.vmexit.trace.TraceReader;
import dev.vmexit.vcpu.kvm.KvmSystem;
import dev.vmexit.vcpu.kvm.KvmUnavailableException;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Two vCPUs on KVM from the command line: both are in the trace. */
@Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
final class TwoVcpusTest {
  private static final int ACCESSES = 200;
  private static final int SECOND = 0x2_0000;
  private static final int DONE = 0x600;

  @TempDir Path folder;

  /** In protected mode: starts the second processor, writes to a port, waits for it, ends. */
  private static void first(final Assembler a) {
    final byte[] code = second();
    for (int i = 0; i < code.length; i++) {
      a.mov(Memory.absolute(SECOND + i).asByte(), code[i] & 0xFF);
    }
    a.mov(Register.EBX, 0xFEE0_0000L);
    for (final int command : new int[] {0x4500, 0x4600 | SECOND >> 12}) {
      a.mov(Memory.at(Register.EBX, 0x310).asDword(), 1 << 24);
      a.mov(Memory.at(Register.EBX, 0x300).asDword(), command);
    }
    accesses(a, 1);
    final Label wait = a.here();
    a.pause();
    a.cmp(Memory.absolute(DONE).asByte(), 1);
    a.jcc(Condition.NE, wait);
    FlatGuests.debugExit(a);
  }

  private static byte[] second() {
    final Assembler a = new Assembler(2, 0);
    accesses(a, 2);
    a.mov(Memory.absolute(DONE).asByte(), 1);
    FlatGuests.halt(a);
    return a.assemble();
  }

  private static void accesses(final Assembler a, final int value) {
    a.mov(Register.ECX, ACCESSES);
    a.mov(Register.AL, value);
    final Label again = a.here();
    a.out(0x80, Register.AL);
    a.dec(Register.ECX);
    a.jcc(Condition.NE, again);
  }

  @Test
  void shouldRecordBoth() throws IOException {
    try {
      KvmSystem.open().close();
    } catch (final KvmUnavailableException e) {
      Assumptions.abort("SKIPPED, not tested on this host: " + e.getMessage());
    }
    final Path guest = FlatGuests.write(folder.resolve("guest.bin"), 32, TwoVcpusTest::first);
    final Path trace = folder.resolve("trace");
    final Tool.Outcome run =
        Tool.run(
            "run",
            "--kernel",
            guest.toString(),
            "--load-address",
            Long.toString(FlatGuests.address(32)),
            "--mode",
            "32",
            "--memory",
            "16M",
            "--backend",
            "kvm",
            "--vcpus",
            "2",
            "--debug-exit",
            "--record",
            trace.toString());
    assertEquals(85, run.status(), run.err());
    assertEquals(2, TraceFolder.load(trace).vcpus());
    assertTrue(Files.exists(TraceFolder.state(trace, 1)));
    final List<List<Long>> times = List.of(new ArrayList<>(), new ArrayList<>());
    long started = 0;
    long ended = 0;
    final ExitEvent event = new ExitEvent();
    try (TraceReader reader = TraceReader.open(trace)) {
      while (reader.next(event)) {
        if (event.kind == ExitKind.PIO && event.address == 0x80) {
          assertEquals(event.vcpu + 1, event.value);
          times.get(event.vcpu).add(event.hostTime);
        } else if (event.kind == ExitKind.MMIO) {
          started = event.hostTime;
        } else if (event.kind == ExitKind.PIO) {
          ended = event.hostTime;
        }
      }
    }
    for (final List<Long> one : times) {
      assertEquals(ACCESSES, one.size());
    }
    // One clock for both: the second was started by the first, and done before that ended.
    assertTrue(times.get(1).getFirst() > started, "it cannot begin before it is started");
    assertTrue(times.get(1).getLast() < ended);
    long before = 0;
    final int[] seen = new int[2];
    try (TimeOrderedReader reader = TimeOrderedReader.open(trace)) {
      while (reader.next(event)) {
        assertTrue(event.hostTime >= before, "in the order of time");
        before = event.hostTime;
        assertEquals(seen[event.vcpu]++, event.sequence, "each vCPU's own order is kept");
      }
      assertEquals(seen[0] + seen[1], reader.records());
    }
    assertTrue(seen[0] > ACCESSES && seen[1] > ACCESSES);
    final Tool.Outcome dump = Tool.run("dump", trace.toString(), "--kind", "pio");
    assertEquals(
        ACCESSES,
        dump.out().lines().filter(l -> l.startsWith("vcpu1 ") && l.contains("0x80")).count());
    final Tool.Outcome replay = Tool.run("replay", trace.toString());
    assertEquals(ExitStatus.OK, replay.status(), replay.toString());
    assertTrue(replay.out().lines().anyMatch(line -> line.matches("PIO +401")), replay.out());
  }
}
