package dev.vmexit.mmu;

import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.PageFaultError;
import dev.vmexit.x86.Pte;

/**
 * The registers that govern paging, and what follows from them: mode, access rights, error codes. A
 * reused flyweight; belongs to one vCPU.
 */
public final class PagingContext {
  /** MAXPHYADDR of the CPU model. */
  public static final int PHYSICAL_BITS = 40;

  /** Address bits of an entry. */
  public static final long ADDRESS_MASK = (1L << PHYSICAL_BITS) - 4096;

  /** PAE page-directory-pointer-table entries. */
  public static final int PDPTES = 4;

  // What a privilege may do with a page.
  public static final int MAY_READ = 1;
  public static final int MAY_WRITE = 1 << 1;
  public static final int MAY_FETCH = 1 << 2;
  public static final int MAY_ALL = MAY_READ | MAY_WRITE | MAY_FETCH;

  private static final long PDPTE_PRESENT = 1;

  /** Bits 2:1, 8:5 and those above the physical address (SDM Vol. 3A, table 4-8). */
  private static final long PDPTE_RESERVED = 0x1E6L | -(1L << PHYSICAL_BITS);

  private final long[] pdpte = new long[PDPTES];
  private final long[] loading = new long[PDPTES];

  private long cr0;
  private long cr3;
  private long cr4;
  private long efer;
  private PagingMode mode = PagingMode.NONE;
  private boolean wp;
  private boolean nxe;
  private boolean smep;
  private boolean smap;
  private boolean pse;
  private boolean pge;
  private boolean reportsFetch;

  /** Mode that a set of register values selects. */
  public static PagingMode modeOf(final long cr0, final long cr4, final long efer) {
    if ((cr0 & ControlRegisters.CR0_PG) == 0) {
      return PagingMode.NONE;
    }
    if ((cr4 & ControlRegisters.CR4_PAE) == 0) {
      return PagingMode.BITS32;
    }
    // With PG set, LME and LMA say the same.
    return (efer & ControlRegisters.EFER_LME) != 0 ? PagingMode.LEVEL4 : PagingMode.PAE;
  }

  /**
   * Takes new register values; with PAE paging the PDPTEs are read anew, as a MOV to CR3 does and
   * one to CR0 or CR4 may (SDM Vol. 3A, 4.4.1).
   *
   * @return false where a PDPTE has a reserved bit set: #GP(0), and nothing has changed
   */
  public boolean set(
      final long newCr0,
      final long newCr3,
      final long newCr4,
      final long newEfer,
      final TableMemory memory) {
    final PagingMode newMode = modeOf(newCr0, newCr4, newEfer);
    if (newMode == PagingMode.PAE) {
      for (int i = 0; i < PDPTES; i++) {
        final long gpa = pdpteAddress(newCr3, i);
        loading[i] = memory.isBacked(gpa) ? memory.read(gpa, 8) : -1L;
        if ((loading[i] & PDPTE_PRESENT) != 0 && (loading[i] & PDPTE_RESERVED) != 0) {
          return false;
        }
      }
      System.arraycopy(loading, 0, pdpte, 0, PDPTES);
    }
    cr0 = newCr0;
    cr3 = newCr3;
    cr4 = newCr4;
    efer = newEfer;
    mode = newMode;
    wp = (newCr0 & ControlRegisters.CR0_WP) != 0;
    final boolean wide = newMode == PagingMode.PAE || newMode == PagingMode.LEVEL4;
    nxe = wide && (newEfer & ControlRegisters.EFER_NXE) != 0;
    final boolean paging = newMode != PagingMode.NONE;
    smep = paging && (newCr4 & ControlRegisters.CR4_SMEP) != 0;
    smap = paging && (newCr4 & ControlRegisters.CR4_SMAP) != 0;
    pse = newMode == PagingMode.BITS32 && (newCr4 & ControlRegisters.CR4_PSE) != 0;
    pge = (newCr4 & ControlRegisters.CR4_PGE) != 0;
    reportsFetch = smep || nxe;
    return true;
  }

