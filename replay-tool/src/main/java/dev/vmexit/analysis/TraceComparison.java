package dev.vmexit.analysis;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import java.util.Arrays;
import java.util.Set;
import org.agrona.collections.LongArrayQueue;

/**
 * Compares the exits of two traces, record by record of each vCPU, in the order in which they are
 * fed; and, as one exit too many would make all after it differ, once more within each kind.
 *
 * <p>Compared is what the guest did: kind, rip, instruction, address, size, direction, bytes moved.
 * Times, counts of instructions and registers are not, and of an injection only what was injected.
 * Keeps eight bytes for each record that has no counterpart yet. Not thread-safe.
 */
public final class TraceComparison {
  private static final int VCPUS = 256;
  private static final int KINDS = ExitKind.values().length;
  private static final long NOTHING = LongArrayQueue.DEFAULT_NULL_VALUE;
  private static final long MIX = 0x9E37_79B9_7F4A_7C15L;

  private final Set<ExitKind> kinds;
  private final Side first = new Side();
  private final Side second = new Side();
  private final long[] same = new long[KINDS];
  private long compared;
  private int differingVcpu = -1;
  private long differingOrdinal = -1;

  /** What one trace has that the other one did not have yet. */
  private static final class Side {
    private final LongArrayQueue[] byVcpu = new LongArrayQueue[VCPUS];
    private final LongArrayQueue[] byKind = new LongArrayQueue[VCPUS * KINDS];
    private final long[] counts = new long[KINDS];
    private final long[] ordinals = new long[VCPUS];

    private static LongArrayQueue of(final LongArrayQueue[] queues, final int at) {
      if (queues[at] == null) {
        queues[at] = new LongArrayQueue();
      }
      return queues[at];
    }
  }

  /** Makes a comparison of records of these kinds. */
  public TraceComparison(final Set<ExitKind> kinds) {
    this.kinds = Set.copyOf(kinds);
  }

  /** Takes the next record of the first trace. */
  public void first(final ExitEvent event) {
    feed(event, first, second);
  }

  /** Takes the next record of the second trace. */
  public void second(final ExitEvent event) {
    feed(event, second, first);
  }

  /**
   * How many exits a record stands for: each element that a repeated OUTS wrote is one, as some
   * processors leave the guest for each.
   */
  public static int exits(final ExitEvent event) {
    return event.kind == ExitKind.PIO && event.write && event.dataLength > event.size
        ? event.dataLength / event.size
        : 1;
  }

  private void feed(final ExitEvent event, final Side side, final Side other) {
    if (!kinds.contains(event.kind)) {
      return;
    }
    final int exits = exits(event);
    if (exits == 1) {
      feed(event, digest(event, event.value, event.dataLength), side, other);
      return;
    }
    for (int i = 0; i < exits; i++) {
      feed(event, digest(event, element(event, i), 0), side, other);
    }
  }

  private static long element(final ExitEvent event, final int index) {
    long value = 0;
    for (int i = 0; i < event.size; i++) {
      value |= (event.data[index * event.size + i] & 0xFFL) << 8 * i;
    }
    return value;
  }

  private void feed(final ExitEvent event, final long digest, final Side side, final Side other) {
    final int vcpu = event.vcpu & VCPUS - 1;
    final int kind = event.kind.ordinal();
    side.counts[kind]++;
    final long counterpart = Side.of(other.byKind, vcpu * KINDS + kind).pollLong();
    if (counterpart == NOTHING) {
      Side.of(side.byKind, vcpu * KINDS + kind).addLong(digest);
    } else if (counterpart == digest) {
      same[kind]++;
    }
    final long ordinal = side.ordinals[vcpu]++;
    if (differingVcpu >= 0) {
      return;
    }
    final long partner = Side.of(other.byVcpu, vcpu).pollLong();
    if (partner == NOTHING) {
      Side.of(side.byVcpu, vcpu).addLong(digest);
    } else if (partner == digest) {
      compared++;
    } else {
      differingVcpu = vcpu;
      differingOrdinal = ordinal;
    }
  }

  /** All that is compared, in 64 bits; never the queues' word for nothing. */
  private static long digest(final ExitEvent e, final long value, final int dataLength) {
    long digest = e.kind.ordinal();
    digest = mix(digest, e.rip);
    digest = mix(digest, e.csBase);
    digest = mix(digest, e.address);
    digest = mix(digest, e.kind == ExitKind.INJECT ? 0 : value);
    digest = mix(digest, size(e) | (e.write ? 1L << 8 : 0) | (long) e.detail << 16);
    digest = mix(digest, e.errorCode);
    digest = mix(digest, e.instructionLength);
    for (int i = 0; i < e.instructionLength; i++) {
      digest = mix(digest, e.instruction[i]);
    }
    for (int i = 0; i < dataLength; i++) {
      digest = mix(digest, e.data[i]);
    }
    if (e.kind == ExitKind.CPUID) {
      digest = mix(digest, Arrays.hashCode(e.cpuid));
    }
    return digest == NOTHING ? 0 : digest;
  }

  /** The bytes of an access; elsewhere the field says nothing. */
  private static int size(final ExitEvent e) {
    return e.kind == ExitKind.PIO || e.kind == ExitKind.MMIO ? e.size : 0;
  }

  private static long mix(final long digest, final long value) {
    final long mixed = (digest ^ value) * MIX;
    return mixed ^ mixed >>> 29;
  }

  /** Records of a kind in the first trace. */
  public long firstCount(final ExitKind kind) {
    return first.counts[kind.ordinal()];
  }

  /** Records of a kind in the second trace. */
  public long secondCount(final ExitKind kind) {
    return second.counts[kind.ordinal()];
  }

  /** Pairs of a kind, the n-th with the n-th, that are the same. */
  public long same(final ExitKind kind) {
    return same[kind.ordinal()];
  }

  /** Records in step from the start of both. */
  public long inStep() {
    return compared;
  }

  /** vCPU of the first pair that differs, or -1 where none does. */
  public int differingVcpu() {
    return differingVcpu;
  }

  /** Number of that pair among its vCPU's compared records, from 0. */
  public long differingOrdinal() {
    return differingOrdinal;
  }

  /** Whether both traces tell the same, to their ends. */
  public boolean isSame() {
    return differingVcpu < 0 && Arrays.equals(first.counts, second.counts);
  }

  /** The first of the compared fields that two records differ in, or an empty string. */
  public static String difference(final ExitEvent a, final ExitEvent b) {
    if (a.kind != b.kind) {
      return "kind";
    }
    if (a.rip != b.rip || a.csBase != b.csBase) {
      return "rip";
    }
    if (a.address != b.address) {
      return "address";
    }
    if (size(a) != size(b) || a.write != b.write) {
      return "size or direction";
    }
    if (!Arrays.equals(a.data, 0, a.dataLength, b.data, 0, b.dataLength)) {
      return "data";
    }
    if (a.kind != ExitKind.INJECT && a.value != b.value) {
      return "value";
    }
    if (a.detail != b.detail || a.errorCode != b.errorCode) {
      return "detail";
    }
    if (!Arrays.equals(
        a.instruction, 0, a.instructionLength, b.instruction, 0, b.instructionLength)) {
      return "instruction";
    }
    return a.kind == ExitKind.CPUID && !Arrays.equals(a.cpuid, b.cpuid) ? "cpuid" : "";
  }
}
