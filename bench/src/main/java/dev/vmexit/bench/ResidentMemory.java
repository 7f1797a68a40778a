package dev.vmexit.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a process holds in memory, from {@code /proc/PID/smaps} (Linux, proc_pid_smaps(5)).
 *
 * @param total resident kilobytes of all mappings, files included
 * @param guest those of guest memory: the large anonymous mappings reserved by MAP_NORESERVE ("nr"
 *     of VmFlags); the JVM's own memory is committed without that flag
 */
record ResidentMemory(long total, long guest) {
  private static final Pattern HEAD =
      Pattern.compile("([0-9a-f]+)-([0-9a-f]+) (....) \\S+ \\S+ (\\d+).*");
  private static final long LARGE = 128L << 20;

  static ResidentMemory of(final long pid) throws IOException {
    long total = 0;
    long guest = 0;
    long resident = 0;
    boolean candidate = false;
    for (final String line : Files.readAllLines(Path.of("/proc/" + pid + "/smaps"))) {
      final Matcher head = HEAD.matcher(line);
      if (head.matches()) {
        final long size =
            Long.parseUnsignedLong(head.group(2), 16) - Long.parseUnsignedLong(head.group(1), 16);
        candidate = size >= LARGE && head.group(3).equals("rw-p") && head.group(4).equals("0");
      } else if (line.startsWith("Rss:")) {
        resident = Long.parseLong(line.replaceAll("\\D", ""));
        total += resident;
      } else if (line.startsWith("VmFlags:") && candidate && line.contains(" nr")) {
        guest += resident;
      }
    }
    if (guest == 0) {
      throw new IOException("process " + pid + " holds no guest memory that can be told apart");
    }
    return new ResidentMemory(total, guest);
  }
}
