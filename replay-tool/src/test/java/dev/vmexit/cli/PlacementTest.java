package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.GuestMemory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Threads on the CPUs that were asked for, memory that stays. */
final class PlacementTest {
  @TempDir Path folder;

  private String[] run(final String... options) throws IOException {
    final Path guest = FlatGuests.write(folder.resolve("guest.bin"), FlatGuests::debugExit);
    final List<String> words =
        new ArrayList<>(
            List.of(
                "run",
                "--kernel",
                guest.toString(),
                "--load-address",
                FlatGuests.ADDRESS,
                "--debug-exit",
                "--memory",
                "2M",
                "--record",
                folder.resolve("trace").toString()));
    words.addAll(List.of(options));
    return words.toArray(new String[0]);
  }

  @Test
  void shouldPinTheCallingThreadAndOneFoundByItsName() throws InterruptedException {
    final BitSet allowed = HostThreads.cpus(0);
    final CountDownLatch pinned = new CountDownLatch(1);
    final BitSet[] seen = new BitSet[1];
    final Thread thread =
        new Thread(
            () -> {
              try {
                pinned.await();
                seen[0] = HostThreads.cpus(0);
              } catch (final InterruptedException e) {
                Thread.currentThread().interrupt();
              }
            },
            "pinned-thread");
    thread.start();
    final int last = allowed.length() - 1;
    final int number = HostThreads.named("pinned-thread").orElseThrow();
    assertEquals(0, HostThreads.pin(number, last));
    pinned.countDown();
    thread.join();
    final BitSet expected = new BitSet();
    expected.set(last);
    assertEquals(expected, seen[0]);
    assertEquals(allowed, HostThreads.cpus(0), "other threads go where they did");
  }

  @Test
  void shouldRunWithItsThreadsPinned() throws IOException {
    final int cpu = HostThreads.cpus(0).nextSetBit(0);
    final Tool.Outcome run = Tool.run(run("--pin", cpu + "," + cpu, "--mlock"));
    assertEquals(85, run.status(), run.err());
  }

  @ParameterizedTest
  @CsvSource({
    "'1,2,3', 'give 1 CPU for the vCPU'",
    "x, 'is not the number of a CPU'",
    "1023, 'this process may use the CPUs {'",
    "-1, 'this process may use the CPUs {'"
  })
  void shouldSayInOneLineWhatIsWrongWithAList(final String list, final String words)
      throws IOException {
    final Tool.Outcome run = Tool.run(run("--pin=" + list));
    assertEquals(ExitStatus.ERROR, run.status());
    run.assertOneLine("--pin", words);
  }

  @Test
  void shouldLockMemoryAsItIsTouched() throws IOException {
    try (GuestMemory memory = GuestMemory.builder().ram(0, 0x4_0000).build()) {
      final int errno = HostThreads.lock(memory.slots().getFirst());
      if (errno != 0) {
        Assumptions.abort("SKIPPED, not tested on this host: mlock2 fails with errno " + errno);
      }
      final String start = Long.toHexString(memory.slots().getFirst().host());
      assertEquals(0, lockedKilobytes(start));
      memory.write8(0x1234, 1);
      assertTrue(lockedKilobytes(start) > 0);
    }
  }

  /** What /proc/self/smaps says of the mapping that begins there. */
  private static long lockedKilobytes(final String start) throws IOException {
    final List<String> lines = Files.readAllLines(Path.of("/proc/self/smaps"));
    int at = 0;
    while (!lines.get(at).startsWith(start + "-")) {
      at++;
    }
    while (!lines.get(at).startsWith("Locked:")) {
      at++;
    }
    return Long.parseLong(lines.get(at).replaceAll("[^0-9]", "").toLowerCase(Locale.ROOT));
  }
}
