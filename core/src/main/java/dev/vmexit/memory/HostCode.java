package dev.vmexit.memory;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * A few instructions of x86-64 that the JDK has no method for, as a function to call: in a page of
 * their own that is never writable and executable at once, and is never given back.
 */
@SuppressWarnings("restricted") // the flags file enables native access
public final class HostCode {
  private HostCode() {}

  /**
   * Makes a function of machine code, by the C library's calling convention.
   *
   * @param code position-independent, of one page at most; calls nothing and never blocks, as the
   *     thread's state stays what it is while it runs
   * @return to be kept in a static final field; null where this host runs no such code
   */
  public static MethodHandle function(final byte[] code, final FunctionDescriptor type) {
    final long page = address(code);
    // Critical: a change of the thread's state would cost as much as the code does.
    return page == 0
        ? null
        : Linker.nativeLinker()
            .downcallHandle(MemorySegment.ofAddress(page), type, Linker.Option.critical(false));
  }

  /**
   * Maps machine code that somebody else than Java calls, a signal's handler say.
   *
   * @param code position-independent, of one page at most
   * @return its address, for ever; 0 where this host runs no such code
   */
  public static long address(final byte[] code) {
    return HostMapping.executable(code);
  }
}
