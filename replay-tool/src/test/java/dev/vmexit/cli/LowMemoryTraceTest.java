package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.replay.Difference;
import dev.vmexit.replay.ReplayEngine;
import dev.vmexit.trace.TraceReader;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Traces of a machine whose chipset changes what memory there is. */
final class LowMemoryTraceTest {
  private static final int STATUS = 33;
  private static final int SHADOWED = 0xF_2000;

  @TempDir private Path temporary;

  /** Says Y for each thing that is as it must be. */
  private static void body(final HandMadeBios bios) {
    bios.store(0x500, 0x1111);
    bios.load(0x10_0500);
    bios.sayWhether(0, 'Y', 'n');
    bios.port(0x92, 0);
    bios.load(0x10_0500);
    bios.sayWhether(0x1111, 'Y', 'n');
    bios.store(0x10_0500, 0x2222);
    bios.load(0x500);
    bios.sayWhether(0x2222, 'Y', 'n');
    bios.port(0x92, 2);
    bios.load(0x10_0500);
    bios.sayWhether(0, 'Y', 'n');
    // From here on the code runs in RAM: a copy, made while reads reached the ROM.
    bios.pam(0x59, 0x20);
    bios.store(SHADOWED, 0x3333);
    bios.load(SHADOWED);
    bios.sayWhether(0, 'Y', 'n');
    bios.copyOnto();
    bios.pam(0x59, 0x10);
    bios.load(SHADOWED);
    bios.sayWhether(0x3333, 'Y', 'n');
    bios.store(SHADOWED, 0x4444);
    bios.load(SHADOWED);
    bios.sayWhether(0x3333, 'Y', 'n');
    bios.pam(0x59, 0x30);
    bios.store(SHADOWED, 0x5555);
    bios.load(SHADOWED);
    bios.sayWhether(0x5555, 'Y', 'n');
  }

  private Path record(final String mmu) throws Exception {
    final Path bios = HandMadeBios.write(temporary.resolve("bios"), LowMemoryTraceTest::body);
    final Path trace = temporary.resolve("trace-" + mmu);
    final Tool.Outcome run =
        Tool.run(
            "run",
            "--bios",
            bios.toString(),
            "--debug-exit",
            "--mmu",
            mmu,
            "--memory",
            "4M",
            "--record",
            trace.toString(),
            "--timeout",
            "300");
    assertEquals(STATUS, run.status(), run.toString());
    assertEquals("YYYYYYYY", run.out().strip(), run.toString());
    return trace;
  }

  @ParameterizedTest
  @ValueSource(strings = {"shadow", "nested"})
  void shouldAgreeWithItself(final String mmu) throws Exception {
    final Path trace = record(mmu);
    final Tool.Outcome replay = Tool.run("replay", trace.toString());
    assertEquals(ExitStatus.OK, replay.status(), replay.toString());
    assertTrue(replay.out().contains(" records agree ("), replay.out());
    final Tool.Outcome dump = Tool.run("dump", trace.toString(), "--kind", "debug");
    assertEquals(6, dump.out().lines().count(), dump.out());
    assertTrue(dump.out().contains("0xc0000-0xfffff ROM, A20 off"), dump.out());
    assertTrue(
        dump.out().contains("0xc0000-0xeffff ROM, 0xf0000-0xfffff RAM, read only, A20 on"),
        dump.out());
  }

  @Test
  void shouldNoticeThatARecordOfMemoryIsWrong() throws Exception {
    final Path trace = record("shadow");
    for (final long bit : new long[] {1L << 24, 1L << 40}) {
      final ReplayEngine engine;
      try (TraceReader reader = TraceReader.open(trace)) {
        engine = new ReplayEngine(reader.manifest());
        final ExitEvent event = new ExitEvent();
        int states = 0;
        while (reader.next(event)) {
          if (event.kind == ExitKind.DEBUG && ++states == 4) {
            event.value ^= bit;
          }
          if (!engine.accept(event)) {
            break;
          }
        }
      }
      final Difference difference = engine.result().difference();
      assertNotNull(difference, Long.toHexString(bit));
    }
  }
}
