package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.trace.InitialMemory;
import dev.vmexit.trace.TraceFolder;
import dev.vmexit.trace.TraceReader;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class TriggersTest {
  @TempDir Path temporary;

  private Path folder;

  @BeforeEach
  void name() {
    folder = temporary.resolve("trace");
  }

  private Tool.Outcome record(final String... more) {
    final String[] words = new String[5 + more.length];
    System.arraycopy(
        new String[] {"run", "--clock", "virtual", "--record", folder.toString()}, 0, words, 0, 5);
    System.arraycopy(more, 0, words, 5, more.length);
    return Tool.run(words);
  }

  private ExitEvent last() {
    final ExitEvent event = new ExitEvent();
    try (TraceReader reader = TraceReader.open(folder)) {
      boolean more = true;
      while (more) {
        more = reader.next(event);
      }
    }
    return event;
  }

  @Test
  void shouldStopAtTheExit() {
    final Tool.Outcome outcome = record("--stop-when", "port=0x3f8 and count=5");
    assertEquals(0, outcome.status(), outcome.err());
    outcome.assertSays("the exit of --stop-when came");
    final ExitEvent last = last();
    assertEquals(ExitKind.PIO, last.kind);
    assertEquals(0x3F8, last.address);
    assertEquals("triggered", TraceFolder.load(folder).endReason());
  }

  @Test
  void shouldStopAtAnExitThatIsNotRecorded() {
    final Tool.Outcome outcome = record("--exits", "hlt", "--stop-when", "kind=cpuid");
    assertEquals(0, outcome.status(), outcome.err());
    outcome.assertSays("the exit of --stop-when came", "CPUID");
  }

  @Test
  void shouldStopWithoutARecording() {
    final Tool.Outcome outcome = Tool.run("run", "--no-record", "--stop-when", "kind=cr");
    assertEquals(0, outcome.status(), outcome.err());
    outcome.assertSays("the exit of --stop-when came");
  }

  @Test
  void shouldSaveMemoryAndRegistersAtTheExit() {
    final Tool.Outcome outcome = record("--snapshot-when", "kind=pio and count=300");
    assertEquals(0, outcome.status(), outcome.err());
    final Path snapshot = folder.resolve(TriggerOptions.SNAPSHOT);
    final long atStart =
        InitialMemory.forEachPage(TraceFolder.memory(folder), (gfn, content) -> {});
    final long then = InitialMemory.forEachPage(TraceFolder.memory(snapshot), (gfn, content) -> {});
    assertTrue(then > atStart, then + " pages, " + atStart + " at the start");
    assertTrue(Files.exists(TraceFolder.state(snapshot, 0)));
    final String said = Tool.run("stat", folder.toString()).out();
    assertTrue(said.contains("Snapshot at record ") && said.contains("(PIO), after "), said);
    assertEquals(0, Tool.run("pack", folder.toString()).status());
    assertEquals(said, Tool.run("stat", folder + ".vmtrace").out());
  }

  @Test
  void shouldSayInOneLineWhatCannotBe() {
    record("--stop-when", "port=abc").assertOneLine("--stop-when", "port=abc", "kind=pio,mmio");
    record("--snapshot-when", "colour=red").assertOneLine("--snapshot-when", "colour=red");
    assertFalse(Files.exists(folder));
    Tool.run("run", "--no-record", "--snapshot-when", "kind=pio")
        .assertOneLine("--snapshot-when", "--no-record");
  }
}
