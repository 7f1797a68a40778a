package dev.vmexit.replay;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.VectorState;
import dev.vmexit.mmu.Fault;
import dev.vmexit.mmu.PagingContext;
import dev.vmexit.mmu.PagingMode;
import dev.vmexit.mmu.ShadowMmu;
import dev.vmexit.mmu.SlotView;
import dev.vmexit.mmu.TableMemory;
import dev.vmexit.mmu.Translation;
import dev.vmexit.trace.ExitEvents;
import dev.vmexit.trace.TraceManifest;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Msr;
import dev.vmexit.x86.Pte;
import dev.vmexit.x86.Vector;
import java.time.Instant;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Plays a 64-bit guest with 4-level tables in a map, a real shadow MMU and a run loop's order of
 * records: traces for tests, with no processor.
 */
public final class SyntheticGuest {
  public static final long RAM = 16L << 20;
  public static final long ROM = 0xFFF0_0000L;
  public static final long ROM_SIZE = 0x10_0000;
  public static final long CODE = 0xFFFF_FFFF_8100_0000L;
  public static final long TEXT_FRAME = 0x10_0000;
  public static final long CR0 = 0x8005_0033L;
  public static final long CR4 = 0x6F0;
  public static final long EFER = 0xD01;
  public static final long PML4 = 0x1000;

  /** What the guest's timer interrupts by. */
  public static final int VECTOR = 0xEC;

  private static final long APIC = 0xFFFF_C900_0000_0000L;
  private static final long RW = Pte.PRESENT | Pte.WRITABLE;
  private static final long TABLE = Pte.PRESENT | Pte.WRITABLE | Pte.USER;

  private final Map<Long, Long> entries = new HashMap<>();
  private final List<ExitEvent> events = new ArrayList<>();
  private final PagingMode mode;
  private final ShadowMmu mmu;
  private final Fault fault = new Fault();
  private final Translation.Result result = new Translation.Result();
  private long nextTable = 0x2000;
  private int round;

  /** The vCPU as it is now. */
  public final ExitEvent now = new ExitEvent();

  /** A guest in long mode. */
  public SyntheticGuest() {
    this(PagingMode.LEVEL4);
  }

  /** A guest with paging of a mode, its top table empty. */
  SyntheticGuest(final PagingMode mode) {
    this.mode = mode;
    final SlotMap slots = new SlotMap(slots());
    mmu =
        new ShadowMmu(
            new TableMemory() {
              @Override
              public long read(final long gpa, final int size) {
                return entries.getOrDefault(gpa, 0L);
              }

              @Override
              public boolean isBacked(final long gpa) {
                return slots.isBacked(gpa);
              }

              @Override
              public void write(final long gpa, final int size, final long value) {
                entries.put(gpa, value);
              }
            },
            (SlotView) slots,
            512,
            ShadowMmu.DEFAULT_FLOOD_THRESHOLD);
    now.cr0 = CR0;
    now.cr3 = PML4;
    now.cr4 = CR4;
    now.efer = EFER;
    now.mode = 8 | ExitEvent.MODE_PAGING;
    now.rip = CODE;
    now.rflags = Flags.IF | 2;
    now.interruptState = ExitEvent.INTERRUPT_IF;
    if (mode != PagingMode.LEVEL4) {
      now.cr4 = mode == PagingMode.PAE ? CR4 : CR4 & ~ControlRegisters.CR4_PAE;
      now.efer = mode == PagingMode.PAE ? ControlRegisters.EFER_NXE : 0;
      now.mode = 4 | ExitEvent.MODE_PAGING;
      now.rip = 0xC100_0000L;
    }
    mmu.setContext(now.cr0, now.cr3, now.cr4, now.efer);
  }

  public static List<TraceManifest.MemorySlot> slots() {
    return List.of(
        new TraceManifest.MemorySlot(0, RAM, false),
        new TraceManifest.MemorySlot(ROM, ROM_SIZE, true));
  }

  public static TraceManifest manifest(final String mmu, final EnumSet<ExitKind> kinds) {
    return TraceManifest.starting(
        "test",
        "synthetic",
        "test",
        slots(),
        1,
        "soft",
        mmu,
        "model",
        "virtual",
        "none",
        Instant.EPOCH,
        kinds);
  }

