package dev.vmexit.replay;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.mmu.Fault;
import dev.vmexit.mmu.PagingContext;
import dev.vmexit.mmu.PagingMode;
import dev.vmexit.mmu.ShadowMmu;
import dev.vmexit.mmu.Translation;
import dev.vmexit.trace.ExitFormatter;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Msr;
import dev.vmexit.x86.PageFaultError;
import dev.vmexit.x86.Pte;

/**
 * Feeds a shadow MMU from the trace alone and compares what it concludes: that each fault is one,
 * in just this manner, what becomes of it, which entries its walk reads and what is in them.
 */
final class MmuCheck {
  /** Longest instruction and a page: where a fetch can be seen from rip. */
  private static final long FETCH_REACH = 4096 + 15;

  private static final long CR0_PAGING =
      ControlRegisters.CR0_PE | ControlRegisters.CR0_WP | ControlRegisters.CR0_PG;
  private static final long CR4_PAGING =
      ControlRegisters.CR4_PSE
          | ControlRegisters.CR4_PAE
          | ControlRegisters.CR4_PGE
          | ControlRegisters.CR4_SMEP
          | ControlRegisters.CR4_SMAP;
  private static final long EFER_PAGING = ControlRegisters.EFER_LME | ControlRegisters.EFER_NXE;

  private final Findings findings;
  private final KnownTables known = new KnownTables();
  private final SlotMap slots;
  private final RecordedTables tables;
  private final ShadowMmu mmu;
  private final Fault fault = new Fault();
  private final Translation.Result translation = new Translation.Result();
  private boolean started;

  MmuCheck(final Findings findings, final SlotMap slots) {
    this.findings = findings;
    this.slots = slots;
    tables = new RecordedTables(slots, known);
    mmu = new ShadowMmu(tables, slots);
    mmu.attach(known);
  }

  /** The next record is the first of a machine that was reset. */
  void restart() {
    mmu.flushAll();
    started = false;
  }

  /** The MMU, to ask for translations. */
  ShadowMmu mmu() {
    return mmu;
  }

  /** The error code that the guest must get after a reflected fault. */
  int reflectedError() {
    return fault.errorCode;
  }

  /** Checks one record and brings its effect to the MMU; false where the trace differs. */
  boolean check(final ExitEvent event) {
    tables.serve(event);
    if (!started) {
      started = true;
      mmu.setContext(event.cr0, event.cr3, event.cr4, event.efer);
      tables.serve(event);
    }
    final boolean good =
        switch (event.kind) {
          case PAGE_FAULT -> event.isHostFault() || pageFault(event);
          case CR -> event.address == 8 || contextWritten(event, event.efer);
          case MSR ->
              !(event.write && event.detail == 0 && (int) event.address == Msr.EFER)
                  || contextWritten(event, newEfer(event));
          case INVLPG -> {
            mmu.invalidatePage(event.address);
            yield true;
          }
          case DMA -> {
            mmu.memoryWritten(event.address, event.value);
            yield true;
          }
          case KICK -> {
            if (event.detail == ExitEvent.KICK_CHECKPOINT) {
              mmu.flushAll();
            }
            yield true;
          }
          default -> true;
        };
    for (int i = 0; i < event.writeCount; i++) {
      known.stored(event.writeAddress[i], event.writeSize[i], event.writeValue[i]);
      mmu.tableWritten(event.writeAddress[i], event.writeSize[i], event.writeValue[i]);
    }
    return good;
  }

  /** A CR record has the registers after the write, one of an MSR those before it. */
  private boolean contextWritten(final ExitEvent event, final long efer) {
    if (event.walkCount == 0
        && PagingContext.modeOf(event.cr0, event.cr4, efer) == PagingMode.PAE) {
      // Refused for a reserved bit in a PDPTE: all stays as it was.
      return true;
    }
    mmu.setContext(event.cr0, event.cr3, event.cr4, efer);
    return entriesUsed(event);
  }

  /** EFER after WRMSR: LMA is the processor's own (SDM Vol. 3A, 2.2.1). */
  private static long newEfer(final ExitEvent event) {
    return event.value & ~ControlRegisters.EFER_LMA | event.efer & ControlRegisters.EFER_LMA;
  }

  private boolean entriesUsed(final ExitEvent event) {
    if (tables.isMissing()) {
      return findings.differ(
          "table entry",
          tables.used() < event.walkCount ? Findings.hex(event.walkAddress[tables.used()]) : "none",
          "read at " + Findings.hex(tables.missing()));
    }
    return tables.used() == event.walkCount
        || findings.differ(
            "table entries", Integer.toString(event.walkCount), Integer.toString(tables.used()));
  }

