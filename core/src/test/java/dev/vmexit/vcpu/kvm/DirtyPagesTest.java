package dev.vmexit.vcpu.kvm;

import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.CL;
import static dev.vmexit.x86.encode.Register.ECX;
import static dev.vmexit.x86.encode.Register.EDI;
import static dev.vmexit.x86.encode.Register.RDI;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Which pages a guest has written: by KVM's dirty log, and by its dirty ring. */
@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
final class DirtyPagesTest {
  private static final int DATA = 0x20_0000;
  private static final int PAGE = 0x1000;
  private static final int RING = 1024;

  @BeforeAll
  static void needsKvm() {
    Kvm.assume();
  }

  /**
   * Writes to every second page of some, halts, writes to the first one again, halts. After each 32
   * pages it leaves the guest, as KVM in software looks seldom how full a ring is.
   */
  private static void guest(final Assembler a, final int pages) {
    a.mov(EDI, DATA);
    a.mov(ECX, pages / 2);
    final Label again = a.here();
    a.mov(Memory.at(RDI), ECX);
    a.add(EDI, 2 * PAGE);
    a.test(CL, 31);
    final Label on = a.label("on");
    a.jcc(Condition.NE, on);
    a.out(0x80, AL);
    a.bind(on);
    a.dec(ECX);
    a.jcc(Condition.NE, again);
    a.hlt();
    a.mov(EDI, DATA);
    a.mov(Memory.at(RDI), ECX);
    a.hlt();
  }

  private static void toHalt(final BareKvm guest) {
    int reason;
    do {
      reason = guest.vcpu.enter(Long.MAX_VALUE);
    } while (reason == VcpuExit.LIMIT || reason == VcpuExit.PIO);
    assertEquals(VcpuExit.HLT, reason, guest.vcpu::failure);
  }

  private static List<Long> expected(final int pages) {
    final List<Long> gfns = new ArrayList<>();
    for (long page = 0; page < pages; page += 2) {
      gfns.add(DATA / PAGE + page);
    }
    return gfns;
  }

  private static List<Long> dirty(final BareKvm guest) {
    final TreeSet<Long> gfns = new TreeSet<>();
    guest.memory.forEachDirty(gfns::add);
    return List.copyOf(gfns.tailSet((long) DATA / PAGE));
  }

  @Test
  void shouldTellByTheLogWhatWasWrittenSinceTheLastTime() {
    final int pages = 64;
    try (BareKvm guest =
        new BareKvm(
            BootEntry.Mode.LONG64,
            a -> guest(a, pages),
            (vm, memory) -> vm.setMemory(memory, true))) {
      final int slot = guest.memory.slots().size() - 1;
      final long first = guest.memory.slots().get(slot).gpa() / PAGE;
      final long count = guest.memory.slots().get(slot).bytes() / PAGE;
      toHalt(guest);
      final List<Long> seen = new ArrayList<>();
      final long[] bits = guest.vm.dirtyLog(slot, count);
      for (int i = 0; i < count; i++) {
        if ((bits[i / 64] >> i % 64 & 1) != 0 && first + i >= DATA / PAGE) {
          seen.add(first + i);
        }
      }
      assertEquals(expected(pages), seen);
      toHalt(guest);
      final int again = (int) (DATA / PAGE - first);
      final long[] later = guest.vm.dirtyLog(slot, count);
      assertEquals(1L << again % 64, later[again / 64], "that page alone");
    }
  }

  private static BareKvm withRing(final int pages) {
    return new BareKvm(
        BootEntry.Mode.LONG64,
        a -> guest(a, pages),
        (vm, memory) -> {
          vm.useDirtyRings(RING);
          memory.startDirtyLog();
          vm.setMemory(memory, true);
        });
  }

  @Test
  void shouldTellByTheRingWhatWasWrittenSinceTheLastTime() {
    final int pages = 64;
    try (BareKvm guest = withRing(pages)) {
      toHalt(guest);
      assertTrue(guest.vcpu.harvestDirtyRing() >= pages / 2);
      assertEquals(expected(pages), dirty(guest));
      assertEquals(0, guest.vcpu.harvestDirtyRing(), "nothing new");
      toHalt(guest);
      guest.vcpu.harvestDirtyRing();
      assertEquals(List.of((long) DATA / PAGE), dirty(guest), "that page alone");
    }
  }

  /** KVM leaves the guest when the ring is full; nothing is lost, and the ring begins anew. */
  @Test
  void shouldLoseNothingWhenTheRingIsFull() {
    final int pages = 2 * RING + 200;
    try (BareKvm guest = withRing(pages)) {
      toHalt(guest);
      guest.vcpu.harvestDirtyRing();
      assertEquals(expected(pages), dirty(guest));
    }
  }

  @Test
  void shouldSayHowLongARingMayBe() {
    final String message =
        assertThrows(
                KvmUnavailableException.class,
                () ->
                    new BareKvm(
                            BootEntry.Mode.LONG64,
                            Assembler::hlt,
                            (vm, memory) -> vm.useDirtyRings(1 << 26))
                        .close())
            .getMessage();
    assertTrue(message.contains("67108864 entries") && message.contains("at most"), message);
  }
}