  public static TraceManifest manifest() {
    return manifest("shadow", EnumSet.allOf(ExitKind.class));
  }

  /** What was recorded so far. */
  public List<ExitEvent> events() {
    return events;
  }

  public void register(final int register, final long value) {
    now.registers[Gpr.kvmIndex(register)] = value;
  }

  // ---- the guest's tables ----

  /** Maps a page, making tables on the way. */
  public void map(final long gva, final long gpa, final long bits) {
    entries.put(walk(gva), gpa | bits);
  }

  /** Address of the last-level entry of a page. */
  public long entryAddress(final long gva) {
    return walk(gva);
  }

  private long walk(final long gva) {
    final int entrySize = mode == PagingMode.BITS32 ? 4 : 8;
    final int indexBits = mode == PagingMode.BITS32 ? 10 : 9;
    long table = now.cr3;
    int shift =
        switch (mode) {
          case LEVEL4 -> 39;
          case PAE -> 30;
          default -> 22;
        };
    while (shift > 12) {
      final long at = table + (gva >>> shift & (1 << indexBits) - 1) * entrySize;
      long entry = entries.getOrDefault(at, 0L);
      if ((entry & Pte.PRESENT) == 0) {
        // A PDPTE of PAE has neither R/W nor U/S.
        entry = nextTable | (mode == PagingMode.PAE && shift == 30 ? Pte.PRESENT : TABLE);
        nextTable += 4096;
        entries.put(at, entry);
      }
      table = entry & 0x000F_FFFF_FFFF_F000L;
      shift -= indexBits;
    }
    return table + (gva >>> 12 & (1 << indexBits) - 1) * entrySize;
  }

  // ---- exits ----

  public ExitEvent exit(final ExitKind kind, final int... code) {
    final ExitEvent event = new ExitEvent();
    now.retired += 100;
    now.hostTime += 5000;
    now.guestTime = 4000;
    now.handlerTime = 300;
    now.clearPayload();
    now.kind = kind;
    ExitEvents.copy(now, event);
    event.sequence = events.size();
    event.instructionLength = code.length;
    for (int i = 0; i < code.length; i++) {
      event.instruction[i] = (byte) code[i];
    }
    events.add(event);
    now.rip += code.length;
    return event;
  }

  /** OUT DX, AL. */
  public ExitEvent out(final int port, final int value) {
    register(Gpr.RDX, port);
    register(Gpr.RAX, 0xFFFF_FFFF_FFFF_FF00L | value);
    final ExitEvent event = exit(ExitKind.PIO, 0xEE);
    event.address = port;
    event.value = value;
    event.size = 1;
    event.write = true;
    return event;
  }

  /** IN EAX, imm8. */
  public ExitEvent in32(final int port, final long value) {
    final ExitEvent event = exit(ExitKind.PIO, 0xE5, port);
    event.address = port;
    event.value = value;
    event.size = 4;
    return event;
  }

  /** MOV [RBX + 0x10], EAX. */
  public ExitEvent mmioWrite(final long gva, final long gpa, final long value) {
    register(Gpr.RBX, gva - 0x10);
    register(Gpr.RAX, value);
    final ExitEvent event = exit(ExitKind.MMIO, 0x89, 0x43, 0x10);
    event.address = gpa;
    event.value = value;
    event.size = 4;
    event.write = true;
    return event;
  }

  /** ADD [RBX + 0x10], EAX: two exits. */
  public ExitEvent mmioModify(final long gva, final long gpa, final long old, final long plus) {
    register(Gpr.RBX, gva - 0x10);
    register(Gpr.RAX, plus);
    final ExitEvent read = exit(ExitKind.MMIO, 0x01, 0x43, 0x10);
    read.address = gpa;
    read.value = old;
    read.size = 4;
    now.rip -= 3;
    final ExitEvent write = exit(ExitKind.MMIO, 0x01, 0x43, 0x10);
    write.address = gpa;
    write.value = old + plus;
    write.size = 4;
    write.write = true;
    return write;
  }

  /** A checkpoint, before which the guest has programmed one vector. */
  public ExitEvent checkpoint(final int vector) {
    final ExitEvent event = exit(ExitKind.KICK);
    event.detail = ExitEvent.KICK_CHECKPOINT;
    VectorState.add(event.data, vector);
    event.dataLength = VectorState.LENGTH;
    mmu.flushAll();
    return event;
  }

