package dev.vmexit.vcpu.soft.sse;

/**
 * State components of XSAVE and where they lie (SDM Vol. 1, 13.1 and 13.4). What the standard
 * format leaves to the processor is as on those with AVX and protection keys but no AVX-512:
 * CPUID's leaf 0DH tells it.
 *
 * <pre>
 *            standard   compacted
 *   x87,SSE     0          0        512
 *   header    512        512         64
 *   AVX       576        576        256   upper halves of YMM
 *   PKRU      832        behind       8   4 used
 * </pre>
 */
public final class XsaveLayout {
  /** Bits of XCR0. */
  public static final long X87 = 1;

  public static final long SSE = 1 << 1;
  public static final long AVX = 1 << 2;
  public static final long PKRU = 1 << 9;

  /** Numbers of components that have a leaf of their own. */
  public static final int AVX_NUMBER = 2;

  public static final int PKRU_NUMBER = 9;

  static final int LEGACY_SIZE = 512;
  static final int HEADER_SIZE = 64;
  static final int AVX_OFFSET = LEGACY_SIZE + HEADER_SIZE;

  private static final int AVX_SIZE = 256;
  private static final int PKRU_OFFSET = AVX_OFFSET + AVX_SIZE;
  private static final int PKRU_SIZE = 8;

  private XsaveLayout() {}

  /** Bytes of component 2 or 9. */
  public static int size(final int component) {
    return component == AVX_NUMBER ? AVX_SIZE : PKRU_SIZE;
  }

  /** Offset of component 2 or 9 in the standard format. */
  public static int offset(final int component) {
    return component == AVX_NUMBER ? AVX_OFFSET : PKRU_OFFSET;
  }

  /** Bytes of an area of the standard format that holds these components. */
  public static int standardSize(final long components) {
    return (components & PKRU) != 0
        ? PKRU_OFFSET + PKRU_SIZE
        : (components & AVX) != 0 ? PKRU_OFFSET : AVX_OFFSET;
  }

  /** Bytes of an area of the compacted format that holds these components. */
  public static int compactedSize(final long components) {
    return pkruOffset(components, true) + ((components & PKRU) != 0 ? PKRU_SIZE : 0);
  }

  /**
   * Where PKRU is in an area.
   *
   * @param components that the area has room for
   */
  static int pkruOffset(final long components, final boolean compacted) {
    return compacted && (components & AVX) == 0 ? AVX_OFFSET : PKRU_OFFSET;
  }
}
