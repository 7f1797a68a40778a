package dev.vmexit.replay;

import dev.vmexit.exit.ExitKind;
import java.util.List;

/**
 * Where a trace and its replay part.
 *
 * @param sequence of the record
 * @param kind of the record
 * @param field that differs
 * @param recorded value in the trace
 * @param replayed value that follows from the rest of the trace
 * @param disassembly of the instruction, empty where none was recorded
 * @param lastExits one line each, the record in question last
 */
public record Difference(
    long sequence,
    ExitKind kind,
    String field,
    String recorded,
    String replayed,
    String disassembly,
    List<String> lastExits) {
  /** Takes a copy of the list. */
  public Difference {
    lastExits = List.copyOf(lastExits);
  }
}
