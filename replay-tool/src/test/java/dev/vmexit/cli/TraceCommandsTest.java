package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitRing;
import dev.vmexit.exit.OnFull;
import dev.vmexit.replay.SyntheticGuest;
import dev.vmexit.trace.Recorder;
import dev.vmexit.trace.RecorderOptions;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.agrona.concurrent.YieldingIdleStrategy;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

final class TraceCommandsTest {
  @TempDir Path temporary;

  private Path folder;

  @BeforeEach
  void name() {
    folder = temporary.resolve("trace");
  }

  private final StringWriter output = new StringWriter();

  private int run(final Object command, final String... args) {
    final CommandLine line = new CommandLine(command);
    line.setCaseInsensitiveEnumValuesAllowed(true);
    line.setOut(new PrintWriter(output));
    line.setErr(new PrintWriter(output));
    line.setExecutionExceptionHandler(
        (e, c, parsed) -> {
          output.append(e.getMessage());
          return ExitStatus.ERROR;
        });
    return line.execute(args);
  }

  private void record(final SyntheticGuest guest) {
    try (Recorder recorder =
        Recorder.start(
            folder,
            SyntheticGuest.manifest(),
            RecorderOptions.blocking(ExitRing.MIN_CAPACITY),
            () -> YieldingIdleStrategy.INSTANCE,
            reason -> {})) {
      guest.events().forEach(recorder.sink(0)::write);
    }
  }

  @Test
  void shouldSayThatATraceIsBeingRecorded() {
    try (Recorder recorder =
        Recorder.start(
            folder,
            SyntheticGuest.manifest(),
            RecorderOptions.blocking(ExitRing.MIN_CAPACITY),
            () -> YieldingIdleStrategy.INSTANCE,
            reason -> {})) {
      SyntheticGuest.typical(1).events().forEach(recorder.sink(0)::write);
      assertEquals(ExitStatus.OK, run(new StatCommand(), folder.toString()));
      assertTrue(output.toString().contains("is being recorded; it is read up to"), this::text);
      output.getBuffer().setLength(0);
      assertEquals(ExitStatus.ERROR, run(new VerifyCommand(), folder.toString()));
      assertEquals(
          folder + ": is being recorded: verify it when its run has ended", output.toString());
    }
    output.getBuffer().setLength(0);
    assertEquals(ExitStatus.OK, run(new VerifyCommand(), folder.toString()));
    assertTrue(output.toString().startsWith("Whole: "), this::text);
  }

  private String text() {
    return output.toString();
  }

  @Test
  void shouldDumpOneLineARecord() throws IOException {
    record(SyntheticGuest.typical(1));
    assertEquals(0, run(new DumpCommand(), folder.toString()));
    final List<String> golden;
    try (BufferedReader lines =
        new BufferedReader(
            new InputStreamReader(
                TraceCommandsTest.class.getResourceAsStream("dump.txt"), StandardCharsets.UTF_8))) {
      golden = lines.lines().toList();
    }
    assertEquals(golden, output.toString().lines().toList());
  }

  @Test
  void shouldDumpARangeAndKindsOnly() {
    record(SyntheticGuest.typical(50));
    assertEquals(
        0,
        run(
            new DumpCommand(),
            folder.toString(),
            "--from",
            "100",
            "--to",
            "200",
            "--kind",
            "hlt,inject"));
    assertTrue(output.toString().lines().count() > 10);
    for (final String line : output.toString().lines().toList()) {
      final long sequence = Long.parseLong(line.substring(0, 8).trim());
      assertTrue(sequence >= 100 && sequence <= 200, line);
      assertTrue(line.contains(" HLT ") || line.contains(" INJECT "), line);
    }
  }

  @Test
  void shouldDumpJsonWithAllRegisters() {
    record(SyntheticGuest.typical(1));
    assertEquals(
        0, run(new DumpCommand(), folder.toString(), "--json", "--from", "3", "--to", "3"));
    final String line = output.toString();
    assertEquals(1, line.lines().count());
    assertTrue(line.contains("\"walk\":[{\"address\":\"0x1c90\""), line);
    assertTrue(line.contains("\"rbx\":\"0xffffc90000000320\""), line);
    assertTrue(line.contains("\"instruction\":\"mov QWORD PTR [rbx],rax\""), line);
  }

