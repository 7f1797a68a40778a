package dev.vmexit.mmu;

/**
 * Guest linear to guest physical, as a vCPU's TLB asks for it on a miss. {@link ShadowMmu} answers
 * from shadow tables alone, {@link NestedMmu} by a walk of the guest's tables.
 */
public interface Translation {
  // Access bits.
  int READ = 0;
  int WRITE = 1;
  int FETCH = 2;

  /** Access at CPL 3 (implicit supervisor accesses to descriptor tables are not). */
  int USER = 4;

  /** EFLAGS.AC holds SMAP off for this supervisor access. */
  int SMAP_OVERRIDE = 8;

  /** Translates one linear address; fills {@code result}. Allocates nothing. */
  void translate(long gva, int access, Result result);

  /** What became of a translation: a reused flyweight. */
  final class Result {
    /** {@link #gpa} is backed by a slot; the permissions say what the TLB may keep. */
    public static final int OK = 0;

    /**
     * The guest's own tables forbid it: raise #PF with {@link #errorCode}. With shadow tables only
     * where a protection key does.
     */
    public static final int GUEST_FAULT = 1;

    /** No shadow entry (or it forbids the access): exit PAGE_FAULT with {@link #errorCode}. */
    public static final int MISS = 2;

    /** {@link #gpa} is in no slot, or a write hits a read-only one: MMIO. */
    public static final int NO_SLOT = 3;

    public int outcome;

    /** Given by the caller: PKRU where protection keys are in force, else 0. */
    public int pkru;

    /** Full guest-physical address, offset included. */
    public long gpa;

    public int errorCode;

    /** What this privilege may do with the page without asking again. */
    public boolean readable;

    public boolean writable;
    public boolean executable;

    /** Survives a CR3 write (CR4.PGE and G). */
    public boolean global;

    /** log2 of the size of the guest's page: 12, or more where INVLPG must drop more. */
    public int pageShift = 12;
  }
}
