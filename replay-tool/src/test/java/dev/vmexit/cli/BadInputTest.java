package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.trace.TraceManifest;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What a user gave that cannot be: one line that names it and the way out, and nothing more. */
final class BadInputTest {
  private static final Path HERE = Path.of("").toAbsolutePath();

  @TempDir Path temporary;

  /** Runs what must be refused: a line, the status, nothing on standard output, nothing left. */
  private void refuse(final int status, final String[] args, final String... words)
      throws IOException {
    final SortedMap<String, String> here = names(HERE);
    final SortedMap<String, String> before = content(temporary);
    final Tool.Outcome run = Tool.run(args);
    assertEquals(status, run.status(), run.toString());
    run.assertOneLine(words);
    assertEquals("", run.out());
    assertEquals(before, content(temporary));
    assertEquals(here, names(HERE));
  }

  private static String[] words(final String line) {
    return line.isEmpty() ? new String[0] : line.split(" ", -1);
  }

  private static SortedMap<String, String> names(final Path folder) throws IOException {
    final SortedMap<String, String> names = new TreeMap<>();
    try (Stream<Path> files = Files.list(folder)) {
      files.forEach(file -> names.put(file.toString(), ""));
    }
    return names;
  }

  /** Every file of a folder with a digest of its bytes. */
  private static SortedMap<String, String> content(final Path folder) throws IOException {
    final SortedMap<String, String> content = new TreeMap<>();
    try (Stream<Path> files = Files.walk(folder)) {
      for (final Path file : files.toList()) {
        content.put(
            folder.relativize(file).toString(),
            Files.isRegularFile(file)
                ? Files.size(file) + " " + Arrays.hashCode(Files.readAllBytes(file))
                : "folder");
      }
    }
    return content;
  }