  private boolean pageFault(final ExitEvent event) {
    if (!sameContext(event) || !plausible(event) || !misses(event) || !entriesAsKnown(event)) {
      return false;
    }
    mmu.handleFault(event.address, event.errorCode, fault);
    if (!entriesUsed(event)) {
      return false;
    }
    if (fault.outcome != event.detail) {
      return findings.differ(
          "outcome", ExitFormatter.outcome(event.detail), ExitFormatter.outcome(fault.outcome));
    }
    if (!findings.same("gpa", event.value, fault.gpa)) {
      return false;
    }
    for (int i = 0; i < event.walkCount; i++) {
      if (!findings.same("table entry", event.walkValue[i], fault.walk.entryValue[i])) {
        return false;
      }
      learn(event, i);
    }
    return event.writeCount == 0
        || event.detail == ExitEvent.PF_TABLE_WRITE
        || findings.differ(
            "table writes", Integer.toString(event.writeCount), "none when not a table write");
  }

  /** The walk has stored its accessed and dirty bits into what was known; else it is new. */
  private void learn(final ExitEvent event, final int i) {
    final int size = fault.walk.entrySize;
    final long gpa = event.walkAddress[i];
    if (!mmu.isShadowed(gpa >>> 12)) {
      return;
    }
    long value = event.walkValue[i];
    if (fault.walk.ok && slots.isBacked(gpa) && !slots.isReadOnly(gpa)) {
      value |= Pte.ACCESSED;
      if (i == event.walkCount - 1 && fault.walk.dirty) {
        value |= Pte.DIRTY;
      }
    }
    known.learned(gpa, size, value);
  }

  private boolean entriesAsKnown(final ExitEvent event) {
    final int size =
        PagingContext.modeOf(event.cr0, event.cr4, event.efer) == PagingMode.BITS32 ? 4 : 8;
    for (int i = 0; i < event.walkCount; i++) {
      final long gpa = event.walkAddress[i];
      if ((gpa & size - 1) != 0) {
        return findings.differ("table entry address", Findings.hex(gpa), "aligned");
      }
      if (mmu.isShadowed(gpa >>> 12)
          && known.knows(gpa, size)
          && !findings.same("table entry", event.walkValue[i], known.value(gpa, size))) {
        return false;
      }
    }
    return true;
  }

  private boolean sameContext(final ExitEvent event) {
    final PagingContext context = mmu.context();
    return findings.same("cr0", event.cr0 & CR0_PAGING, context.cr0() & CR0_PAGING)
        && findings.same("cr3", event.cr3, context.cr3())
        && findings.same("cr4", event.cr4 & CR4_PAGING, context.cr4() & CR4_PAGING)
        && findings.same("efer", event.efer & EFER_PAGING, context.efer() & EFER_PAGING);
  }

  /** What an access at this privilege and from this place can look like. */
  private boolean plausible(final ExitEvent event) {
    final int error = event.errorCode;
    final boolean wide = mmu.context().mode() == PagingMode.LEVEL4;
    if (wide ? event.address << 16 >> 16 != event.address : event.address >>> 32 != 0) {
      return findings.differ("gva", Findings.hex(event.address), "a linear address of this mode");
    }
    final boolean user = (error & PageFaultError.USER) != 0;
    if (user && (event.mode & ExitEvent.MODE_CPL) != ExitEvent.MODE_CPL) {
      return findings.differ("error code", "user", "supervisor at this CPL");
    }
    if (((error & PageFaultError.WRITE) != 0) != event.write) {
      return findings.differ("write", Boolean.toString(event.write), "as in the error code");
    }
    if ((error & PageFaultError.FETCH) != 0) {
      final long linear = event.csBase + event.rip;
      final long distance = event.address - linear;
      // 32-bit linear addresses wrap.
      if (Long.compareUnsigned(distance, FETCH_REACH) > 0
          && Long.compareUnsigned(distance & 0xFFFF_FFFFL, FETCH_REACH) > 0) {
        return findings.differ(
            "gva of a fetch", Findings.hex(event.address), "near " + Findings.hex(linear));
      }
    }
    return true;
  }

  /** The access must miss in the shadow tables as they stand, and in the recorded manner. */
  private boolean misses(final ExitEvent event) {
    final int error = event.errorCode;
    int access = (error & PageFaultError.WRITE) != 0 ? Translation.WRITE : Translation.READ;
    access |= (error & PageFaultError.USER) != 0 ? Translation.USER : 0;
    access |= (error & PageFaultError.FETCH) != 0 ? Translation.FETCH : 0;
    access |= (error & ShadowMmu.ERROR_SMAP_OVERRIDE) != 0 ? Translation.SMAP_OVERRIDE : 0;
    translation.pkru = ShadowMmu.pkruOf(error);
    mmu.translate(event.address, access, translation);
    if (translation.outcome != Translation.Result.MISS) {
      return findings.differ(
          "page fault",
          "gva " + Findings.hex(event.address),
          "translates to gpa " + Findings.hex(translation.gpa));
    }
    return findings.same("error code", error, translation.errorCode);
  }
}
