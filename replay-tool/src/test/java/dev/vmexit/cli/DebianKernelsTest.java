package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Debian's other kernels, each to its shell's self-test and through its trace: the checks of {@link
 * DebianGuestTest}. Minutes each, most of them spent on the kernel's XZ; {@code VMEXIT_DEBIAN=all}
 * runs them.
 */
final class DebianKernelsTest {
  @TempDir private Path temporary;

  @ParameterizedTest
  @CsvSource({
    "debian-12-686, i686, shadow",
    "debian-12-686-pae, i686, shadow",
    "debian-12-amd64, x86_64, shadow"
  })
  void shouldPassTheSelfTestAndReplay(final String guest, final String machine, final String mmu)
      throws Exception {
    assumeTrue(
        "all".equals(System.getenv("VMEXIT_DEBIAN")),
        "SKIPPED, the self-test of " + guest + ": minutes; give VMEXIT_DEBIAN=all");
    GuestStore.ofProcess().require(guest);
    final Path trace = temporary.resolve(guest);
    final Tool.Outcome run;
    try (ForkedTool tool =
        ForkedTool.start(
            temporary,
            "run",
            guest,
            "--append",
            "vmexit.run=selftest",
            "--mmu",
            mmu,
            "--record",
            trace.toString(),
            "--timeout",
            "900")) {
      run = tool.end();
    }
    final String console = run.out();
    assertEquals(ExitStatus.OK, run.status(), console + run.err());
    assertTrue(console.contains("] Linux version 6.1."), console);
    assertTrue(console.contains(" " + machine + " GNU/Linux"), console);
    assertEquals(
        List.of(
            GuestInitramfs.USERSPACE_BANNER,
            "vmexit: md5sum ok",
            "vmexit: gzip ok",
            "vmexit: loop ok",
            "vmexit: fork ok",
            "vmexit: awk ok",
            GuestInitramfs.SELFTEST_DONE),
        console.lines().filter(line -> line.startsWith("vmexit: ")).toList());
    for (final String trouble : List.of("BUG:", "WARNING:", "Oops", "Call Trace", "segfault")) {
      assertTrue(!console.contains(trouble), console);
    }
    final Tool.Outcome replay = Tool.run("replay", trace.toString());
    assertEquals(ExitStatus.OK, replay.status(), replay.toString());
    assertTrue(replay.out().contains(" records agree ("), replay.out());
    assertTrue(!replay.out().contains("Not checked"), replay.out());
  }
}
