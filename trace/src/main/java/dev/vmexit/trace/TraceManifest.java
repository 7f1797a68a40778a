package dev.vmexit.trace;

import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.sbe.ExitRecordDecoder;
import java.io.IOException;
import java.io.InputStream;
import java.io.StringReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Instant;
import java.time.format.DateTimeParseException;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import java.util.Set;
import java.util.zip.CRC32C;

/**
 * What a trace is of: {@code manifest.properties}.
 *
 * @param schemaVersion of the exit records
 * @param vmexitVersion that wrote it
 * @param jdk that it ran on
 * @param guest name of the guest
 * @param commandLine of vmexit
 * @param memory slots of guest-physical memory, ascending
 * @param vcpus number of vCPUs, so of rings
 * @param backend soft or kvm
 * @param mmu shadow or nested
 * @param cpuModel that CPUID shows
 * @param clock host or virtual
 * @param clockSource what the times in the records were read from
 * @param startTime when the guest was started
 * @param kinds that were recorded
 * @param complete whether the recording was closed in order
 * @param endReason why it ended; empty where nobody was left to say it
 * @param records numbers given to records, those that were dropped too; -1 while nobody knows
 * @param trace identity, which each batch and each ring carries too
 * @param dropped records that were given up, as the ring was full
 * @param startChecksum CRC-32C of the initial memory and registers; empty while nobody knows
 * @param recovered how the trace was completed after its process was killed; empty where it was not
 * @param keep how much of its end was kept, for people; empty where all was
 */
