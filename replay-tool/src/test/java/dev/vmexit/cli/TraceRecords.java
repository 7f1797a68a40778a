package dev.vmexit.cli;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.trace.TraceReader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Objects;

/** Records of a trace as values that can be compared. */
final class TraceRecords {
  private TraceRecords() {}

  /** All records but their host times, each as text with every field that its kind has. */
  static List<String> withoutHostTimes(final Path folder) {
    final List<String> records = new ArrayList<>();
    final ExitEvent event = new ExitEvent();
    try (TraceReader reader = TraceReader.open(folder)) {
      while (reader.next(event)) {
        records.add(text(event));
      }
    }
    return records;
  }

  /** The kinds of all records. */
  static List<ExitKind> kinds(final Path folder) {
    final List<ExitKind> kinds = new ArrayList<>();
    final ExitEvent event = new ExitEvent();
    try (TraceReader reader = TraceReader.open(folder)) {
      while (reader.next(event)) {
        kinds.add(event.kind);
      }
    }
    return kinds;
  }

  /** A hash of what {@link #text} says, for traces of which two do not fit into memory. */
  static int hash(final ExitEvent e) {
    int hash =
        Objects.hash(
            e.sequence,
            e.vcpu,
            e.kind,
            e.retired,
            e.rip,
            e.csBase,
            e.cr0,
            e.cr3,
            e.cr4,
            e.efer,
            e.mode,
            e.interruptState,
            e.rflags,
            e.address,
            e.value,
            e.size,
            e.write,
            e.detail,
            e.errorCode);
    hash = 31 * hash + Arrays.hashCode(e.registers);
    for (int i = 0; i < e.instructionLength; i++) {
      hash = 31 * hash + e.instruction[i];
    }
    for (int i = 0; i < e.walkCount; i++) {
      hash = 31 * hash + Objects.hash(e.walkAddress[i], e.walkValue[i]);
    }
    for (int i = 0; i < e.writeCount; i++) {
      hash = 31 * hash + Objects.hash(e.writeAddress[i], e.writeSize[i], e.writeValue[i]);
    }
    return e.kind == ExitKind.CPUID ? 31 * hash + Arrays.hashCode(e.cpuid) : hash;
  }

  /** One record, without its host times. */
  static String text(final ExitEvent e) {
    final StringBuilder text =
        new StringBuilder(
            String.format(
                Locale.ROOT,
                "%d vcpu=%d %s retired=%d rip=%x cs=%x cr0=%x cr3=%x cr4=%x efer=%x mode=%x"
                    + " interrupts=%x rflags=%x address=%x value=%x size=%d write=%b detail=%d"
                    + " error=%x",
                e.sequence,
                e.vcpu,
                e.kind,
                e.retired,
                e.rip,
                e.csBase,
                e.cr0,
                e.cr3,
                e.cr4,
                e.efer,
                e.mode,
                e.interruptState,
                e.rflags,
                e.address,
                e.value,
                e.size,
                e.write,
                e.detail,
                e.errorCode));
    for (int i = 0; i < e.instructionLength; i++) {
      text.append(String.format(Locale.ROOT, " %02x", e.instruction[i]));
    }
    for (int i = 0; i < e.walkCount; i++) {
      text.append(String.format(Locale.ROOT, " [%x]=%x", e.walkAddress[i], e.walkValue[i]));
    }
    for (int i = 0; i < e.writeCount; i++) {
      text.append(
          String.format(
              Locale.ROOT, " [%x]<-%x/%d", e.writeAddress[i], e.writeValue[i], e.writeSize[i]));
    }
    if (e.kind == ExitKind.CPUID) {
      text.append(Arrays.toString(e.cpuid));
    }
    return text.append(Arrays.toString(e.registers)).toString();
  }
}