  @Test
  void shouldCountExits() {
    record(SyntheticGuest.typical(10));
    assertEquals(0, run(new StatCommand(), folder.toString(), "--by", "port"));
    final List<String> lines = output.toString().lines().toList();
    assertEquals("Time in the handler", lines.get(0));
    assertTrue(
        lines.contains(
            "0x40                    10  50.0  3.00us   300ns   300ns   300ns   300ns   300ns"),
        output.toString());
    assertEquals(ExitStatus.ERROR, run(new StatCommand(), folder.toString(), "--top", "0"));
    assertEquals(ExitStatus.USAGE, run(new StatCommand(), folder.toString(), "--by", "colour"));
  }

  @Test
  void shouldSayThatATraceAgrees() {
    record(SyntheticGuest.typical(10));
    assertEquals(0, run(new ReplayCommand(), folder.toString()));
    assertTrue(output.toString().contains("PAGE_FAULT             42"), output.toString());
    assertTrue(output.toString().contains(" records agree ("), output.toString());
  }

  @Test
  void shouldNameTheDifferenceAndLeaveWithThree() {
    final SyntheticGuest guest = SyntheticGuest.typical(10);
    final ExitEvent event =
        guest.events().stream()
            .filter(e -> e.kind == ExitKind.PIO && e.sequence > 50)
            .findFirst()
            .orElseThrow();
    event.address ^= 0x40;
    record(guest);
    assertEquals(ExitStatus.REPLAY_DIFFERENCE, run(new ReplayCommand(), folder.toString()));
    final String text = output.toString();
    assertTrue(text.contains("(PIO) differs after " + event.sequence), text);
    assertTrue(text.contains("that agree: port\n  recorded  0x3b8\n  replayed  0x3f8\n"), text);
    assertTrue(text.contains("  at        out dx,al\n"), text);
    assertEquals(8, text.substring(text.indexOf("Last exits:\n") + 12).lines().count(), text);
  }

  /** Every view shows a gap where it is, and counts nothing for it. */
  @Test
  void shouldShowWhereRecordsWereDropped() {
    final SyntheticGuest guest = SyntheticGuest.typical(400);
    // Faster than any recorder, into a ring of the least size.
    final long dropped;
    try (Recorder recorder =
        Recorder.start(
            folder,
            SyntheticGuest.manifest(),
            RecorderOptions.blocking(ExitRing.MIN_CAPACITY).with(OnFull.DROP),
            () -> YieldingIdleStrategy.INSTANCE,
            reason -> {})) {
      for (int i = 0; i < 50; i++) {
        guest.events().forEach(recorder.sink(0)::write);
      }
      dropped = recorder.sink(0).dropped();
    }
    assertEquals(ExitStatus.OK, run(new DumpCommand(), folder.toString(), "--kind", "gap"));
    final List<String> gaps =
        output.toString().lines().filter(line -> line.contains(" GAP ")).toList();
    final Pattern missing = Pattern.compile(" (\\d+) records missing from (\\d+), dropped");
    long sum = 0;
    for (final String gap : gaps) {
      final Matcher matcher = missing.matcher(gap);
      assertTrue(matcher.find(), gap);
      assertEquals(gap.substring(0, 8).trim(), matcher.group(2));
      sum += Long.parseLong(matcher.group(1));
    }
    assertTrue(dropped > 0);
    assertEquals(dropped, sum);
    final String note =
        "Missing from this trace: "
            + dropped
            + " records; "
            + dropped
            + " were dropped by --on-full drop.";
    assertTrue(output.toString().contains(note), output.toString());

    output.getBuffer().setLength(0);
    assertEquals(ExitStatus.OK, run(new StatCommand(), folder.toString()));
    assertTrue(output.toString().contains(note), output.toString());
    assertFalse(output.toString().contains("GAP"), output.toString());
    final long there = 50L * guest.events().size() - dropped;
    assertTrue(
        output
            .toString()
            .lines()
            .anyMatch(line -> line.startsWith("all  ") && line.contains(" " + there + " ")),
        output.toString());

    output.getBuffer().setLength(0);
    assertEquals(ExitStatus.OK, run(new StatCommand(), folder.toString(), "--json"));
    assertTrue(output.toString().contains("\"missing\":" + dropped), output.toString());

    output.getBuffer().setLength(0);
    assertEquals(
        ExitStatus.OK, run(new DumpCommand(), folder.toString(), "--json", "--kind", "gap"));
    assertTrue(output.toString().contains("\"kind\":\"GAP\""), output.toString());

    output.getBuffer().setLength(0);
    assertEquals(ExitStatus.OK, run(new VerifyCommand(), folder.toString()));
    assertTrue(output.toString().contains("dropped as the ring was full: records "));
    assertTrue(
        output
            .toString()
            .contains("Whole: " + there + " records can be read, 0 are lost, " + dropped),
        output.toString());
  }

