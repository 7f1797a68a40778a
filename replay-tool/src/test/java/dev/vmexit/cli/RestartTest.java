package dev.vmexit.cli;

import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.EAX;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A reset that starts the machine again in place, by each of the ways that a PC has. */
final class RestartTest {
  private static final int STATUS = 33;
  private static final int KEPT = 0x600;
  private static final int SHADOWED = 0xF_2000;
  private static final int PIC_MASK = 0x21;
  private static final int CMOS_INDEX = 0x70;
  private static final int CMOS_DATA = 0x71;

  @TempDir private Path temporary;

  /** How a guest resets its machine. */
  enum Way {
    RESET_CONTROL,
    KEYBOARD_CONTROLLER,
    OUTPUT_PORT,
    PORT_92,
    TRIPLE_FAULT
  }

  private static void reset(final HandMadeBios bios, final Way way) {
    switch (way) {
      case RESET_CONTROL -> bios.port(0xCF9, 6);
      case KEYBOARD_CONTROLLER -> bios.port(0x64, 0xFE);
      case OUTPUT_PORT -> {
        bios.port(0x64, 0xD1);
        bios.port(0x60, 0xDE);
      }
      case PORT_92 -> bios.port(0x92, 1);
      case TRIPLE_FAULT -> {
        final Assembler a = bios.a;
        bios.store(KEPT + 8, 0);
        bios.store(KEPT + 12, 0);
        a.lidt(Memory.absolute(KEPT + 8));
        a.int3();
      }
    }
  }

  /** Changes what it can, resets, and says Y for each thing that is as it must be after that. */
  private static void body(final HandMadeBios bios, final Way way) {
    final Assembler a = bios.a;
    final Label again = a.label("again");
    bios.load(KEPT);
    a.cmp(EAX, 0x1234);
    a.jcc(Condition.E, again);
    bios.store(KEPT, 0x1234);
    bios.port(PIC_MASK, 0xFB);
    bios.port(CMOS_INDEX, 0x40);
    bios.port(CMOS_DATA, 0x77);
    bios.port(0x92, 0);
    bios.pam(0x59, 0x20);
    bios.store(SHADOWED, 0x3333);
    bios.copyOnto();
    bios.pam(0x59, 0x30);
    a.sti();
    bios.say('1');
    reset(bios, way);
    // No instruction after the reset is executed.
    bios.say('n');
    bios.end(35);
    a.bind(again);
    bios.say('2');
    bios.load(SHADOWED);
    bios.sayWhether(0, 'Y', 'n');
    bios.store(0x500, 0x1111);
    bios.load(0x10_0500);
    bios.sayWhether(0, 'Y', 'n');
    bios.port(CMOS_INDEX, 0x40);
    a.xor(EAX, EAX);
    a.in(AL, CMOS_DATA);
    bios.sayWhether(0x77, 'Y', 'n');
    a.xor(EAX, EAX);
    a.in(AL, PIC_MASK);
    bios.sayWhether(0xFB, 'n', 'Y');
    bios.pam(0x59, 0x10);
    bios.load(SHADOWED);
    bios.sayWhether(0x3333, 'Y', 'n');
  }

  private Tool.Outcome run(final Way way, final String... more) throws Exception {
    final Path bios = HandMadeBios.write(temporary.resolve("bios-" + way), made -> body(made, way));
    final List<String> arguments =
        new ArrayList<>(
            List.of(
                "run",
                "--bios",
                bios.toString(),
                "--debug-exit",
                "--memory",
                "4M",
                "--timeout",
                "300"));
    arguments.addAll(List.of(more));
    return Tool.run(arguments.toArray(String[]::new));
  }

  @ParameterizedTest
  @CsvSource({
    "RESET_CONTROL, shadow, reset control register (port 0xcf9)",
    "RESET_CONTROL, nested, reset control register (port 0xcf9)",
    "KEYBOARD_CONTROLLER, shadow, keyboard controller (port 0x64)",
    "OUTPUT_PORT, nested, keyboard controller (port 0x64)",
    "PORT_92, shadow, system control port (port 0x92)",
    "TRIPLE_FAULT, shadow, processor's shutdown after a triple fault"
  })
  void shouldStartAgainWithItsMemory(final Way way, final String mmu, final String source)
      throws Exception {
    final Path trace = temporary.resolve("trace");
    final Tool.Outcome run =
        run(way, "--on-reset", "restart", "--mmu", mmu, "--record", trace.toString());
    assertEquals(STATUS, run.status(), run.toString());
    assertEquals("12YYYYY", run.out().strip(), run.toString());
    final String line =
        "vmexit: the guest reset the machine by its " + source + "; it starts again";
    assertEquals(1, run.err().lines().filter(line::equals).count(), run.err());
    final Tool.Outcome replay = Tool.run("replay", trace.toString());
    assertEquals(ExitStatus.OK, replay.status(), replay.toString());
    final Tool.Outcome dump = Tool.run("dump", trace.toString(), "--kind", "shutdown");
    assertEquals(1, dump.out().lines().count(), dump.out());
    assertTrue(dump.out().contains(way == Way.TRIPLE_FAULT ? "triple fault" : "reset"), dump.out());
  }

  @Test
  void shouldEndTheRunUnlessTold() throws Exception {
    assertEquals(ExitStatus.RESET, run(Way.RESET_CONTROL, "--no-record").status());
    assertEquals(ExitStatus.TRIPLE_FAULT, run(Way.TRIPLE_FAULT, "--no-record").status());
  }

  @Test
  void shouldBeTheSameEachTimeWithTheVirtualClock() throws Exception {
    final Path first = temporary.resolve("first");
    final Path second = temporary.resolve("second");
    for (final Path trace : new Path[] {first, second}) {
      final Tool.Outcome run =
          run(
              Way.RESET_CONTROL,
              "--on-reset",
              "restart",
              "--clock",
              "virtual",
              "--record",
              trace.toString());
      assertEquals(STATUS, run.status(), run.toString());
    }
    final Tool.Outcome diff = Tool.run("diff", first.toString(), second.toString());
    assertEquals(ExitStatus.OK, diff.status(), diff.toString());
  }
}
