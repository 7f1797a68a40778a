package dev.vmexit.replay;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.x86.Vector;

/**
 * Checks injections against the recorded interrupt state, against the vectors that the guest has
 * programmed, and against the reflected faults that call for them (SDM Vol. 3A, 6.8 and 6.15).
 */
final class InjectionCheck {
  private static final int VECTORS = 256;
  private static final int LAST_EXCEPTION = 31;

  private final Findings findings;
  private final ProgrammedVectors programmed;

  /** A reflected fault waits for its #PF. */
  private boolean owed;

  private int owedError;

  /**
   * Makes a check.
   *
   * @param programmed null where the trace has not all accesses to the interrupt controllers
   */
  InjectionCheck(final Findings findings, final ProgrammedVectors programmed) {
    this.findings = findings;
    this.programmed = programmed;
  }

  /** A fault was reflected: the next record must inject it with this error code. */
  void reflected(final int errorCode) {
    owed = true;
    owedError = errorCode;
  }

  /**
   * Checks one record.
   *
   * @param pagingReplayed whether reflected faults are known
   */
  boolean check(final ExitEvent event, final boolean pagingReplayed) {
    if (event.kind != ExitKind.INJECT) {
      if (owed && event.kind != ExitKind.PAGE_FAULT) {
        owed = false;
        return findings.differ("injection", event.kind.toString(), "#PF of the reflected fault");
      }
      if (programmed != null) {
        programmed.observe(event);
      }
      return true;
    }
    if (event.address < 0 || event.address >= VECTORS) {
      return findings.differ("vector", Findings.hex(event.address), "0 to 0xff");
    }
    final int vector = (int) event.address;
    return switch (event.detail) {
      case ExitEvent.INJECT_INTERRUPT -> interrupt(event, vector);
      case ExitEvent.INJECT_NMI -> nonMaskable(event, vector);
      case ExitEvent.INJECT_EXCEPTION -> exception(event, vector, pagingReplayed);
      default -> findings.differ("type", Integer.toString(event.detail), "0, 2 or 3");
    };
  }

  private boolean settled() {
    if (owed) {
      owed = false;
      return findings.differ("injection", "another event", "#PF of the reflected fault");
    }
    return true;
  }

  private boolean interrupt(final ExitEvent event, final int vector) {
    if (!settled()) {
      return false;
    }
    if ((event.interruptState & ExitEvent.INTERRUPT_IF) == 0) {
      return findings.differ("injection", "interrupt " + Findings.hex(vector), "none: IF is 0");
    }
    if ((event.interruptState & ExitEvent.INTERRUPT_SHADOW) != 0) {
      return findings.differ(
          "injection", "interrupt " + Findings.hex(vector), "none: shadow of STI or MOV SS");
    }
    if (event.write) {
      return findings.differ("error code", Findings.hex(event.errorCode), "none");
    }
    return programmed == null
        || programmed.contains(vector)
        || findings.differ("vector", Findings.hex(vector), "one that the guest has programmed");
  }

  private boolean nonMaskable(final ExitEvent event, final int vector) {
    if (!settled() || !findings.same("vector", vector, Vector.NMI)) {
      return false;
    }
    return (event.interruptState & ExitEvent.INTERRUPT_NMI_BLOCKED) == 0
        || findings.differ("injection", "NMI", "none: NMIs are blocked");
  }

  private boolean exception(final ExitEvent event, final int vector, final boolean pagingReplayed) {
    if (vector > LAST_EXCEPTION || vector == Vector.NMI) {
      return findings.differ("vector", Findings.hex(vector), "an exception");
    }
    if (event.write != Vector.hasErrorCode(vector)) {
      return findings.differ(
          "error code",
          event.write ? Findings.hex(event.errorCode) : "none",
          event.write ? "none" : "one");
    }
    if (owed) {
      owed = false;
      return findings.same("vector", vector, Vector.PF)
          && findings.same("error code", event.errorCode, owedError);
    }
    return vector != Vector.PF
        || !pagingReplayed
        || findings.differ("injection", "#PF", "none: no fault was reflected");
  }
}
