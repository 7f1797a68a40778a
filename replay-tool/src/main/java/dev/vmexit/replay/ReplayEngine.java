package dev.vmexit.replay;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.VectorState;
import dev.vmexit.memory.MemoryMap;
import dev.vmexit.trace.ExitEvents;
import dev.vmexit.trace.TraceManifest;
import dev.vmexit.trace.TraceReader;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Re-feeds a trace, record by record, and stops at the first that disagrees. Not thread-safe.
 *
 * <p>A gap ends what depends on all that came before: the MMU and the programmed vectors are not
 * checked up to the next checkpoint, and {@link ReplayResult#skipped} says so.
 */
public final class ReplayEngine {
  private static final Set<ExitKind> PAGING_KINDS =
      EnumSet.of(
          ExitKind.PAGE_FAULT,
          ExitKind.CR,
          ExitKind.MSR,
          ExitKind.INVLPG,
          ExitKind.DMA,
          ExitKind.DEBUG);

  private static final Set<ExitKind> VECTOR_KINDS =
      EnumSet.of(ExitKind.PIO, ExitKind.MMIO, ExitKind.MSR);

  private final Findings findings = new Findings();
  private final InstructionCheck instructions;
  private final List<String> skipped = new ArrayList<>();
  private final long[] verified = new long[ExitKind.values().length];
  private final boolean injectsRecorded;
  private final SlotMap slots;

  /** Another vCPU may change what memory there is. */
  private boolean oneOfSeveral;

  /** Whether the trace has what these checks need, but for gaps. */
  private final boolean pagingRecorded;

  private boolean vectorsRecorded;

  private MmuCheck paging;
  private InjectionCheck injections;

  /** The first record behind a gap, and how many were not checked up to a checkpoint. */
  private long uncheckedFrom = -1;

  private long unchecked;
  private String restarted = "";
  private long records;
  private long gaps;
  private long lastRetired;
  private long nextSequence;

  /** Makes an engine for traces of this manifest. */
  public ReplayEngine(final TraceManifest manifest) {
    slots = new SlotMap(manifest.memory());
    if (!manifest.kinds().contains(ExitKind.DEBUG)) {
      slots.forget();
    }
    instructions = new InstructionCheck(findings, slots);
    injectsRecorded = manifest.kinds().contains(ExitKind.INJECT);
    if (!manifest.mmu().equals("shadow")) {
      skipped.add("page faults: the MMU is " + manifest.mmu() + ", nothing is shadowed");
    } else if (!manifest.kinds().containsAll(PAGING_KINDS)) {
      skipped.add("page faults: not all of " + PAGING_KINDS + " were recorded");
    } else {
      paging = new MmuCheck(findings, slots);
    }
    pagingRecorded = paging != null;
    ProgrammedVectors vectors = null;
    if (!manifest.kinds().containsAll(VECTOR_KINDS)) {
      skipped.add("programmed vectors: not all of " + VECTOR_KINDS + " were recorded");
    } else {
      vectors = new ProgrammedVectors();
      vectorsRecorded = true;
    }
    injections = new InjectionCheck(findings, vectors);
  }

  /** Replays all of a trace, or up to the first difference. */
  public static ReplayResult replay(final TraceReader reader) {
    if (reader.manifest().vcpus() > 1) {
      return replayEach(reader);
    }
    final ReplayEngine engine = new ReplayEngine(reader.manifest());
    boolean agrees = true;
    while (agrees && reader.next(engine.findings.slot())) {
      agrees = engine.checkSlot();
    }
    return engine.result();
  }

  /**
   * Each vCPU by itself: their records follow each other in the order in which they were moved, not
   * that of time.
   */
  private static ReplayResult replayEach(final TraceReader reader) {
    final ReplayEngine[] engines = new ReplayEngine[reader.manifest().vcpus()];
    for (int i = 0; i < engines.length; i++) {
      engines[i] = new ReplayEngine(reader.manifest());
      engines[i].skipVectors("another vCPU may have programmed them");
      engines[i].oneOfSeveral = true;
      engines[i].slots.forget();
    }
    final ExitEvent event = new ExitEvent();
    boolean agrees = true;
    ReplayEngine last = engines[0];
    while (agrees && reader.next(event)) {
      last = engines[event.vcpu];
      agrees = last.accept(event);
    }
    final Map<ExitKind, Long> counts = new EnumMap<>(ExitKind.class);
    final Set<String> skipped = new LinkedHashSet<>();
    long records = 0;
    long gaps = 0;
    for (final ReplayEngine engine : engines) {
      final ReplayResult result = engine.result();
      result.verified().forEach((kind, count) -> counts.merge(kind, count, Long::sum));
      skipped.addAll(result.skipped());
      records += result.records();
      gaps += result.gaps();
    }
    return new ReplayResult(counts, records, gaps, List.copyOf(skipped), last.findings.first());
  }

  private void skipVectors(final String why) {
    if (vectorsRecorded) {
      vectorsRecorded = false;
      skipped.add("programmed vectors: " + why);
      injections = new InjectionCheck(findings, null);
    }
  }

  /**
   * Takes the next record.
   *
   * @return false where it differs; nothing may be fed any more
   */
  public boolean accept(final ExitEvent event) {
    ExitEvents.copy(event, findings.slot());
    return checkSlot();
  }

  private boolean checkSlot() {
    final ExitEvent event = findings.slot();
    findings.next();
    if (event.kind == ExitKind.GAP) {
      gap(event);
      return true;
    }
    if (uncheckedFrom >= 0) {
      checkpoint(event);
    }
    if (!order(event)
        || !instructions.check(event, paging == null ? null : paging.mmu())
        || !injections.check(event, paging != null)
        || (paging != null && !paging.check(event))) {
      return false;
    }
    if (paging != null
        && injectsRecorded
        && event.kind == ExitKind.PAGE_FAULT
        && event.detail == ExitEvent.PF_REFLECTED) {
      injections.reflected(paging.reflectedError());
    }
    if (event.kind == ExitKind.DEBUG && event.detail == ExitEvent.DEBUG_MEMORY) {
      if (!MemoryMap.isState(event.value)) {
        return findings.differ("memory", Findings.hex(event.value), "a state of the chipset's");
      }
      mapMemory(event.value);
    }
    if (event.kind == ExitKind.SHUTDOWN) {
      restart();
    }
    verified[event.kind.ordinal()]++;
    records++;
    return true;
  }

  /** Whatever follows a shutdown, a machine that was reset began it. */
  private void restart() {
    final boolean known = vectorsRecorded && uncheckedFrom < 0;
    injections = new InjectionCheck(findings, known ? new ProgrammedVectors() : null);
    if (paging != null) {
      paging.restart();
    }
  }

  private void mapMemory(final long state) {
    if (!oneOfSeveral) {
      slots.map(state);
    }
    if (paging != null) {
      paging.mmu().flushAll();
    }
  }

  private void gap(final ExitEvent event) {
    gaps += event.value;
    nextSequence = event.address + event.value;
    slots.forget();
    injections = new InjectionCheck(findings, null);
    if (pagingRecorded || vectorsRecorded) {
      paging = null;
      uncheckedFrom = uncheckedFrom < 0 ? nextSequence : uncheckedFrom;
    }
  }

  /** Behind a gap: all can be checked again where a record says what there is to know. */
  private void checkpoint(final ExitEvent event) {
    if (event.kind != ExitKind.KICK
        || event.detail != ExitEvent.KICK_CHECKPOINT
        || event.dataLength != VectorState.LENGTH) {
      unchecked++;
      return;
    }
    if (pagingRecorded) {
      // All as built, where no record behind this one says otherwise.
      slots.map(MemoryMap.PLAIN);
      paging = new MmuCheck(findings, slots);
    }
    if (vectorsRecorded) {
      injections = new InjectionCheck(findings, ProgrammedVectors.at(event));
    }
    restarted = ", up to a checkpoint at record " + event.sequence;
    uncheckedFrom = -1;
  }

  private List<String> notChecked() {
    final List<String> all = new ArrayList<>(skipped);
    final String where;
    if (uncheckedFrom >= 0) {
      where = "from record " + uncheckedFrom + " on, after a gap";
    } else if (unchecked > 0) {
      where = "of " + unchecked + " records after a gap" + restarted;
    } else {
      return all;
    }
    if (pagingRecorded) {
      all.add("page faults: " + where);
    }
    if (vectorsRecorded) {
      all.add("programmed vectors: " + where);
    }
    return all;
  }

  private boolean order(final ExitEvent event) {
    if (event.sequence != nextSequence) {
      return findings.differ(
          "sequence", Long.toString(event.sequence), Long.toString(nextSequence));
    }
    nextSequence = event.sequence + 1;
    if (event.retired < lastRetired) {
      return findings.differ(
          "retired instructions",
          Long.toString(event.retired),
          "at least " + lastRetired + " as in the record before");
    }
    lastRetired = event.retired;
    return true;
  }

  /** What was found so far. */
  public ReplayResult result() {
    final Map<ExitKind, Long> counts = new EnumMap<>(ExitKind.class);
    for (final ExitKind kind : ExitKind.values()) {
      if (verified[kind.ordinal()] > 0) {
        counts.put(kind, verified[kind.ordinal()]);
      }
    }
    return new ReplayResult(counts, records, gaps, notChecked(), findings.first());
  }
}
