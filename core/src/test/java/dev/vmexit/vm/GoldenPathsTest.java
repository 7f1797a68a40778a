package dev.vmexit.vm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.x86.Flags;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The three code paths of 2006, exit by exit: memory access, memory-mapped I/O, injection. */
final class GoldenPathsTest {
  private static final int EXITED = 1;

  /**
   * Each request is an MMIO store that must complete first, so the injection waits for a window; a
   * guest in HLT needs none.
   */
  private static final List<ExitKind> INJECTION_EXITS =
      List.of(
          ExitKind.IRQ_WINDOW,
          ExitKind.INJECT,
          ExitKind.IRQ_WINDOW,
          ExitKind.INJECT,
          ExitKind.IRQ_WINDOW,
          ExitKind.INJECT,
          ExitKind.IRQ_WINDOW,
          ExitKind.INJECT,
          ExitKind.HLT,
          ExitKind.INJECT,
          ExitKind.IRQ_WINDOW,
          ExitKind.INJECT,
          ExitKind.IRQ_WINDOW,
          ExitKind.INJECT);

  private static final Set<ExitKind> INJECTION_KINDS =
      Set.of(ExitKind.IRQ_WINDOW, ExitKind.INJECT, ExitKind.HLT);

  private static void assertExited(final RunResult result) {
    assertEquals(RunEnd.DEBUG_EXIT, result.end(), result::toString);
    assertEquals(EXITED, result.status());
  }

  private static void assertMemoryResults(final GoldenMachine machine) {
    assertEquals(0, machine.result(0));
    assertEquals(0, machine.result(1));
    assertEquals(GoldenGuests.STORED, machine.result(2));
    assertEquals(GoldenGuests.STORED, machine.result(3));
    assertEquals(GoldenGuests.STORED, machine.memory().read64(GoldenGuests.CROSSED - 4));
  }

  /** The first touch faults, is filled and restarted; the second one costs nothing. */
  @Test
  void shouldFaultOncePerFirstTouchWhenMmuIsShadow() {
    final GoldenGuests.MemoryGuest guest = GoldenGuests.memoryAccess();
    try (GoldenMachine machine = new GoldenMachine(guest.image(), VirtualMachine.MmuKind.SHADOW)) {
      assertExited(machine.run());
      assertMemoryResults(machine);
      final List<GoldenMachine.Exit> faults =
          machine.exits(ExitKind.PAGE_FAULT).stream()
              .filter(e -> e.address() >= GoldenGuests.READ_FIRST)
              .toList();
      final List<GoldenGuests.Touch> seen = new ArrayList<>();
      for (final GoldenMachine.Exit exit : faults) {
        assertEquals(ExitEvent.PF_FILLED, exit.detail());
        assertEquals(exit.address(), exit.value(), "identity mapping: gpa is gva");
        seen.add(new GoldenGuests.Touch(exit.address(), exit.write(), true, exit.rip()));
      }
      final List<GoldenGuests.Touch> expected =
          new ArrayList<>(guest.touches().stream().filter(GoldenGuests.Touch::firstTouch).toList());
      // The store across the boundary restarts after its first page is there, for its second.
      expected.add(
          new GoldenGuests.Touch(GoldenGuests.CROSSED, true, true, expected.getLast().rip()));
      assertEquals(expected, seen);
    }
  }

  @Test
  void shouldNotFaultWhenMmuIsNested() {
    final GoldenGuests.MemoryGuest guest = GoldenGuests.memoryAccess();
    try (GoldenMachine machine = new GoldenMachine(guest.image(), VirtualMachine.MmuKind.NESTED)) {
      assertExited(machine.run());
      assertMemoryResults(machine);
      assertEquals(
          List.of(ExitKind.PIO), machine.exits().stream().map(GoldenMachine.Exit::kind).toList());
    }
  }

  @ParameterizedTest
  @EnumSource(VirtualMachine.MmuKind.class)
  void shouldReachTheBusInOrderWhenInstructionsTouchMmio(final VirtualMachine.MmuKind mmu) {
    final GoldenGuests.MmioGuest guest = GoldenGuests.mmio();
    try (GoldenMachine machine = new GoldenMachine(guest.image(), mmu)) {
      assertExited(machine.run());
      assertEquals(guest.accesses(), machine.accesses());
      final List<GoldenGuests.Access> recorded = new ArrayList<>();
      for (final GoldenMachine.Exit exit : machine.exits(ExitKind.MMIO)) {
        recorded.add(
            new GoldenGuests.Access(
                exit.address(), exit.size(), exit.write(), exit.write() ? exit.value() : 0));
        if (!exit.write()) {
          assertEquals(GoldenGuests.answer(exit.address(), exit.size()), exit.value());
        }
      }
      assertEquals(guest.accesses(), recorded);
      for (int i = 0; i < 4; i++) {
        assertEquals(
            GoldenGuests.answer(GoldenGuests.MMIO + 0x10 + 8L * i, 1 << i), machine.result(i));
      }
      assertEquals(GoldenGuests.answer(GoldenGuests.MMIO + 0x90, 8), machine.result(4));
      assertEquals(GoldenGuests.answer(GoldenGuests.MMIO + 0xFFC, 8), machine.result(5));
      assertEquals(0, machine.result(6) & ~Flags.ARITHMETIC);
      for (int i = 0; i < 3; i++) {
        assertEquals(
            GoldenGuests.answer(GoldenGuests.MMIO + 0x100 + 4L * i, 4),
            machine.memory().read(GoldenGuests.STRING_BUFFER + 4L * i, 4));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(VirtualMachine.MmuKind.class)
  void shouldInjectWhereTheGuestCanTakeItWhenInterruptsAreHeldBack(
      final VirtualMachine.MmuKind mmu) {
    final GoldenGuests.InjectionGuest guest = GoldenGuests.injection();
    try (GoldenMachine machine = new GoldenMachine(guest.image(), mmu)) {
      assertExited(machine.run());
      final List<GoldenMachine.Exit> injected = machine.exits(ExitKind.INJECT);
      final int count = guest.arrivals().size();
      assertEquals(count, machine.result(0));
      assertEquals(count, injected.size(), () -> machine.exits().toString());
      for (int i = 0; i < count; i++) {
        final GoldenGuests.Arrival arrival = guest.arrivals().get(i);
        final GoldenMachine.Exit exit = injected.get(i);
        assertEquals(arrival.returnRip(), machine.result(1 + 2 * i), arrival.why());
        assertEquals(arrival.vector(), machine.result(2 + 2 * i), arrival.why());
        assertEquals(arrival.returnRip(), exit.rip(), arrival.why());
        assertEquals(arrival.vector(), exit.address(), arrival.why());
        assertEquals(ExitEvent.INJECT_INTERRUPT, exit.detail());
        assertTrue((exit.interruptState() & ExitEvent.INTERRUPT_IF) != 0, arrival.why());
        assertEquals(0, exit.interruptState() & ExitEvent.INTERRUPT_SHADOW, arrival.why());
      }
      assertEquals(
          INJECTION_EXITS,
          machine.exits().stream()
              .filter(e -> INJECTION_KINDS.contains(e.kind()))
              .map(GoldenMachine.Exit::kind)
              .toList());
      for (final GoldenMachine.Exit window : machine.exits(ExitKind.IRQ_WINDOW)) {
        final GoldenMachine.Exit next = machine.exits().get(machine.exits().indexOf(window) + 1);
        assertEquals(ExitKind.INJECT, next.kind(), "a window is used at once");
        assertEquals(window.rip(), next.rip());
      }
    }
  }
}
