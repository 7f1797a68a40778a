package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Call gates, hardware tasks, VM86 and faults of segments: against an emulator, and re-fed. */
@Timeout(value = 300, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
final class LegacyGuestTest {
  private static final String QEMU = "/usr/bin/qemu-system-i386";

  private static final int FLAGS_WORD = 16;

  /** Where the emulator does something else, and why we do not. */
  private static final Map<String, String> DIFFERENT =
      Map.of(
          "jump to task 38", "a 16-bit TSS leaves the upper halves of registers open",
          "call task 38", "the same",
          "RETF to 1b with stack 6b", "#SS of a stack that is not there: SDM Vol. 2B, RET",
          "IRET to 1b with stack 6b", "the same: Vol. 2A, IRET",
          "load task register with 0", "#GP(0) of a null selector: Vol. 2A, LTR",
          "task with 680001 at 100", "T in the TSS is a debug trap: Vol. 3A, 7.2.1");

  @TempDir Path folder;

  private List<String> ours(final LegacyGuest guest, final String... more) throws Exception {
    final Path kernel = guest.write(folder.resolve("guest.bin"));
    final List<String> words =
        new ArrayList<>(
            List.of("run", "--kernel", kernel.toString(), "--memory", "16M", "--debug-exit"));
    words.addAll(List.of(more));
    final Tool.Outcome run = Tool.run(words.toArray(new String[0]));
    assertEquals(85, run.status(), run.err());
    return run.out().lines().toList();
  }

  @Test
  void shouldDoAsAnEmulatorDoes() throws Exception {
    assumeTrue(
        Files.isExecutable(Path.of(QEMU)),
        "SKIPPED: " + QEMU + " is absent; install Debian's qemu-system-x86 to compare");
    final LegacyGuest guest = LegacyPrograms.all();
    final List<String> ours = ours(guest, "--no-record");
    final List<String> theirs = emulated(folder.resolve("guest.bin"));
    final List<String> names = guest.names();
    assertEquals(names.size(), ours.size(), "programs that ended");
    assertEquals(names.size(), theirs.size(), "programs that ended there");
    final Map<String, String> differ = new HashMap<>();
    for (int i = 0; i < names.size(); i++) {
      final boolean same = known(ours.get(i)).equals(known(theirs.get(i)));
      if (!same && !DIFFERENT.containsKey(names.get(i))) {
        differ.put(names.get(i), "\n  " + ours.get(i) + "\n  " + theirs.get(i) + "\n");
      }
    }
    assertEquals(Map.of(), differ);
  }

  /** A line without RF in the flags of the frame, which the emulator never sets there. */
  private static String known(final String line) {
    final String[] words = line.trim().split(" ");
    words[FLAGS_WORD] = Long.toHexString(Long.parseLong(words[FLAGS_WORD], 16) & ~(1L << 16));
    return String.join(" ", words);
  }

  private List<String> emulated(final Path kernel) throws Exception {
    final Path serial = folder.resolve("serial");
    final Process qemu =
        new ProcessBuilder(
                QEMU,
                "-accel",
                "tcg",
                "-display",
                "none",
                "-m",
                "16",
                "-serial",
                "file:" + serial,
                "-device",
                "isa-debug-exit,iobase=0xf4,iosize=1",
                "-kernel",
                kernel.toString())
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve("qemu.log").toFile())
            .start();
    try {
      qemu.waitFor(120, TimeUnit.SECONDS);
    } finally {
      qemu.destroyForcibly();
    }
    return Files.readString(serial, StandardCharsets.US_ASCII).lines().toList();
  }

  private static void real(final Assembler a) {
    final int[] vectors = {Vector.DE, Vector.UD, Vector.GP, 8, 0x21};
    final Label[] handlers = new Label[vectors.length];
    a.xor(Register.AX, Register.AX);
    a.mov(Register.DS, Register.AX);
    a.mov(Register.ES, Register.AX);
    a.mov(Register.SS, Register.AX);
    a.mov(Register.SP, 0x7000);
    for (int i = 0; i < vectors.length; i++) {
      handlers[i] = a.label();
      a.mov(Register.AX, handlers[i]);
      a.mov(Memory.absolute(4 * vectors[i]), Register.AX);
      a.mov(Memory.absolute(4 * vectors[i] + 2).asWord(), 0);
    }
    final int[][] timer = {
      {0x20, 0x11},
      {0x21, 8},
      {0x21, 4},
      {0x21, 1},
      {0x21, 0xFE},
      {0x43, 0x34},
      {0x40, 0},
      {0x40, 16}
    };
    for (final int[] write : timer) {
      a.mov(Register.AL, write[1]);
      a.out(write[0], Register.AL);
    }
    // Each handler goes on behind the two bytes that faulted, or returns.
    a.xor(Register.CX, Register.CX);
    a.div(Register.CX);
    a.ud2();
    a.mov(Register.BX, 0xFFFF);
    a.mov(Register.AX, Memory.at(Register.BX));
    a.interrupt(0x21);
    a.sti();
    a.hlt();
    a.cli();
    a.mov(Register.DX, 0x3F8);
    a.mov(Register.SI, 0x7C00);
    a.mov(Register.CX, 5);
    a.rep();
    a.outs(1);
    a.mov(Register.DX, 0x80);
    a.mov(Register.DI, 0x5000);
    a.mov(Register.CX, 40);
    a.rep();
    a.ins(2);
    FlatGuests.debugExit(a);
    for (int i = 0; i < vectors.length; i++) {
      a.bind(handlers[i]);
      if (vectors[i] == 8) {
        a.mov(Register.AL, 0x20);
        a.out(0x20, Register.AL);
      } else if (vectors[i] != 0x21) {
        a.mov(Register.BP, Register.SP);
        a.add(Memory.at(Register.BP).asWord(), 2);
      }
      a.iret(2);
    }
  }

  /** Waits by MWAIT for the timer, which its extension lets wake it though it is masked by IF. */
  private static void monitorWait(final Assembler a) {
    final int[][] writes = {
      {0x20, 0x11},
      {0x21, 0x30},
      {0x21, 4},
      {0x21, 1},
      {0x21, 0xFE},
      {0x43, 0x34},
      {0x40, 0},
      {0x40, 16}
    };
    for (final int[] write : writes) {
      a.mov(Register.AL, write[1]);
      a.out(write[0], Register.AL);
    }
    a.mov(Register.EAX, 0x5000);
    a.xor(Register.ECX, Register.ECX);
    a.xor(Register.EDX, Register.EDX);
    a.db(0x0F, 0x01, 0xC8); // MONITOR
    a.inc(Register.ECX);
    a.db(0x0F, 0x01, 0xC9); // MWAIT
    FlatGuests.debugExit(a);
  }

  /** In 64-bit mode: stores to supervisor pages, and to user pages with and without a key. */
  private static void keys(final Assembler a) {
    a.mov(Register.RAX, Register.CR4);
    a.or(Register.RAX, 1 << 22);
    a.mov(Register.CR4, Register.RAX);
    a.xor(Register.ECX, Register.ECX);
    a.xor(Register.EDX, Register.EDX);
    a.mov(Register.EAX, 0xC0);
    a.db(0x0F, 0x01, 0xEF); // WRPKRU: nothing of key 3
    a.mov(Register.RBX, Register.CR3);
    for (int level = 0; level < 2; level++) {
      a.or(Memory.at(Register.RBX).asDword(), 4);
      a.mov(Register.RBX, Memory.at(Register.RBX));
      a.and(Register.RBX, -4096);
    }
    // Of the directory's 2 MiB pages: 8 MiB of no key, 10 MiB of key 5.
    a.or(Memory.at(Register.RBX, 4 * 8).asDword(), 4);
    a.or(Memory.at(Register.RBX, 5 * 8).asDword(), 4);
    a.or(Memory.at(Register.RBX, 5 * 8 + 4).asDword(), 5 << 27);
    a.mov(Register.RAX, Register.CR3);
    a.mov(Register.CR3, Register.RAX);
    for (final int address : new int[] {0x60_0000, 0x80_0000, 0xA0_0000, 0xA0_1000}) {
      a.mov(Memory.absolute(address).asDword(), address);
    }
    FlatGuests.debugExit(a);
  }

  @ParameterizedTest
  @ValueSource(strings = {"shadow", "nested"})
  void shouldFeedAGuestWithProtectionKeysAgain(final String mmu) throws Exception {
    final Path guest = FlatGuests.write(folder.resolve("keys.bin"), 64, LegacyGuestTest::keys);
    feedAgain(guest, mmu, "64", Long.toString(FlatGuests.address(64)));
    if (mmu.equals("shadow")) {
      final Tool.Outcome dump =
          Tool.run("dump", folder.resolve(mmu).toString(), "--kind", "page_fault");
      assertTrue(dump.out().contains("write keys"), dump.out());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"shadow", "nested"})
  void shouldWakeFromMwaitAndBeFedAgain(final String mmu) throws Exception {
    final Path guest =
        FlatGuests.write(folder.resolve("wait.bin"), 32, LegacyGuestTest::monitorWait);
    feedAgain(guest, mmu, "32", Long.toString(FlatGuests.address(32)));
    final Tool.Outcome dump = Tool.run("dump", folder.resolve(mmu).toString(), "--kind", "hlt");
    assertEquals(1, dump.out().lines().filter(line -> line.contains("HLT")).count(), dump.out());
  }

  @ParameterizedTest
  @ValueSource(strings = {"shadow", "nested"})
  void shouldFeedARealModeGuestAgainWithoutADifference(final String mmu) throws Exception {
    final Path guest = FlatGuests.write(folder.resolve("real.bin"), LegacyGuestTest::real);
    feedAgain(guest, mmu, "16", FlatGuests.ADDRESS);
  }

  private void feedAgain(
      final Path guest, final String mmu, final String mode, final String address) {
    final Path trace = folder.resolve(mmu);
    final Tool.Outcome run =
        Tool.run(
            "run",
            "--kernel",
            guest.toString(),
            "--load-address",
            address,
            "--mode",
            mode,
            "--memory",
            "16M",
            "--mmu",
            mmu,
            "--debug-exit",
            "--record",
            trace.toString());
    assertEquals(85, run.status(), run.err());
    final Tool.Outcome replay = Tool.run("replay", trace.toString());
    assertEquals(0, replay.status(), replay.out() + replay.err());
  }

  @ParameterizedTest
  @ValueSource(strings = {"shadow", "nested"})
  void shouldBeFedAgainWithoutADifference(final String mmu) throws Exception {
    final Path trace = folder.resolve(mmu);
    ours(LegacyPrograms.all(), "--mmu", mmu, "--record", trace.toString());
    final Tool.Outcome replay = Tool.run("replay", trace.toString());
    assertEquals(0, replay.status(), replay.out() + replay.err());
  }
}
