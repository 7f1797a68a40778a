package dev.vmexit.replay;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.VectorState;
import java.util.BitSet;

/**
 * The interrupt vectors that the guest has asked for, as seen in its accesses to the interrupt
 * controllers: an interrupt on any other vector cannot be right.
 *
 * <p>PIC: ICW2 sets eight vectors, OCW1 masks lines (8259A data sheet). IOAPIC: low halves of the
 * redirection table. Local APIC: LVT entries, ICR, spurious vector, by memory or as x2APIC MSRs
 * (SDM Vol. 3A, 10.5 and 10.12). A vector once given to an APIC stays: it may wait in the IRR.
 */
final class ProgrammedVectors {
  private static final int VECTORS = 256;

  private static final int PIC1_COMMAND = 0x20;
  private static final int PIC2_COMMAND = 0xA0;
  private static final int ICW1 = 0x10;
  private static final int ICW1_SINGLE = 1 << 1;
  private static final int ICW1_ICW4 = 1;
  private static final int SPURIOUS_LINE = 7;

  private static final long IOAPIC = 0xFEC0_0000L;
  private static final long IOAPIC_PAGE = ~0xFFFL;
  private static final int IOAPIC_SELECT = 0;
  private static final int IOAPIC_WINDOW = 0x10;
  private static final int IOAPIC_FIRST_ENTRY = 0x10;

  private static final long LOCAL_APIC = 0xFEE0_0000L;
  private static final int X2APIC = 0x800;

  /** Registers of the local APIC that hold a vector, divided by 16: also their x2APIC numbers. */
  private static final int SPURIOUS = 0x0F;

  private static final int CMCI = 0x2F;
  private static final int ICR = 0x30;
  private static final int LVT_TIMER = 0x32;
  private static final int LVT_ERROR = 0x37;

  private final Pic pic1 = new Pic();
  private final Pic pic2 = new Pic();
  private final BitSet apic = new BitSet(VECTORS);
  private int ioapicIndex;

  /** One 8259A, as far as vectors go. */
  private static final class Pic {
    private int base;
    private int mask;

    /** Next write to the data port is ICW2, 3 or 4; 0: OCW1. */
    private int step;

    private boolean single;
    private boolean wantsIcw4;

    void command(final int value) {
      if ((value & ICW1) != 0) {
        step = 2;
        single = (value & ICW1_SINGLE) != 0;
        wantsIcw4 = (value & ICW1_ICW4) != 0;
        mask = 0;
      }
    }

    void data(final int value) {
      switch (step) {
        case 2 -> {
          base = value & 0xF8;
          step = single ? afterIcw3() : 3;
        }
        case 3 -> step = afterIcw3();
        case 4 -> step = 0;
        default -> mask = value;
      }
    }

    private int afterIcw3() {
      return wantsIcw4 ? 4 : 0;
    }

    void restore(final byte[] state, final int at) {
      base = state[at + VectorState.PIC_BASE] & 0xFF;
      mask = state[at + VectorState.PIC_IMR] & 0xFF;
      step = state[at + VectorState.PIC_NEXT_ICW];
      final int flags = state[at + VectorState.PIC_FLAGS];
      single = (flags & VectorState.PIC_SINGLE) != 0;
      wantsIcw4 = (flags & VectorState.PIC_NEEDS_ICW4) != 0;
    }

    boolean gives(final int vector) {
      final int line = vector - base;
      return line >= 0 && line < 8 && ((mask >>> line & 1) == 0 || line == SPURIOUS_LINE);
    }
  }

  /** What a checkpoint's record says. */
  static ProgrammedVectors at(final ExitEvent checkpoint) {
    final ProgrammedVectors vectors = new ProgrammedVectors();
    final byte[] state = checkpoint.data;
    for (int vector = 0; vector < VECTORS; vector++) {
      vectors.apic.set(vector, VectorState.has(state, vector));
    }
    vectors.ioapicIndex = state[VectorState.IOAPIC_SELECT] & 0xFF;
    vectors.pic1.restore(state, VectorState.PIC);
    vectors.pic2.restore(state, VectorState.PIC + VectorState.PIC_LENGTH);
    return vectors;
  }

  /** Takes note of what a record programs. */
  void observe(final ExitEvent event) {
    if (!event.write) {
      return;
    }
    switch (event.kind) {
      case PIO -> port((int) event.address, (int) event.value);
      case MMIO -> memory(event.address, event.value);
      case MSR -> {
        final long number = event.address - X2APIC;
        if (event.detail == 0 && number >= 0 && number < 0x100) {
          localApic((int) number, event.value);
        }
      }
      default -> {}
    }
  }

  private void port(final int port, final int value) {
    switch (port) {
      case PIC1_COMMAND -> pic1.command(value & 0xFF);
      case PIC1_COMMAND + 1 -> pic1.data(value & 0xFF);
      case PIC2_COMMAND -> pic2.command(value & 0xFF);
      case PIC2_COMMAND + 1 -> pic2.data(value & 0xFF);
      default -> {}
    }
  }

  private void memory(final long gpa, final long value) {
    if ((gpa & IOAPIC_PAGE) == IOAPIC) {
      if ((gpa & 0xFF) == IOAPIC_SELECT) {
        ioapicIndex = (int) value & 0xFF;
      } else if ((gpa & 0xFF) == IOAPIC_WINDOW
          && ioapicIndex >= IOAPIC_FIRST_ENTRY
          && (ioapicIndex & 1) == 0) {
        apic.set((int) value & 0xFF);
      }
    } else if ((gpa & ~0xFFFL) == LOCAL_APIC && (gpa & 0xF) == 0) {
      localApic((int) (gpa & 0xFFF) >> 4, value);
    }
  }

  private void localApic(final int register, final long value) {
    if (register == SPURIOUS
        || register == CMCI
        || register == ICR
        || register >= LVT_TIMER && register <= LVT_ERROR) {
      apic.set((int) value & 0xFF);
    }
  }

  /** Whether the guest has asked for interrupts on a vector. */
  boolean contains(final int vector) {
    return apic.get(vector) || pic1.gives(vector) || pic2.gives(vector);
  }
}
