package dev.vmexit.vcpu.kvm;

import dev.vmexit.exit.KernelEvent;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The tracepoints of this host's KVM that vmexit knows: of those in {@link KernelEvent} the ones
 * that tracefs has.
 */
public final class KernelTracepoints {
  private static final List<Path> PLACES =
      List.of(Path.of("/sys/kernel/tracing"), Path.of("/sys/kernel/debug/tracing"));

  private final List<Tracepoint> tracepoints;

  /** Where the tracepoint's number is in an event's raw data; two bytes. */
  private final int typeOffset;

  private KernelTracepoints(final List<Tracepoint> tracepoints, final int typeOffset) {
    this.tracepoints = tracepoints;
    this.typeOffset = typeOffset;
  }

  /**
   * Reads what tracefs says, and tries whether perf_event_open lets us have it.
   *
   * @throws KvmUnavailableException where one of them does not: the message says what is missing
   *     and how to get it
   */
  public static KernelTracepoints read() {
    final KernelTracepoints all =
        read(PLACES.stream().filter(Files::exists).findFirst().orElse(PLACES.getFirst()));
    PerfEvent.open(all.tracepoints.getFirst().id(), 0).close();
    return all;
  }

  /** As above, from a tracefs that may be elsewhere, and without the try. */
  static KernelTracepoints read(final Path tracefs) {
    final Path events = tracefs.resolve("events");
    if (!Files.isReadable(events)) {
      throw new KvmUnavailableException(
          Files.exists(events) || Files.exists(tracefs) && !Files.isReadable(tracefs)
              ? tracefs
                  + " may not be read by this user: run as root, or as root: mount -o"
                  + " remount,gid=GROUP "
                  + tracefs
              : tracefs + " has no tracefs: as root: mount -t tracefs nodev " + tracefs);
    }
    final List<Tracepoint> found = new ArrayList<>();
    int typeOffset = 0;
    for (final KernelEvent event : KernelEvent.values()) {
      final Path file = events.resolve(event.tracepoint()).resolve("format");
      if (event == KernelEvent.LOST || !Files.exists(file)) {
        continue;
      }
      try {
        final TracepointFormat format =
            TracepointFormat.parse(Files.readString(file, StandardCharsets.UTF_8));
        typeOffset = format.fields().get(TracepointFormat.COMMON_TYPE).offset();
        found.add(new Tracepoint(event, format));
      } catch (final IOException e) {
        throw new KvmUnavailableException(file + " may not be read by this user: run as root", e);
      } catch (final IllegalArgumentException e) {
        throw new KvmUnavailableException(file + " " + e.getMessage(), e);
      }
    }
    if (found.isEmpty()) {
      throw new KvmUnavailableException(
          events.resolve("kvm")
              + " has no tracepoints: load the module kvm, and a kernel with"
              + " CONFIG_FTRACE");
    }
    return new KernelTracepoints(List.copyOf(found), typeOffset);
  }

  /** Why this host does not let us have them; empty where it does. */
  public static Optional<String> missing() {
    try {
      read();
      return Optional.empty();
    } catch (final KvmUnavailableException e) {
      return Optional.of(e.getMessage());
    }
  }

  /** How many there are. */
  public int count() {
    return tracepoints.size();
  }

  List<Tracepoint> list() {
    return tracepoints;
  }

  int typeOffset() {
    return typeOffset;
  }
}