  /** A touch of a page: the fault as the shadow MMU of this guest makes it. */
  public ExitEvent fault(final long gva, final int access) {
    mmu.translate(gva, access, result);
    if (result.outcome != Translation.Result.MISS) {
      throw new IllegalStateException("no miss at " + Long.toHexString(gva));
    }
    now.mode =
        (access & Translation.USER) != 0
            ? now.mode | ExitEvent.MODE_CPL
            : now.mode & ~ExitEvent.MODE_CPL;
    final ExitEvent event;
    if ((access & Translation.FETCH) != 0) {
      event = exit(ExitKind.PAGE_FAULT);
    } else {
      register(Gpr.RBX, gva);
      final boolean store = (access & Translation.WRITE) != 0;
      // MOV [rBX], rAX or MOV rAX, [rBX]
      if (mode == PagingMode.LEVEL4) {
        event = exit(ExitKind.PAGE_FAULT, 0x48, store ? 0x89 : 0x8B, 0x03);
        now.rip -= 3;
      } else {
        event = exit(ExitKind.PAGE_FAULT, store ? 0x89 : 0x8B, 0x03);
        now.rip -= 2;
      }
    }
    event.address = gva;
    event.errorCode = result.errorCode;
    event.write = (access & Translation.WRITE) != 0;
    event.detail = mmu.handleFault(gva, result.errorCode, fault);
    event.value = fault.gpa;
    event.walkCount = fault.walk.count;
    System.arraycopy(fault.walk.entryAddress, 0, event.walkAddress, 0, fault.walk.count);
    System.arraycopy(fault.walk.entryValue, 0, event.walkValue, 0, fault.walk.count);
    if (event.detail == ExitEvent.PF_REFLECTED) {
      final ExitEvent injection = exit(ExitKind.INJECT);
      injection.address = Vector.PF;
      injection.detail = ExitEvent.INJECT_EXCEPTION;
      injection.value = -1;
      injection.write = true;
      injection.errorCode = fault.errorCode;
    }
    return event;
  }

  /** A store of an entry to a shadowed table; the first fault on its page installs it. */
  public ExitEvent storeToTable(final long gva, final long gpa, final long value) {
    final int size = mode == PagingMode.BITS32 ? 4 : 8;
    final ExitEvent event = fault(gva, Translation.WRITE);
    if (event.detail != ExitEvent.PF_TABLE_WRITE) {
      throw new IllegalStateException("detail=" + event.detail);
    }
    entries.put(gpa, value);
    mmu.tableWritten(gpa, size, value);
    event.writeCount = 1;
    event.writeAddress[0] = gpa;
    event.writeSize[0] = size;
    event.writeValue[0] = value;
    return event;
  }

  /** MOV CR3, RAX. */
  public ExitEvent cr3(final long value) {
    now.cr3 = value;
    register(Gpr.RAX, value);
    mmu.setContext(now.cr0, now.cr3, now.cr4, now.efer);
    final ExitEvent event = exit(ExitKind.CR, 0x0F, 0x22, 0xD8);
    event.address = 3;
    event.value = value;
    event.size = 8;
    event.write = true;
    if (mode == PagingMode.PAE) {
      event.walkCount = PagingContext.PDPTES;
      for (int i = 0; i < PagingContext.PDPTES; i++) {
        event.walkAddress[i] = PagingContext.pdpteAddress(value, i);
        event.walkValue[i] = mmu.context().pdpte(i);
      }
    }
    return event;
  }

  /** MOV CR4, RAX. */
  public ExitEvent cr4(final long value) {
    now.cr4 = value;
    register(Gpr.RAX, value);
    mmu.setContext(now.cr0, now.cr3, now.cr4, now.efer);
    final ExitEvent event = exit(ExitKind.CR, 0x0F, 0x22, 0xE0);
    event.address = 4;
    event.value = value;
    event.size = 8;
    event.write = true;
    return event;
  }

  /** INVLPG [RDI]. */
  public ExitEvent invlpg(final long gva) {
    register(Gpr.RDI, gva);
    mmu.invalidatePage(gva);
    final ExitEvent event = exit(ExitKind.INVLPG, 0x0F, 0x01, 0x3F);
    event.address = gva;
    event.size = 8;
    return event;
  }

