package dev.vmexit.vm;

import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.AX;
import static dev.vmexit.x86.encode.Register.EAX;
import static dev.vmexit.x86.encode.Register.EBX;
import static dev.vmexit.x86.encode.Register.EDI;
import static dev.vmexit.x86.encode.Register.EDX;
import static dev.vmexit.x86.encode.Register.RAX;
import static dev.vmexit.x86.encode.Register.RBX;
import static dev.vmexit.x86.encode.Register.RDI;
import static dev.vmexit.x86.encode.Register.RDX;
import static dev.vmexit.x86.encode.Register.RSP;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.boot.BuiltInGuest;
import dev.vmexit.boot.FlatLoader;
import dev.vmexit.boot.ImageFile;
import dev.vmexit.device.ByteSink;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitSink;
import dev.vmexit.exit.NullExitSink;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.vcpu.kvm.Kvm;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.agrona.concurrent.SystemNanoClock;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The golden guests and the built-in one on the host's KVM, beside the software vCPU. */
@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
final class KvmPathsTest {
  private static final int VECTOR = 0x40;
  private static final long IDT = 0x17_0000;
  private static final long STACK = 0x16_F000;

  @BeforeAll
  static void needsKvm() {
    Kvm.assume();
  }

  private static void assertExited(final RunResult result) {
    assertEquals(RunEnd.DEBUG_EXIT, result.end(), result::toString);
    assertEquals(1, result.status());
  }

  /** What both vCPUs see: neither counts, nor the state of interrupts between instructions. */
  static List<String> comparable(final GoldenMachine machine) {
    return machine.exits().stream()
        .filter(e -> e.kind() != ExitKind.DEBUG && e.kind() != ExitKind.IRQ_WINDOW)
        .map(
            e ->
                e.kind()
                    + " "
                    + Long.toHexString(e.rip())
                    + " "
                    + Long.toHexString(e.address())
                    + " "
                    + Long.toHexString(e.value())
                    + " "
                    + e.size()
                    + " "
                    + e.write()
                    + " "
                    + e.instruction())
        .toList();
  }

  @Test
  void shouldRunTheMemoryGuestWithNoOtherExitThanItsLast() {
    try (GoldenMachine machine = GoldenMachine.onKvm(GoldenGuests.memoryAccess().image())) {
      assertExited(machine.run());
      assertEquals(0, machine.result(0));
      assertEquals(0, machine.result(1));
      assertEquals(GoldenGuests.STORED, machine.result(2));
      assertEquals(GoldenGuests.STORED, machine.result(3));
      assertEquals(
          List.of(ExitKind.PIO),
          machine.exits().stream()
              .map(GoldenMachine.Exit::kind)
              .filter(kind -> kind != ExitKind.DEBUG)
              .toList());
    }
  }

  @Test
  void shouldMakeTheExitsOfTheSoftwareVcpuWhenInstructionsTouchMmio() {
    final GoldenGuests.MmioGuest guest = GoldenGuests.mmio();
    try (GoldenMachine kvm = GoldenMachine.onKvm(guest.image());
        GoldenMachine soft = new GoldenMachine(guest.image(), VirtualMachine.MmuKind.NESTED)) {
      assertExited(kvm.run());
      assertExited(soft.run());
      assertEquals(guest.accesses(), kvm.accesses());
      assertEquals(comparable(soft), comparable(kvm));
      for (int i = 0; i < 7; i++) {
        assertEquals(soft.result(i), kvm.result(i), "result " + i);
      }
    }
  }

  /** Asks for an interrupt that IF holds back, then waits for it in a loop. */
  private static byte[] waitingGuest() {
    final Assembler a = new Assembler(8, GoldenGuests.ADDRESS);
    final Label handler = a.label("handler");
    final Label idtPointer = a.label("idtPointer");
    a.mov(RSP, STACK);
    a.mov(EDI, IDT + 16 * VECTOR);
    a.mov(EAX, handler);
    a.mov(Memory.at(RDI), AX);
    a.shr(EAX, 16);
    a.mov(Memory.at(RDI, 6), AX);
    a.mov(Memory.at(RDI, 2).asWord(), 0x10);
    a.mov(Memory.at(RDI, 4).asWord(), 0x8E00);
    a.mov(Memory.at(RDI, 8).asQword(), 0);
    a.lidt(Memory.rip(idtPointer));
    a.mov(EBX, 0xFEE0_0000L);
    a.mov(EDX, GoldenGuests.RESULTS);
    a.mov(Memory.at(RBX, 0xF0).asDword(), 0x1FF);
    for (int i = 1; i <= 3; i++) {
      a.cli();
      a.mov(Memory.at(RBX, 0x300).asDword(), 0x4_4000 | VECTOR);
      a.nop();
      a.mov(RAX, Memory.at(RDX));
      a.mov(Memory.at(RDX, 8L * i), RAX);
      a.sti();
      final Label wait = a.here();
      a.mov(RAX, Memory.at(RDX));
      a.cmp(EAX, i);
      a.jcc(Condition.NE, wait);
    }
    a.xor(EAX, EAX);
    a.out(GoldenGuests.EXIT_PORT, AL);
    final Label rest = a.here();
    a.cli();
    a.hlt();
    a.jmp(rest);
    a.bind(handler);
    a.inc(Memory.at(RDX).asQword());
    a.mov(Memory.at(RBX, 0xB0).asDword(), 0);
    a.iretq();
    a.align(8, 0);
    a.bind(idtPointer);
    a.dw(0xFFF);
    a.dq(IDT);
    return a.assemble();
  }

