package dev.vmexit.vcpu.kvm;

import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.DX;
import static dev.vmexit.x86.encode.Register.EAX;
import static dev.vmexit.x86.encode.Register.EBX;
import static dev.vmexit.x86.encode.Register.ECX;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.KernelEvent;
import dev.vmexit.vcpu.KernelEvents;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Events of this host's own KVM, by tracefs and perf_event_open. */
@Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
final class KernelTraceTest {
  private static final int PORT = 0x80;

  /** More than the ring has room for. */
  private static final int ROUNDS = 100_000;

  private static final int SMALL_RING = 4096;

  @BeforeAll
  static void needsKvmAndTracefs() {
    Kvm.assume();
    KernelTracepoints.missing()
        .ifPresent(why -> Assumptions.abort("SKIPPED, not tested on this host: " + why));
  }

  /** What is kept of an event. */
  private record Told(
      KernelEvent event,
      long time,
      long rip,
      long address,
      long value,
      boolean write,
      byte[] code) {
    static Told of(final ExitEvent e) {
      return new Told(
          KernelEvent.of(e.detail).orElseThrow(),
          e.hostTime,
          e.rip,
          e.address,
          e.value,
          e.write,
          Arrays.copyOf(e.instruction, e.instructionLength));
    }
  }

  private static List<Told> take(final KernelEvents events) {
    final List<Told> all = new ArrayList<>();
    final ExitEvent event = new ExitEvent();
    while (events.hasNext()) {
      event.clearPayload();
      events.next(event);
      all.add(Told.of(event));
    }
    assertFalse(events.hasNext(), "none comes while the thread is outside");
    return all;
  }

  private static BareKvm guest(final Consumer<Assembler> code, final int ringBytes) {
    final BareKvm guest = new BareKvm(BootEntry.Mode.LONG64, code);
    guest.vcpu.traceKernel(new KernelTrace(KernelTracepoints.read(), ringBytes));
    return guest;
  }

  private static List<Told> of(final KernelEvent kind, final List<Told> all) {
    return all.stream().filter(told -> told.event == kind).toList();
  }

  @Test
  void shouldTellOfThePortAccessBeforeItsExit() {
    try (BareKvm guest =
        guest(
            a -> {
              a.mov(EAX, 0x5A);
              a.out(PORT, AL);
              a.mov(DX, PORT + 1);
              a.in(AL, DX);
              a.hlt();
            },
            KernelTrace.RING_BYTES)) {
      final KernelEvents events = guest.vcpu.kernelEvents();
      assertFalse(events.hasNext());
      final long before = System.nanoTime();
      assertEquals(VcpuExit.PIO, guest.vcpu.enter(Long.MAX_VALUE));
      final List<Told> first = take(events);
      final List<Told> accesses = of(KernelEvent.PIO, first);
      assertEquals(1, accesses.size(), first::toString);
      assertEquals(PORT, accesses.getFirst().address);
      assertEquals(0x5A, accesses.getFirst().value);
      assertTrue(accesses.getFirst().write);
      long time = before;
      for (final Told told : first) {
        assertTrue(told.time >= time, "in the order of time, by the clock of System.nanoTime");
        time = told.time;
      }
      assertTrue(time <= System.nanoTime());
      assertEquals(VcpuExit.PIO, guest.vcpu.enter(Long.MAX_VALUE));
      assertEquals(VcpuExit.HLT, guest.vcpu.enter(Long.MAX_VALUE));
      final List<Told> read = of(KernelEvent.PIO, take(events));
      assertEquals(PORT + 1, read.getFirst().address);
      assertFalse(read.getFirst().write);
      assertEquals(0, events.lost());
    }
  }