  /** WRMSR of EFER. */
  public ExitEvent wrmsrEfer(final long value) {
    register(Gpr.RCX, Msr.EFER & 0xFFFF_FFFFL);
    register(Gpr.RAX, value & 0xFFFF_FFFFL);
    register(Gpr.RDX, value >>> 32);
    final ExitEvent event = exit(ExitKind.MSR, 0x0F, 0x30);
    event.address = Msr.EFER & 0xFFFF_FFFFL;
    event.value = value;
    event.size = 8;
    event.write = true;
    now.efer = value & ~ControlRegisters.EFER_LMA | now.efer & ControlRegisters.EFER_LMA;
    mmu.setContext(now.cr0, now.cr3, now.cr4, now.efer);
    return event;
  }

  /** RDTSC. */
  public ExitEvent tsc(final long value) {
    final ExitEvent event = exit(ExitKind.TSC, 0x0F, 0x31);
    event.value = value;
    event.size = 8;
    return event;
  }

  /** CPUID. */
  public ExitEvent cpuid(final int leaf) {
    register(Gpr.RAX, leaf);
    register(Gpr.RCX, 0);
    final ExitEvent event = exit(ExitKind.CPUID, 0x0F, 0xA2);
    event.address = leaf;
    event.cpuid[0] = 0x16;
    event.cpuid[1] = 0x756E_6547;
    return event;
  }

  /** HLT. */
  public ExitEvent hlt() {
    final ExitEvent event = exit(ExitKind.HLT, 0xF4);
    event.detail = (now.rflags & Flags.IF) != 0 ? 1 : 0;
    return event;
  }

  public ExitEvent interrupt(final int vector) {
    final ExitEvent event = exit(ExitKind.INJECT);
    event.address = vector;
    event.value = 1500;
    event.detail = ExitEvent.INJECT_INTERRUPT;
    return event;
  }

  public boolean isShadowed(final long gpa) {
    return mmu.isShadowed(gpa >>> 12);
  }

  // ---- a whole run ----

  /** Boots, works, faults, halts: every kind of exit that a replay checks. */
  public static SyntheticGuest typical(final int rounds) {
    final SyntheticGuest guest = new SyntheticGuest();
    guest.map(CODE, TEXT_FRAME, RW);
    guest.map(0xFFFF_8880_0000_0000L, 0, RW | Pte.USER);
    guest.map(APIC, 0xFEE0_0000L, RW);
    guest.map(0x40_0000, 0x20_0000, Pte.PRESENT | Pte.USER);
    guest.fault(CODE, Translation.FETCH);
    guest.wrmsrEfer(EFER);
    guest.cpuid(1);
    // Local APIC: its timer.
    guest.fault(APIC + 0x320, Translation.WRITE);
    guest.mmioWrite(APIC + 0x320, 0xFEE0_0320L, 0x2_0000 | VECTOR);
    guest.work(rounds);
    guest.cr4(CR4 & ~ControlRegisters.CR4_PGE);
    guest.cr4(CR4);
    return guest;
  }

  /** Goes on. */
  public void work(final int rounds) {
    mmu.translate(APIC, Translation.WRITE, result);
    if (result.outcome == Translation.Result.MISS) {
      fault(APIC, Translation.WRITE);
    }
    for (final int end = round + rounds; round < end; round++) {
      out(0x3F8, 'a' + round % 26);
      in32(0x40, round);
      tsc(1_000_000L * round);
      final long page = 0x100_0000L + round * 4096L;
      map(page, 0x40_0000 + round % 64 * 4096L, RW | Pte.USER);
      fault(page, Translation.READ | Translation.USER);
      fault(page, Translation.WRITE | Translation.USER);
      fault(0x8000_0000L + round * 4096L, Translation.READ | Translation.USER);
      now.mode &= ~ExitEvent.MODE_CPL;
      // The guest edits a table that is shadowed.
      final long entry = entryAddress(page);
      final long window = 0xFFFF_8880_1000_0000L + round * 4096L;
      map(window, entry & -4096L, RW);
      storeToTable(window | entry & 0xFFF, entry, 0x70_0000L | RW | Pte.USER | Pte.ACCESSED);
      mmioModify(APIC + 0x80, 0xFEE0_0080L, 0x10, round);
      invlpg(page);
      interrupt(VECTOR);
      hlt();
    }
  }
}