  /** When exactly is KVM's affair: its software flavour looks after some hundred instructions. */
  @Test
  void shouldInjectThroughAWindowWhenInterruptsAreHeldBack() {
    try (GoldenMachine machine = GoldenMachine.onKvm(waitingGuest())) {
      assertExited(machine.run());
      assertEquals(3, machine.result(0));
      for (int i = 1; i <= 3; i++) {
        assertEquals(i - 1, machine.result(i), "not before IF is set");
      }
      final List<GoldenMachine.Exit> injected = machine.exits(ExitKind.INJECT);
      assertEquals(3, injected.size());
      assertEquals(3, machine.exits(ExitKind.IRQ_WINDOW).size());
      for (final GoldenMachine.Exit exit : injected) {
        assertEquals(VECTOR, exit.address());
        assertTrue((exit.interruptState() & ExitEvent.INTERRUPT_IF) != 0);
        assertTrue(exit.value() > 0, "time from request to injection");
        final int at = machine.exits().indexOf(exit);
        assertEquals(ExitKind.IRQ_WINDOW, machine.exits().get(at - 1).kind());
        assertEquals(exit.rip(), machine.exits().get(at - 1).rip());
      }
    }
  }

  @Test
  void shouldRunTheBuiltInGuestToItsEnd() {
    final StringBuilder console = new StringBuilder();
    try (GuestMemory memory = GuestMemory.builder().ramWithHole(BuiltInGuest.MEMORY_SIZE).build();
        VirtualMachine machine =
            machine(memory, VirtualMachine.ClockKind.HOST, b -> console.append((char) b))) {
      final RunResult result = machine.run();
      assertEquals(RunEnd.POWER_OFF, result.end(), () -> console + "\n" + machine.lastExits());
      final List<String> lines = console.toString().lines().toList();
      assertTrue(lines.contains("all checks passed"), console::toString);
      assertTrue(lines.contains("timer: 5 ticks"), console::toString);
      assertTrue(lines.contains("CRC-32 of 16 KiB: 8802f2b1"), console::toString);
    }
  }

  /** All but the processor's name, whose twelve letters are the host's. */
  @Test
  void shouldMakeThePortAccessesOfTheSoftwareVcpuInTheBuiltInGuest() {
    final List<String> soft = portsOfBuiltInGuest(VirtualMachine.Backend.SOFT);
    final List<String> kvm = portsOfBuiltInGuest(VirtualMachine.Backend.KVM);
    assertEquals(soft.size(), kvm.size());
    int letters = 0;
    for (int i = 0; i < soft.size(); i++) {
      if (!soft.get(i).equals(kvm.get(i))) {
        letters++;
        assertTrue(soft.get(i).startsWith("out 3f8 1 ") && kvm.get(i).startsWith("out 3f8 1 "));
      }
    }
    assertTrue(soft.size() > 600, () -> "accesses: " + soft.size());
    assertTrue(letters <= 12, "letters that differ: " + letters);
  }

  private static List<String> portsOfBuiltInGuest(final VirtualMachine.Backend backend) {
    final List<String> accesses = new ArrayList<>();
    final ExitSink sink =
        new ExitSink() {
          @Override
          public boolean wants(final ExitKind kind) {
            return kind == ExitKind.PIO;
          }

          @Override
          public void write(final ExitEvent e) {
            accesses.add(
                String.format(
                    Locale.ROOT,
                    "%s %x %d %x at %x",
                    e.write ? "out" : "in",
                    e.address,
                    e.size,
                    e.value,
                    e.rip));
          }

          @Override
          public void close() {}
        };
    try (GuestMemory memory = GuestMemory.builder().ramWithHole(BuiltInGuest.MEMORY_SIZE).build();
        VirtualMachine machine =
            machine(backend, memory, VirtualMachine.ClockKind.HOST, b -> {}, sink)) {
      assertEquals(RunEnd.POWER_OFF, machine.run().end(), machine.lastExits()::toString);
    }
    return accesses;
  }

  @Test
  void shouldRefuseTheVirtualClock() {
    try (GuestMemory memory = GuestMemory.builder().ramWithHole(BuiltInGuest.MEMORY_SIZE).build()) {
      final String message =
          assertThrows(
                  IllegalArgumentException.class,
                  () -> machine(memory, VirtualMachine.ClockKind.VIRTUAL, b -> {}).close())
              .getMessage();
      assertTrue(message.contains("VIRTUAL") && message.contains("HOST"), message);
    }
  }

  private static VirtualMachine machine(
      final GuestMemory memory, final VirtualMachine.ClockKind clock, final ByteSink console) {
    return machine(VirtualMachine.Backend.KVM, memory, clock, console, new NullExitSink());
  }

  private static VirtualMachine machine(
      final VirtualMachine.Backend backend,
      final GuestMemory memory,
      final VirtualMachine.ClockKind clock,
      final ByteSink console,
      final ExitSink sink) {
    final BootEntry entry =
        FlatLoader.load(
            memory,
            ImageFile.of("kernel", "built-in guest", BuiltInGuest.image()),
            BuiltInGuest.LOAD_ADDRESS,
            BootEntry.Mode.REAL16);
    return new VirtualMachine(
        backend,
        memory,
        entry,
        new VirtualMachine.Options(
            "max",
            VirtualMachine.MmuKind.NESTED,
            clock,
            0,
            console,
            b -> {},
            false,
            SystemNanoClock.INSTANCE),
        sink);
  }
}
