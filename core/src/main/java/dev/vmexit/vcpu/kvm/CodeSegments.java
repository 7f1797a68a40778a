package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.x86.Seg;

/**
 * CS and SS, which tell the guest's mode, as {@code struct kvm_sregs} had them last: from one exit
 * to the next they seldom change, and three words of each are compared sooner than they are put
 * together. Belongs to the vCPU's thread.
 */
final class CodeSegments {
  private long csBase;
  private long csLimit;
  private long csRights;
  private long ssBase;
  private long ssLimit;
  private long ssRights;

  /** The state block has what is kept here. */
  private boolean known;

  /** Brings the state block's CS and SS up to date. */
  void load(final long sregs, final long state) {
    final long cs = sregs + KvmSregs.CS;
    final long ss = sregs + KvmSregs.SS;
    final long difference =
        csBase ^ HostMemory.getLong(cs)
            | csLimit ^ HostMemory.getLong(cs + 8)
            | csRights ^ HostMemory.getLong(cs + 16)
            | ssBase ^ HostMemory.getLong(ss)
            | ssLimit ^ HostMemory.getLong(ss + 8)
            | ssRights ^ HostMemory.getLong(ss + 16);
    if (difference == 0 && known) {
      return;
    }
    csBase = HostMemory.getLong(cs);
    csLimit = HostMemory.getLong(cs + 8);
    csRights = HostMemory.getLong(cs + 16);
    ssBase = HostMemory.getLong(ss);
    ssLimit = HostMemory.getLong(ss + 8);
    ssRights = HostMemory.getLong(ss + 16);
    KvmSregs.loadSegment(sregs, state, Seg.CS);
    KvmSregs.loadSegment(sregs, state, Seg.SS);
    known = true;
  }

  /** The state block's segments are somebody else's from here on. */
  void forget() {
    known = false;
  }
}
