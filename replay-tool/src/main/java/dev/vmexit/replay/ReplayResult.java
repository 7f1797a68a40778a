package dev.vmexit.replay;

import dev.vmexit.exit.ExitKind;
import java.util.List;
import java.util.Map;

/**
 * What a replay found.
 *
 * @param verified records that agree, by kind
 * @param records that were read
 * @param gaps records that are missing from the trace
 * @param skipped checks that could not be made, each with the reason
 * @param difference the first one, or null
 */
public record ReplayResult(
    Map<ExitKind, Long> verified,
    long records,
    long gaps,
    List<String> skipped,
    Difference difference) {
  /** Takes copies. */
  public ReplayResult {
    verified = Map.copyOf(verified);
    skipped = List.copyOf(skipped);
  }

  /** Whether trace and replay agree. */
  public boolean agrees() {
    return difference == null;
  }
}