  @Test
  void shouldReadAPackedTraceAsItIs() {
    record(SyntheticGuest.typical(50));
    final Path packed = folder.resolveSibling(folder.getFileName() + ".vmtrace");
    assertEquals(0, run(new PackCommand(), folder.toString()));
    assertTrue(output.toString().startsWith(packed + ": "), output.toString());
    assertEquals(said(new DumpCommand(), folder), said(new DumpCommand(), packed));
    assertEquals(said(new StatCommand(), folder), said(new StatCommand(), packed));
    assertEquals(said(new VerifyCommand(), folder), said(new VerifyCommand(), packed));
    assertTrue(said(new ReplayCommand(), packed).contains(" records agree ("));
    assertEquals(
        said(new DumpCommand(), folder, "--from", "300"),
        said(new DumpCommand(), packed, "--from", "300"));
  }

  @Test
  void shouldFollowARecordingFromAnotherProcessToItsEnd() throws Exception {
    final SyntheticGuest guest = SyntheticGuest.typical(50);
    final Recorder recorder =
        Recorder.start(
            folder,
            SyntheticGuest.manifest(),
            RecorderOptions.blocking(ExitRing.MIN_CAPACITY),
            () -> YieldingIdleStrategy.INSTANCE,
            reason -> {});
    try (ForkedTool dump = ForkedTool.start(temporary, "dump", folder.toString(), "--follow");
        ForkedTool stat = ForkedTool.start(temporary, "stat", folder.toString(), "--follow")) {
      guest.events().subList(0, 30).forEach(recorder.sink(0)::write);
      dump.await("\n      29 ");
      guest.events().stream().skip(30).forEach(recorder.sink(0)::write);
      recorder.close();
      final Tool.Outcome dumped = dump.end();
      final Tool.Outcome counted = stat.end();
      assertEquals(0, dumped.status(), dumped.err());
      assertEquals(said(new DumpCommand(), folder), dumped.out());
      assertEquals(0, counted.status(), counted.err());
      assertTrue(counted.out().endsWith(said(new StatCommand(), folder)), counted.out());
    }
    assertEquals(said(new DumpCommand(), folder), said(new DumpCommand(), folder, "--follow"));
  }

  private String said(final Object command, final Path trace, final String... more) {
    output.getBuffer().setLength(0);
    final List<String> words = new ArrayList<>(List.of(trace.toString()));
    words.addAll(List.of(more));
    assertEquals(0, run(command, words.toArray(String[]::new)), output.toString());
    return output.toString();
  }

  @Test
  void shouldSayInOneLineWhatIsNoTrace() {
    for (final Object command :
        new Object[] {new ReplayCommand(), new StatCommand(), new DumpCommand()}) {
      output.getBuffer().setLength(0);
      assertEquals(ExitStatus.ERROR, run(command, folder.resolve("none").toString()));
      assertTrue(output.toString().endsWith("none: no such trace"), output.toString());
    }
  }
}