  // ---- the command line ----

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--nope                  | --nope;vmexit --help",
        "nope                    | unknown command: 'nope';vmexit --help",
        "run --nope              | --nope;vmexit run --help",
        "run --recrod x          | --recrod;--record",
        "run a b                 | 'b';vmexit run --help",
        "run --vcpus x           | --vcpus;'x'",
        "run --timeout soon      | --timeout;'soon'",
        "run --mmu foo           | --mmu;'foo';SHADOW, NESTED",
        "run --clock foo         | --clock;'foo';HOST, VIRTUAL",
        "run --memory            | --memory;SIZE",
        "stat                    | TRACE;vmexit stat --help",
        "stat x --by colour      | --by;'colour';KIND",
        "dump x --from minus     | --from;'minus'",
        "run --backend tcg       | --backend;'tcg';KVM",
        "run --irqchip chip      | --irqchip;'chip';KERNEL",
        "guest nope              | unknown command: 'nope';vmexit guest --help",
        "guest fetch             | NAME",
      })
  void shouldRefuseWhatIsNoCommandLine(final String line, final String words) throws IOException {
    refuse(ExitStatus.USAGE, words(line), words.split(";", -1));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "run nope                         | nope;debian-12-cloud;--kernel FILE",
        "guest fetch nope                 | nope;debian-12-cloud",
        "run --vcpus 2                    | --vcpus 2;the software vCPU is one",
        "run --vcpus 0                    | --vcpus 0;a number from 1 to",
        "run --backend kvm --clock virtual | --backend kvm;--clock virtual;--backend soft",
        "run --backend kvm --mmu shadow   | --backend kvm;--mmu shadow;--backend soft",
        "run --on-reset again             | --on-reset again;end or restart",
        "run --on-reset restart           | --on-reset restart;--bios",
        "run --backend soft --irqchip kernel | --irqchip kernel;--backend kvm",
        "run --backend soft --page-faults uffd | --page-faults uffd;--backend kvm",
        "run --backend soft --kernel-trace | --kernel-trace;--backend kvm",
        "run --kernel-trace --no-record   | --kernel-trace;--no-record",
        "run --kernel-trace --exits pio   | --exits pio;add kernel",
        "run --exits pio,kernel           | --exits pio,kernel;--kernel-trace",
        "run --page-faults uffd --huge-pages | --page-faults uffd;--huge-pages;one of them",
        "run --console gtk                | --console gtk;stdio or none",
        "run --memory 0                   | --memory 0;at least 1M",
        "run --memory 12X                 | --memory 12X;512M",
        "run --memory -5M                 | --memory -5M;512M",
        "run --memory 3                   | --memory 3;3 bytes;at least 1M",
        "run --memory 1048577             | --memory 1048577;whole pages",
        "run --memory 900T                | --memory 900T;at most 1023G",
        "run --memory 999999999999999T    | --memory 999999999999999T;at most 1023G",
        "run --memory 1M                  | --memory 1M;built-in guest;at least 4M",
        "run --exits nonsense             | --exits nonsense;pio, mmio",
        "run --exits pio,                 | --exits pio,;pio, mmio",
        "run --roll 10K                   | --roll 10K;64M",
        "run --roll 0M                    | --roll 0M;1M or more",
        "run --keep 1M                    | --keep 1 MiB;16M or more",
        "run --keep 30s --no-record       | --keep;--no-record",
        "run --keep 9s --timestamps none  | --keep TIME;--timestamps none",
        "run --timeout -1                 | --timeout -1;above 0",
        "run --timeout 0                  | --timeout 0;above 0",
        "run --timeout NaN                | --timeout NaN;above 0",
        "run --record a --no-record       | --record;--no-record;not both",
        "run a --kernel b                 | GUEST or --kernel;not both: a, b",
        "run --initrd a                   | --initrd;--kernel FILE",
        "run --load-address 0             | --load-address;--kernel FILE",
        "run --mode 64                    | --mode 64;--load-address",
        "run --append quiet               | --append quiet;--kernel FILE",
        "run --display gtk                | --display gtk;text or none",
        "run --display text --console stdio | --display text;--console stdio;not both",
        "run --bios none                  | bios none;no such file;--bios",
        "run --bios none --kernel x       | --bios;--kernel;not two",
        "run --bios-log x                 | --bios-log;--bios",
        "run --disk none                  | --disk none: no such file",
        "run --disk none,snapshot         | --disk none: no such file",
        "run --disk a --disk b --disk c   | --disk;3 times;allowed: 2",
        "run --cdrom none                 | --cdrom none: no such file",
        "run seabios                      | seabios;run --bios",
        "replay none                      | none: no such trace",
        "stat none                        | none: no such trace",
        "dump none                        | none: no such trace",
        "stat none --top 0                | --top=0;1 and above",
        "dump none --from 5 --to 3        | --from=5 --to=3;from <= to",
      })
  void shouldRefuseWhatMakesNoSense(final String line, final String words) throws IOException {
    refuse(ExitStatus.ERROR, words(line), words.split(";", -1));
  }

  @Test
  void shouldShowTheHelpWhenThereIsNoCommand() {
    final Tool.Outcome run = Tool.run();
    assertEquals(ExitStatus.OK, run.status(), run.toString());
    assertTrue(run.out().contains("Usage: vmexit"), run.out());
    for (int status = 0; status <= ExitStatus.RECORDING_FAILED; status++) {
      assertTrue(run.out().contains("\n  " + status + "   "), run.out());
    }
    run.out().lines().forEach(line -> assertTrue(line.length() <= 80, line));
  }

  // ---- kernels ----

  private void refuseKernel(final Path kernel, final String... words) throws IOException {
    refuse(
        ExitStatus.ERROR,
        new String[] {
          "run", "--kernel", kernel.toString(), "--record", temporary.resolve("trace").toString()
        },
        words);
  }

  @Test
  void shouldRefuseWhatIsNoKernel() throws IOException {
    final Path missing = temporary.resolve("missing");
    refuseKernel(missing, "kernel " + missing, "no such file", "--kernel");
    final Path empty = Files.createFile(temporary.resolve("empty"));
    refuseKernel(empty, "kernel " + empty, "is empty", "--kernel");
    refuseKernel(temporary, "kernel " + temporary, "is a directory", "--kernel");
    final byte[] bytes = new byte[100_000];
    new Random(1).nextBytes(bytes);
    final Path random = Files.write(temporary.resolve("random"), bytes);
    refuseKernel(random, "kernel " + random, "is not a kernel", "wanted: bzImage");
    final Path text = Files.writeString(temporary.resolve("text"), "not a kernel\n");
    refuseKernel(text, "kernel " + text, "is not a kernel", "wanted: bzImage");
  }

  /** The fields that a loader looks at first, as a bzImage has them; see the boot protocol. */
  private static byte[] bzImage(final int bytes) {
    final byte[] image = new byte[bytes];
    image[0x1F1] = 4; // setup sectors
    image[0x1F4] = 0x10; // protected-mode part: 16 MiB in units of 16 bytes
    image[0x1F6] = 0x10;
    image[0x1FE] = 0x55;
    image[0x1FF] = (byte) 0xAA;
    image[0x201] = 0x66; // where the header ends
    System.arraycopy("HdrS".getBytes(StandardCharsets.US_ASCII), 0, image, 0x202, 4);
    image[0x206] = 0x0F; // protocol 2.15
    image[0x207] = 0x02;
    image[0x211] = 1; // loaded high
    return image;
  }

  @Test
  void shouldRefuseATruncatedKernel() throws IOException {
    for (final int length : new int[] {0x220, 0x268, 4000, 1 << 20}) {
      final Path cut = Files.write(temporary.resolve("cut" + length), bzImage(length));
      refuseKernel(cut, "kernel " + cut, "truncated or damaged", length + " bytes", "again");
    }
  }

  @Test
  void shouldRefuseAFlatBinaryThatDoesNotFit() throws IOException {
    final Path guest = FlatGuests.write(temporary.resolve("guest"), FlatGuests::halt);
    for (final String[] place :
        new String[][] {
          {"0x40000000", "0x40000000", "--memory"},
          {"-4", "0xfffffffffffffffc", "--memory"},
          {"0x9ffff", "0x9ffff", "--memory"},
          {"somewhere", "--load-address somewhere", "0x7c00"}
        }) {
      refuse(
          ExitStatus.ERROR,
          new String[] {
            "run",
            "--kernel",
            guest.toString(),
            "--load-address",
            place[0],
            "--record",
            temporary.resolve("trace").toString()
          },
          place[1],
          place[2]);
    }
    refuse(
        ExitStatus.ERROR,
        new String[] {
          "run", "--kernel", guest.toString(), "--load-address", "0x7c00", "--mode", "12"
        },
        "--mode 12",
        "16, 32 or 64");
  }

  @Test
  void shouldRefuseAnInitrdThatDoesNotFit() throws IOException {
    final Path kernel = Files.write(temporary.resolve("kernel"), bzImage(1 << 20));
    final Path big = Files.write(temporary.resolve("initrd"), new byte[5 << 20]);
    final Path missing = temporary.resolve("missing");
    final String trace = temporary.resolve("trace").toString();
    for (final String[] initrd :
        new String[][] {
          {big.toString(), "5 MiB do not fit into a memory of 4 MiB", "more by --memory"},
          {missing.toString(), "no such file", "--initrd"},
          {temporary.toString(), "is a directory", "--initrd"}
        }) {
      refuse(
          ExitStatus.ERROR,
          new String[] {
            "run",
            "--kernel",
            kernel.toString(),
            "--initrd",
            initrd[0],
            "--memory",
            "4M",
            "--record",
            trace
          },
          "initrd " + initrd[0],
          initrd[1],
          initrd[2]);
    }
  }

  // ---- where the trace goes ----

  @Test
  void shouldRefuseToRecordOverWhatIsThere() throws IOException {
    final Path full = Files.createDirectory(temporary.resolve("full"));
    final Path file = Files.writeString(full.resolve("file"), "precious");
    for (final String[] place :
        new String[][] {
          {full.toString(), "exists and is not empty"},
          {file.toString(), "exists and is not a folder"},
          {file.resolve("below").toString(), "cannot be created (" + file}
        }) {
      refuse(
          ExitStatus.ERROR,
          new String[] {"run", "--record", place[0]},
          place[0] + ": " + place[1],
          "choose another --record folder");
    }
  }

  @Test
  void shouldRefuseToRecordWhereNothingCanBeWritten() throws IOException {
    // A place that not even root can write to.
    refuse(
        ExitStatus.ERROR,
        new String[] {"run", "--record", "/proc/vmexit/trace"},
        "/proc/vmexit/trace: cannot be created (",
        "choose another --record folder");
  }

  @Test
  void shouldRecordIntoAFolderThatIsThereAndEmpty() throws IOException {
    final Path empty = Files.createDirectory(temporary.resolve("empty"));
    assertEquals(ExitStatus.OK, Tool.run("run", "--record", empty.toString()).status());
    assertEquals(ExitStatus.OK, Tool.run("replay", empty.toString()).status());
  }

  // ---- traces ----

  private Path trace() {
    final Path trace = temporary.resolve("trace");
    final Tool.Outcome run = Tool.run("run", "--record", trace.toString());
    assertEquals(ExitStatus.OK, run.status(), run.toString());
    return trace;
  }

  /** Every view of a damaged trace says so, and leaves it as it is. */
  private void refuseTrace(final Path trace, final String... words) throws IOException {
    final SortedMap<String, String> before = content(trace);
    for (final String command : new String[] {"replay", "stat", "dump"}) {
      final Tool.Outcome run = Tool.run(command, trace.toString());
      assertEquals(ExitStatus.ERROR, run.status(), command + ": " + run);
      run.assertOneLine(words);
      assertFalse(run.out().contains("records agree"), run.out());
    }
    assertEquals(before, content(trace));
  }

  private static Path queueFile(final Path trace) throws IOException {
    try (Stream<Path> files = Files.list(trace.resolve("queue"))) {
      return files.filter(file -> file.toString().endsWith(".cq4")).findFirst().orElseThrow();
    }
  }

  private static void replace(final Path file, final String from, final String to)
      throws IOException {
    final String text = Files.readString(file);
    assertTrue(text.contains(from), text);
    Files.writeString(file, text.replace(from, to));
  }

  @Test
  void shouldRefuseWhatIsNoTrace() throws IOException {
    final Path folder = Files.createDirectory(temporary.resolve("folder"));
    refuseTrace(folder, folder + ": not a trace", "manifest.properties");
    final Path file = Files.writeString(folder.resolve("file"), "text");
    refuseTrace(file, file + ": not a trace");
  }

  @Test
  void shouldRefuseATraceWithoutItsManifest() throws IOException {
    final Path trace = trace();
    Files.delete(trace.resolve("manifest.properties"));
    refuseTrace(trace, trace + ": not a trace", "manifest.properties");
  }

  @Test
  void shouldRefuseATraceOfANewerSchema() throws IOException {
    final Path trace = trace();
    replace(
        trace.resolve("manifest.properties"),
        "schema.version=" + TraceManifest.SCHEMA_VERSION,
        "schema.version=" + (TraceManifest.SCHEMA_VERSION + 1));
    refuseTrace(
        trace,
        "schema version " + (TraceManifest.SCHEMA_VERSION + 1),
        "reads up to " + TraceManifest.SCHEMA_VERSION,
        "use a newer one");
  }

  @Test
  void shouldRefuseADamagedManifest() throws IOException {
    final Path trace = trace();
    final Path manifest = trace.resolve("manifest.properties");
    final String text = Files.readString(manifest);
    Files.writeString(manifest, text.substring(0, text.indexOf("memory.slots")));
    refuseTrace(trace, manifest + ": truncated", "memory.slots");
    Files.writeString(manifest, text.replace("vcpus=1", "vcpus=many"));
    refuseTrace(trace, manifest + ": vcpus=many");
    Files.writeString(manifest, "");
    refuseTrace(trace, manifest + ": truncated");
    Files.writeString(manifest, text.replace("jdk=", "jdk=\\uzz"));
    refuseTrace(trace, manifest + ": cannot be read");
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 7, 100, 4096, 20_000, -4096, -1})
  void shouldRefuseATruncatedQueue(final int length) throws IOException {
    final Path trace = trace();
    final Path queue = queueFile(trace);
    final long size = Files.size(queue);
    try (RandomAccessFile file = new RandomAccessFile(queue.toFile(), "rw")) {
      file.setLength(length < 0 ? lastByte(queue) + 1 + length : length);
    }
    assertTrue(Files.size(queue) < size);
    refuseTrace(trace, trace.toString());
  }

  /** Where the last byte is that is not zero: what is behind it may go. */
  private static long lastByte(final Path file) throws IOException {
    final byte[] bytes = Files.readAllBytes(file);
    int at = bytes.length - 1;
    while (bytes[at] == 0) {
      at--;
    }
    return at;
  }

  @Test
  void shouldRefuseATraceWithoutItsQueue() throws IOException {
    final Path trace = trace();
    Files.delete(queueFile(trace));
    refuseTrace(trace, trace.toString(), "truncated");
    try (Stream<Path> files = Files.list(trace.resolve("queue"))) {
      for (final Path file : files.toList()) {
        Files.delete(file);
      }
    }
    refuseTrace(trace, trace.toString(), "truncated");
    Files.delete(trace.resolve("queue"));
    refuseTrace(trace, trace + ": truncated, no queue");
  }

  /** A checksum stands over each batch, so that no flipped bit of a record goes by. */
  @Test
  void shouldRefuseAFlippedBitInTheRecords() throws IOException {
    final Path trace = trace();
    final Path queue = queueFile(trace);
    final byte[] good = Files.readAllBytes(queue);
    final List<Integer> places = new ArrayList<>();
    final long last = lastByte(queue);
    // The last quarter of what is written holds records alone.
    for (int at = (int) (last * 3 / 4); at < last - 8; at++) {
      if (good[at] != 0) {
        places.add(at);
      }
    }
    Collections.shuffle(places, new Random(7));
    for (final int at : places.subList(0, 8)) {
      final byte[] bad = good.clone();
      bad[at] ^= 0x10;
      Files.write(queue, bad);
      refuseTrace(trace, trace + ": damaged ");
    }
  }

  /** Nothing in the queue's own header is needed to find the batches. */
  @Test
  void shouldReadAllTheSameWhenABitOfTheQueuesHeaderIsFlipped() throws IOException {
    final Path trace = trace();
    final Path queue = queueFile(trace);
    final byte[] good = Files.readAllBytes(queue);
    final String whole = Tool.run("dump", trace.toString()).out();
    for (final int at : new int[] {0, 5, 25, 41, 53, 95, 100, 200, 203}) {
      final byte[] bad = good.clone();
      bad[at] ^= 0x20;
      Files.write(queue, bad);
      assertEquals(whole, Tool.run("dump", trace.toString()).out(), "at " + at);
    }
  }
}