public record TraceManifest(
    int schemaVersion,
    String vmexitVersion,
    String jdk,
    String guest,
    String commandLine,
    List<MemorySlot> memory,
    int vcpus,
    String backend,
    String mmu,
    String cpuModel,
    String clock,
    String clockSource,
    Instant startTime,
    Set<ExitKind> kinds,
    boolean complete,
    String endReason,
    long records,
    long trace,
    long dropped,
    String startChecksum,
    String recovered,
    String keep) {

  /** Schema that this vmexit writes. */
  public static final int SCHEMA_VERSION = ExitRecordDecoder.SCHEMA_VERSION;

  private static final String CHECKSUM = "checksum=";

  /** No manifest is longer, in bytes. */
  private static final int MAX_BYTES = 1 << 20;

  /**
   * Guest-physical memory.
   *
   * @param gpa first address
   * @param bytes length
   * @param readOnly ROM
   */
  public record MemorySlot(long gpa, long bytes, boolean readOnly) {}

  /** Takes copies of the collections. */
  public TraceManifest {
    memory = List.copyOf(memory);
    kinds = Set.copyOf(kinds);
  }

  /** A manifest of a recording that begins. */
  public static TraceManifest starting(
      final String vmexitVersion,
      final String guest,
      final String commandLine,
      final List<MemorySlot> memory,
      final int vcpus,
      final String backend,
      final String mmu,
      final String cpuModel,
      final String clock,
      final String clockSource,
      final Instant startTime,
      final Set<ExitKind> kinds) {
    return new TraceManifest(
        SCHEMA_VERSION,
        vmexitVersion,
        Runtime.version().toString(),
        guest,
        commandLine,
        memory,
        vcpus,
        backend,
        mmu,
        cpuModel,
        clock,
        clockSource,
        startTime,
        kinds,
        false,
        "",
        -1,
        0,
        0,
        "",
        "",
        "");
  }

  /** The same with an identity. */
  TraceManifest identified(final long identity) {
    return with(complete, endReason, records, identity, dropped, startChecksum, recovered, keep);
  }

  /** The same with an end. */
  public TraceManifest ended(
      final boolean nowComplete,
      final String reason,
      final long count,
      final long droppedCount,
      final String checksum) {
    return with(nowComplete, reason, count, trace, droppedCount, checksum, recovered, keep);
  }

  /** The same after a recovery. */
  TraceManifest recovered(final long count, final long droppedCount, final String how) {
    return with(complete, endReason, count, trace, droppedCount, startChecksum, how, keep);
  }

  /** The same of a recording that keeps only its end. */
  TraceManifest keeping(final TraceKeep kept) {
    return with(
        complete, endReason, records, trace, dropped, startChecksum, recovered, kept.toString());
  }

  private TraceManifest with(
      final boolean nowComplete,
      final String reason,
      final long count,
      final long identity,
      final long droppedCount,
      final String checksum,
      final String how,
      final String kept) {
    return new TraceManifest(
        schemaVersion,
        vmexitVersion,
        jdk,
        guest,
        commandLine,
        memory,
        vcpus,
        backend,
        mmu,
        cpuModel,
        clock,
        clockSource,
        startTime,
        kinds,
        nowComplete,
        reason,
        count,
        identity,
        droppedCount,
        checksum,
        how,
        kept);
  }

  /** As it is in the file. */
  String text() {
    final StringBuilder text = new StringBuilder(1024);
    line(text, "schema.version", Integer.toString(schemaVersion));
    line(text, "vmexit.version", vmexitVersion);
    line(text, "jdk", jdk);
    line(text, "guest", guest);
    line(text, "command.line", commandLine);
    line(text, "start.time", startTime.toString());
    line(text, "backend", backend);
    line(text, "mmu", mmu);
    line(text, "cpu.model", cpuModel);
    line(text, "vcpus", Integer.toString(vcpus));
    line(text, "clock", clock);
    line(text, "clock.source", clockSource);
    line(text, "memory.slots", Integer.toString(memory.size()));
    for (int i = 0; i < memory.size(); i++) {
      final MemorySlot slot = memory.get(i);
      line(
          text,
          "memory.slot." + i,
          "0x"
              + Long.toHexString(slot.gpa())
              + " 0x"
              + Long.toHexString(slot.bytes())
              + (slot.readOnly() ? " read-only" : " ram"));
    }
    final StringBuilder names = new StringBuilder();
    for (final ExitKind kind : ExitKind.values()) {
      if (kinds.contains(kind)) {
        names.append(names.isEmpty() ? "" : ",").append(kind);
      }
    }
    line(text, "kinds", names.toString());
    line(text, "complete", Boolean.toString(complete));
    line(text, "end.reason", endReason);
    line(text, "records", Long.toString(records));
    line(text, "trace", Long.toHexString(trace));
    line(text, "dropped", Long.toString(dropped));
    line(text, "start.checksum", startChecksum);
    line(text, "recovered", recovered);
    line(text, "keep", keep);
    final String sum = checksum(text);
    return text.append(CHECKSUM).append(sum).append('\n').toString();
  }

  /** Writes the file; it is never seen half-written. */
  void store(final Path file) throws IOException {
    // Of this thread alone, as two readers may recover a trace at once. Not a random name: the
    // first random number of a process takes milliseconds, which a guest's start would wait for.
    final Path temporary =
        file.resolveSibling(
            "manifest-"
                + ProcessHandle.current().pid()
                + "-"
                + Thread.currentThread().threadId()
                + ".new");
    try {
      Files.writeString(temporary, text(), StandardCharsets.UTF_8);
      Files.move(
          temporary, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } finally {
      Files.deleteIfExists(temporary); // a full disk: the file stays as it was
    }
  }

  private static String checksum(final CharSequence text) {
    final CRC32C crc = new CRC32C();
    crc.update(text.toString().getBytes(StandardCharsets.UTF_8));
    return String.format(Locale.ROOT, "%08x", crc.getValue());
  }

  private static void line(final StringBuilder text, final String key, final String value) {
    text.append(key).append('=');
    for (int i = 0; i < value.length(); i++) {
      final char c = value.charAt(i);
      switch (c) {
        case '\\' -> text.append("\\\\");
        case '\n' -> text.append("\\n");
        case '\r' -> text.append("\\r");
        case ' ' -> text.append(i == 0 ? "\\ " : " ");
        default -> text.append(c);
      }
    }
    text.append('\n');
  }

  /**
   * Reads the file.
   *
   * @throws TraceException if it is missing, cut off, wrong, or of a newer schema
   */
  static TraceManifest load(final Path file) {
    final Properties properties = new Properties();
    final String content;
    try (InputStream in = TraceFiles.open(file)) {
      final byte[] bytes = in.readNBytes(MAX_BYTES + 1);
      if (bytes.length > MAX_BYTES) {
        throw new TraceException(file + ": not a manifest, it has more than 1 MiB");
      }
      content = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
      properties.load(new StringReader(content));
    } catch (final NoSuchFileException e) {
      throw new TraceException(
          file.getParent() + ": not a trace (no " + file.getFileName() + ")", e);
    } catch (final IOException | IllegalArgumentException e) {
      throw new TraceException(file + ": cannot be read: " + e.getMessage(), e);
    }
    final Keys keys = new Keys(file, properties);
    final int version = (int) keys.number("schema.version", 1, Integer.MAX_VALUE);
    if (version > SCHEMA_VERSION) {
      throw new TraceException(
          file.getParent()
              + ": trace of schema version "
              + version
              + ", this vmexit reads up to "
              + SCHEMA_VERSION
              + ": use a newer one");
    }
    final List<MemorySlot> slots = new ArrayList<>();
    final long count = keys.number("memory.slots", 0, 1024);
    for (int i = 0; i < count; i++) {
      slots.add(keys.slot("memory.slot." + i));
    }
    final TraceManifest manifest =
        new TraceManifest(
            version,
            keys.text("vmexit.version"),
            keys.text("jdk"),
            keys.text("guest"),
            keys.text("command.line"),
            slots,
            (int) keys.number("vcpus", 1, 255),
            keys.text("backend"),
            keys.text("mmu"),
            keys.text("cpu.model"),
            keys.text("clock"),
            keys.text("clock.source"),
            keys.time("start.time"),
            keys.kinds("kinds"),
            Boolean.parseBoolean(keys.text("complete")),
            keys.text("end.reason"),
            keys.number("records", -1, Long.MAX_VALUE),
            keys.word("trace"),
            keys.number("dropped", 0, Long.MAX_VALUE),
            keys.text("start.checksum"),
            keys.text("recovered"),
            properties.getProperty("keep", ""));
    final int end = content.lastIndexOf(CHECKSUM);
    if (end < 0
        || !content.substring(end).equals(CHECKSUM + checksum(content.substring(0, end)) + '\n')) {
      throw new TraceException(file + ": damaged, its checksum is wrong");
    }
    return manifest;
  }

  /** Typed access to the file's keys, each of which must be there. */
  private record Keys(Path file, Properties properties) {
    String text(final String key) {
      final String value = properties.getProperty(key);
      if (value == null) {
        throw new TraceException(file + ": truncated, no " + key);
      }
      return value;
    }

    long number(final String key, final long min, final long max) {
      final String value = text(key);
      try {
        final long number = Long.parseLong(value);
        if (number >= min && number <= max) {
          return number;
        }
      } catch (final NumberFormatException e) {
        throw wrong(key, value, e);
      }
      throw wrong(key, value, null);
    }

    long word(final String key) {
      final String value = text(key);
      try {
        return Long.parseUnsignedLong(value, 16);
      } catch (final NumberFormatException e) {
        throw wrong(key, value, e);
      }
    }

    MemorySlot slot(final String key) {
      final String value = text(key);
      final String[] parts = value.split(" ", -1);
      try {
        if (parts.length == 3) {
          return new MemorySlot(
              Long.parseUnsignedLong(parts[0].substring(2), 16),
              Long.parseUnsignedLong(parts[1].substring(2), 16),
              parts[2].equals("read-only"));
        }
      } catch (final NumberFormatException | IndexOutOfBoundsException e) {
        throw wrong(key, value, e);
      }
      throw wrong(key, value, null);
    }

    Instant time(final String key) {
      final String value = text(key);
      try {
        return Instant.parse(value);
      } catch (final DateTimeParseException e) {
        throw wrong(key, value, e);
      }
    }

    Set<ExitKind> kinds(final String key) {
      final String value = text(key);
      final Set<ExitKind> kinds = EnumSet.noneOf(ExitKind.class);
      if (!value.isEmpty()) {
        for (final String name : value.split(",", -1)) {
          try {
            kinds.add(ExitKind.valueOf(name));
          } catch (final IllegalArgumentException e) {
            throw wrong(key, value, e);
          }
        }
      }
      return kinds;
    }

    private TraceException wrong(final String key, final String value, final Exception cause) {
      return new TraceException(file + ": " + key + "=" + value + " is not valid", cause);
    }
  }
}
