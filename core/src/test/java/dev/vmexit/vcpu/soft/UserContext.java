package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.Gpr;
import java.util.Arrays;

/**
 * What a program at CPL 3 can see of its processor, before and after an instruction: the common
 * language of {@link HostUser} and {@link SoftUser}, which run the same bytes on it.
 *
 * <p>All code and data lie in one stretch of 64 KiB, at the same linear addresses on both, so that
 * 16-bit segments with its start for their base reach all of it:
 *
 * <pre>
 *   0x5000  code            one page; the next one is absent
 *   0x8000  data and stack  two pages; those before and behind are absent
 * </pre>
 */
final class UserContext {
  static final int CODE = 0x5000;
  static final int DATA = 0x8000;
  static final int DATA_END = 0xA000;
  static final int PAGE = 4096;

  /** Bytes of the data that a case fills and compares. */
  static final int WINDOW = 256;

  // Selectors of Linux's GDT for programs, and of the LDT below.
  static final int CODE32 = 0x23;
  static final int DATA32 = 0x2B;
  static final int CODE64 = 0x33;
  static final int CODE16 = 7;
  static final int DATA16 = 0xF;

  /**
   * The LDT: limit (bytes, or pages with bit 0 of the last), contents (0 data, 1 expand-down data,
   * 2 code, 3 conforming code), and bits: 1 limit in pages, 2 32-bit, 4 read-only or execute-only,
   * 8 not present. The base is the stretch's.
   */
  static final int[][] LDT = {
    {0xFFFF, 2, 0},
    {0xFFFF, 0, 0},
    {0x9FFF, 0, 0},
    {0x8FFF, 1, 2},
    {0x8FFF, 1, 0},
    {0x9FFF, 0, 4},
    {0x9FFF, 0, 8},
    {0xFFFF, 2, 4},
    {0xFFFF, 3, 8},
    {0xFFFF, 2, 2},
    {9, 0, 3},
  };

  static final int LDT_PAGES = 1;
  static final int LDT_32 = 2;
  static final int LDT_READ_ONLY = 4;
  static final int LDT_ABSENT = 8;

  int codeSize = 8;
  byte[] code = {};

  /** Offset of the code in the stretch. */
  int codeOffset = CODE + 0x800;

  final long[] gprs = new long[Gpr.COUNT];

  /** In: all that user code may set. Out: as the fault's frame or PUSHF has it. */
  long flags;

  final byte[] fx = new byte[HostProcessor.FX_SIZE];
  final byte[] high = new byte[HostProcessor.HIGH_SIZE];
  int ds;
  int es;
  int ss;

  /** Offset of the window in the stretch. */
  int windowOffset = DATA;

  final byte[] memory = new byte[WINDOW];

  // What came of it.

  /** Exception, or -1 where the code came to its end. */
  int vector;

  long errorCode;

  /** Of the fault, relative to the code. */
  long rip;

  /** CR2 of a page fault. */
  long address;

  void copyFrom(final UserContext other) {
    codeSize = other.codeSize;
    code = other.code;
    codeOffset = other.codeOffset;
    System.arraycopy(other.gprs, 0, gprs, 0, gprs.length);
    flags = other.flags;
    System.arraycopy(other.fx, 0, fx, 0, fx.length);
    System.arraycopy(other.high, 0, high, 0, high.length);
    ds = other.ds;
    es = other.es;
    ss = other.ss;
    windowOffset = other.windowOffset;
    System.arraycopy(other.memory, 0, memory, 0, memory.length);
    vector = other.vector;
    errorCode = other.errorCode;
    rip = other.rip;
    address = other.address;
  }

  /** Selector of the code segment that {@link #codeSize} means. */
  int codeSelector() {
    return codeSize == 8 ? CODE64 : codeSize == 4 ? CODE32 : CODE16;
  }

  /** The x87 and SSE state that a program starts with. */
  void cleanFpu() {
    Arrays.fill(fx, (byte) 0);
    FloatValues.put(fx, 0, 2, 0x37F);
    FloatValues.put(fx, 24, 4, 0x1F80);
    Arrays.fill(high, (byte) 0);
  }
}
