package dev.vmexit.vcpu.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.Seg;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class CodeSegmentsTest {
  private final long sregs = HostMemory.allocate(KvmSregs.SIZE);
  private final long state = HostMemory.allocate(StateLayout.SIZE);
  private final long fresh = HostMemory.allocate(StateLayout.SIZE);
  private final CodeSegments segments = new CodeSegments();

  @AfterEach
  void close() {
    HostMemory.free(sregs);
    HostMemory.free(state);
    HostMemory.free(fresh);
  }

  private void check(final String what) {
    segments.load(sregs, state);
    for (final int segment : new int[] {Seg.CS, Seg.SS}) {
      KvmSregs.loadSegment(sregs, fresh, segment);
      final long at = StateLayout.segment(segment);
      for (final int field :
          new int[] {StateLayout.SEG_BASE, StateLayout.SEG_LIMIT, StateLayout.SEG_RIGHTS}) {
        assertEquals(
            HostMemory.getInt(fresh + at + field),
            HostMemory.getInt(state + at + field),
            what + " segment=" + segment + " field=" + field);
      }
      assertEquals(
          HostMemory.getInt(fresh + at + StateLayout.SEG_SELECTOR),
          HostMemory.getInt(state + at + StateLayout.SEG_SELECTOR),
          what);
    }
  }

  /** Whatever changes from one exit to the next, a byte's lowest bit, is seen. */
  @ParameterizedTest
  @ValueSource(ints = {KvmSregs.CS, KvmSregs.SS})
  void shouldSeeEachByteThatChanges(final int segment) {
    check("at first");
    for (int i = 0; i <= KvmSregs.SEGMENT_UNUSABLE; i++) {
      final int was = HostMemory.getByte(sregs + segment + i);
      HostMemory.putByte(sregs + segment + i, was ^ 1);
      check("changed byte " + i);
      HostMemory.putByte(sregs + segment + i, was);
      check("again byte " + i);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {Seg.CS, Seg.SS})
  void shouldPutBackWhatSomebodyElseHasChanged(final int segment) {
    check("at first");
    HostMemory.putInt(state + StateLayout.segment(segment) + StateLayout.SEG_RIGHTS, 0x409B);
    segments.forget();
    check("after the interpreter");
  }
}