  @Test
  void shouldTellEachInstructionThatIsEmulated() {
    try (BareKvm guest =
        guest(
            a -> {
              a.mov(EBX, 0x1234_5678);
              a.hlt();
            },
            KernelTrace.RING_BYTES)) {
      assertEquals(VcpuExit.HLT, guest.vcpu.enter(Long.MAX_VALUE));
      final List<Told> emulated = of(KernelEvent.EMULATE_INSN, take(guest.vcpu.kernelEvents()));
      Assumptions.assumeFalse(
          emulated.isEmpty(), "SKIPPED: this KVM lets the processor execute its guests");
      assertEquals(BareKvm.ADDRESS, emulated.getFirst().rip);
      assertArrayEquals(new byte[] {(byte) 0xBB, 0x78, 0x56, 0x34, 0x12}, emulated.getFirst().code);
      assertEquals(BareKvm.ADDRESS + 5, emulated.get(1).rip);
      assertArrayEquals(new byte[] {(byte) 0xF4}, emulated.get(1).code);
    }
  }

  private static void count(final Assembler a) {
    a.mov(ECX, ROUNDS);
    final Label again = a.here();
    a.dec(ECX);
    a.jcc(Condition.NE, again);
    a.out(PORT, AL);
    a.hlt();
  }

  /** The vCPU is called out in time; where the host was too busy for that, the loss is told. */
  @Test
  void shouldLoseNothingSilentlyWhenTheGuestMakesNoExit() {
    try (BareKvm guest = guest(KernelTraceTest::count, 1 << 20)) {
      final KernelEvents events = guest.vcpu.kernelEvents();
      long emulated = 0;
      long lost = 0;
      int reason;
      int limits = -1;
      do {
        reason = guest.vcpu.enter(Long.MAX_VALUE);
        limits++;
        final List<Told> told = take(events);
        emulated += of(KernelEvent.EMULATE_INSN, told).size();
        lost += of(KernelEvent.LOST, told).stream().mapToLong(Told::value).sum();
      } while (reason == VcpuExit.LIMIT);
      assertEquals(VcpuExit.PIO, reason);
      Assumptions.assumeTrue(
          emulated > 0, "SKIPPED: this KVM lets the processor execute its guests");
      assertTrue(limits > 0, "called out");
      final long all = lost + events.untold();
      assertEquals(all, events.lost());
      assertTrue(all > 0 || emulated == 2L * ROUNDS + 2, "emulated: " + emulated);
    }
  }

  @Test
  void shouldSayHowManyWereLostWhenTheRingIsTooSmall() {
    try (BareKvm guest = guest(KernelTraceTest::count, SMALL_RING)) {
      final KernelEvents events = guest.vcpu.kernelEvents();
      long lost = 0;
      long emulated = 0;
      int reason;
      do {
        reason = guest.vcpu.enter(Long.MAX_VALUE);
        final List<Told> told = take(events);
        lost += of(KernelEvent.LOST, told).stream().mapToLong(Told::value).sum();
        emulated += of(KernelEvent.EMULATE_INSN, told).size();
      } while (reason != VcpuExit.HLT);
      Assumptions.assumeTrue(
          emulated > 0, "SKIPPED: this KVM lets the processor execute its guests");
      assertTrue(lost > 0 && emulated < 2L * ROUNDS, "lost: " + lost + ", had: " + emulated);
      assertEquals(lost + events.untold(), events.lost());
    }
  }

  @Test
  void shouldKeepNothingOpenWhenItIsClosed() throws IOException {
    final KernelTracepoints tracepoints = KernelTracepoints.read();
    long descriptors = 0;
    for (int i = 0; i < 3; i++) {
      try (BareKvm guest = new BareKvm(BootEntry.Mode.LONG64, a -> a.hlt())) {
        guest.vcpu.traceKernel(tracepoints);
        assertEquals(VcpuExit.HLT, guest.vcpu.enter(Long.MAX_VALUE));
      }
      if (i == 0) {
        descriptors = count();
      }
    }
    assertEquals(descriptors, count());
  }

  private static long count() throws IOException {
    try (Stream<Path> open = Files.list(Path.of("/proc/self/fd"))) {
      return open.count();
    }
  }
}