  /** Guest-physical address of a PDPTE, 0 to 3, under a CR3 value. */
  public static long pdpteAddress(final long cr3, final int index) {
    return (cr3 & 0xFFFF_FFE0L) + index * 8L;
  }

  /** A PDPTE as it was loaded last. */
  public long pdpte(final int index) {
    return pdpte[index];
  }

  public long cr0() {
    return cr0;
  }

  public long cr3() {
    return cr3;
  }

  public long cr4() {
    return cr4;
  }

  public long efer() {
    return efer;
  }

  public PagingMode mode() {
    return mode;
  }

  /** Supervisor stores respect read-only pages. */
  public boolean wp() {
    return wp;
  }

  /** Bit 63 of an entry forbids fetches; false where the mode has no such bit. */
  public boolean nxe() {
    return nxe;
  }

  /** Supervisor fetches from user pages fault. */
  public boolean smep() {
    return smep;
  }

  /** Supervisor data accesses to user pages fault. */
  public boolean smap() {
    return smap;
  }

  /** 32-bit paging knows 4 MiB pages. */
  public boolean pse() {
    return pse;
  }

  /** Global pages survive a MOV to CR3. */
  public boolean pge() {
    return pge;
  }

  /** Guest-physical address of the top table; of the PDPTEs with PAE. */
  public long tableBase() {
    return switch (mode) {
      case NONE -> 0;
      case BITS32 -> cr3 & 0xFFFF_F000L;
      case PAE -> cr3 & 0xFFFF_FFE0L;
      case LEVEL4 -> cr3 & ADDRESS_MASK;
    };
  }

  /**
   * What the privilege of an access may do with a page (SDM Vol. 3A, 4.6.1).
   *
   * @param access bits of {@link Translation}; those of the kind of access do not matter
   * @param writable R/W is set in all entries of the walk
   * @param user U/S is set in all
   * @param noExecute XD is set in any
   * @return MAY_* bits
   */
  public int rights(
      final int access, final boolean writable, final boolean user, final boolean noExecute) {
    if ((access & Translation.USER) != 0) {
      if (!user) {
        return 0;
      }
      return MAY_READ | (writable ? MAY_WRITE : 0) | (noExecute ? 0 : MAY_FETCH);
    }
    int rights = 0;
    if (!(user && smap && (access & Translation.SMAP_OVERRIDE) == 0)) {
      rights = writable || !wp ? MAY_READ | MAY_WRITE : MAY_READ;
    }
    if (!noExecute && !(user && smep)) {
      rights |= MAY_FETCH;
    }
    return rights;
  }

  /**
   * What of these rights to a user page its protection key leaves (SDM Vol. 3A, 4.6.2).
   *
   * @param entry that maps the page, with the key
   * @param pkru 0 where keys are not in force
   */
  public int keyRights(final int rights, final int access, final long entry, final int pkru) {
    final int key = (int) (entry >>> Pte.PROTECTION_KEY_SHIFT) & 15;
    final int denied = pkru >>> 2 * key & 3;
    if ((denied & 1) != 0) {
      return rights & MAY_FETCH;
    }
    return (denied & 2) != 0 && (wp || (access & Translation.USER) != 0)
        ? rights & ~MAY_WRITE
        : rights;
  }

  /** The right that an access needs: one MAY_* bit. */
  public static int needed(final int access) {
    if ((access & Translation.FETCH) != 0) {
      return MAY_FETCH;
    }
    return (access & Translation.WRITE) != 0 ? MAY_WRITE : MAY_READ;
  }

  /** Error code of a fault by this access; PRESENT and RESERVED are the caller's to add. */
  public int errorCode(final int access) {
    int code = 0;
    if ((access & Translation.WRITE) != 0) {
      code |= PageFaultError.WRITE;
    }
    if ((access & Translation.USER) != 0) {
      code |= PageFaultError.USER;
    }
    if ((access & Translation.FETCH) != 0 && reportsFetch) {
      code |= PageFaultError.FETCH;
    }
    return code;
  }
}
