package dev.vmexit.vm;

import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.AX;
import static dev.vmexit.x86.encode.Register.BL;
import static dev.vmexit.x86.encode.Register.CX;
import static dev.vmexit.x86.encode.Register.DX;
import static dev.vmexit.x86.encode.Register.SP;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.boot.BuiltInGuest;
import dev.vmexit.boot.FlatLoader;
import dev.vmexit.boot.ImageFile;
import dev.vmexit.device.AcpiPm;
import dev.vmexit.device.ByteSink;
import dev.vmexit.device.PortDevice;
import dev.vmexit.device.Uart16550;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitSink;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.vcpu.kvm.Kvm;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.agrona.concurrent.SystemNanoClock;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Guests whose interrupt controllers and PIT are the kernel's, on the host's own KVM. */
@Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
final class KernelIrqchipTest {
  private static final KvmOptions IN_KERNEL = new KvmOptions(true, false, false);
  private static final long ORIGIN = 0x1000;
  private static final int MASTER_BASE = 0x20;
  private static final int SLAVE_BASE = 0x28;
  private static final int DEBUG_EXIT = 0xF4;
  private static final int TEST_PORT = 0x1600;

  private final Set<ExitKind> kinds = EnumSet.noneOf(ExitKind.class);
  private final Set<Long> ports = new TreeSet<>();
  private int halts;

  @BeforeAll
  static void needsKvm() {
    Kvm.assume();
  }

  private final class Sink implements ExitSink {
    @Override
    public boolean wants(final ExitKind kind) {
      return true;
    }

    @Override
    public void write(final ExitEvent event) {
      kinds.add(event.kind);
      if (event.kind == ExitKind.PIO) {
        ports.add(event.address);
      }
      if (event.kind == ExitKind.HLT) {
        halts++;
      }
    }

    @Override
    public void close() {}
  }

  private VirtualMachine machine(
      final GuestMemory memory,
      final BootEntry entry,
      final int vcpus,
      final ByteSink console,
      final KvmOptions kvm) {
    final VirtualMachine.Options options =
        new VirtualMachine.Options(
            "max",
            VirtualMachine.MmuKind.NESTED,
            VirtualMachine.ClockKind.HOST,
            0,
            console,
            b -> {},
            true,
            SystemNanoClock.INSTANCE);
    return new VirtualMachine(
        VirtualMachine.Backend.KVM,
        vcpus,
        memory,
        entry,
        options,
        Peripherals.NONE,
        number -> new Sink(),
        kvm);
  }

  /** A real-mode guest with one interrupt handler, all other lines masked. */
  private static BootEntry load(
      final GuestMemory memory,
      final int irq,
      final Consumer<Assembler> handlerBody,
      final Consumer<Assembler> body) {
    final Assembler a = new Assembler(2, ORIGIN);
    final Label handler = a.label("handler");
    final int vector = irq < 8 ? MASTER_BASE + irq : SLAVE_BASE + irq - 8;
    a.mov(SP, 0xF00);
    a.mov(AX, handler);
    a.mov(Memory.absolute(4L * vector), AX);
    a.mov(Memory.absolute(4L * vector + 2).asWord(), 0);
    for (final int base : new int[] {0x20, 0xA0}) {
      out(a, base, 0x11);
      out(a, base + 1, base == 0x20 ? MASTER_BASE : SLAVE_BASE);
      out(a, base + 1, base == 0x20 ? 4 : 2);
      out(a, base + 1, 1);
    }
    out(a, 0x21, irq < 8 ? 0xFF & ~(1 << irq) : 0xFB);
    out(a, 0xA1, irq < 8 ? 0xFF : 0xFF & ~(1 << irq - 8));
    a.xor(Register.EBX, Register.EBX);
    body.accept(a);
    a.bind(handler);
    handlerBody.accept(a);
    if (irq >= 8) {
      out(a, 0xA0, 0x20);
    }
    out(a, 0x20, 0x20);
    a.iret(2);
    return FlatLoader.load(
        memory,
        ImageFile.of("kernel", "irqchip guest", a.assemble()),
        ORIGIN,
        BootEntry.Mode.REAL16);
  }

  private static void out(final Assembler a, final int port, final int value) {
    a.mov(DX, port);
    a.mov(AL, value);
    a.out(DX, AL);
  }

  private static GuestMemory memory() {
    return GuestMemory.builder().ram(0, 0x1_0000).build();
  }

  /** Five ticks, between which the guest is halted: in the kernel, so that nothing is seen. */
  @Test
  void shouldDeliverTheTimerOfTheKernel() {
    try (GuestMemory memory = memory()) {
      final BootEntry entry =
          load(
              memory,
              0,
              a -> a.inc(BL),
              a -> {
                out(a, 0x43, 0x34);
                out(a, 0x40, 1193 & 0xFF);
                out(a, 0x40, 1193 >> 8);
                a.sti();
                final Label again = a.here();
                a.hlt();
                a.cmp(BL, 5);
                a.jcc(Condition.B, again);
                a.mov(AL, BL);
                a.out(DEBUG_EXIT, AL);
              });
      try (VirtualMachine machine = machine(memory, entry, 1, b -> {}, IN_KERNEL)) {
        final RunResult result = machine.run();
        assertEquals(RunEnd.DEBUG_EXIT, result.end(), result::toString);
        assertTrue(result.status() >= 2 * 5 + 1, result::toString);
      }
    }
    assertEquals(Set.of(ExitKind.PIO), kinds, "all else happened in the kernel");
    assertEquals(Set.of((long) DEBUG_EXIT), ports, "no access to PIC or PIT came out");
    assertEquals(0, halts);
  }

  /** Received data raise IRQ 4 by its eventfd, which wakes the halted guest. */
  @Test
  void shouldDeliverTheSerialPortsInterrupt() {
    try (GuestMemory memory = memory()) {
      final BootEntry entry =
          load(
              memory,
              4,
              a -> {
                a.mov(DX, Uart16550.COM1);
                a.in(AL, DX);
                a.mov(BL, AL);
              },
              a -> {
                out(a, Uart16550.COM1 + 4, 0x0B);
                out(a, Uart16550.COM1 + 1, 1);
                out(a, TEST_PORT, 0);
                a.sti();
                final Label again = a.here();
                a.hlt();
                a.test(BL, BL);
                a.jcc(Condition.E, again);
                a.mov(AL, BL);
                a.out(DEBUG_EXIT, AL);
              });
      try (VirtualMachine machine = machine(memory, entry, 1, b -> {}, IN_KERNEL)) {
        final RunResult result =
            runAndWhenHalted(machine, () -> machine.commands().consoleInput(new byte[] {'A'}, 1));
        assertEquals(RunEnd.DEBUG_EXIT, result.end(), result::toString);
        assertEquals(2 * 'A' + 1, result.status());
      }
    }
    assertFalse(kinds.contains(ExitKind.INJECT));
    assertFalse(kinds.contains(ExitKind.HLT));
  }

  /** IRQ 9 stays until the handler clears its cause, which it does the second time only. */
  @Test
  void shouldHoldALevelUntilItsCauseIsGone() {
    try (GuestMemory memory = memory()) {
      final BootEntry entry =
          load(
              memory,
              9,
              a -> {
                a.inc(BL);
                a.cmp(BL, 2);
                final Label keep = a.label("keep");
                a.jcc(Condition.B, keep);
                out(a, AcpiPm.PM1_EVENT + 1, 1);
                a.bind(keep);
              },
              a -> {
                out(a, AcpiPm.PM1_EVENT + 3, 1);
                a.sti();
                out(a, TEST_PORT, 0);
                final Label again = a.here();
                a.cmp(BL, 2);
                a.jcc(Condition.B, again);
                // Time for a third one, if there were one.
                a.mov(CX, 20_000);
                final Label wait = a.here();
                a.loop(wait);
                a.mov(AL, BL);
                a.out(DEBUG_EXIT, AL);
              });
      try (VirtualMachine machine = machine(memory, entry, 1, b -> {}, IN_KERNEL)) {
        machine
            .platform()
            .ports()
            .register(
                new TestPort(() -> machine.platform().acpiPm().pressPowerButton()),
                TEST_PORT,
                TEST_PORT);
        final RunResult result = machine.run();
        assertEquals(RunEnd.DEBUG_EXIT, result.end(), result::toString);
        assertEquals(2 * 2 + 1, result.status());
      }
    }
  }

  @Test
  void shouldStopAGuestThatIsHaltedInTheKernel() {
    try (GuestMemory memory = memory()) {
      final BootEntry entry =
          load(
              memory,
              4,
              a -> {},
              a -> {
                out(a, TEST_PORT, 0);
                final Label rest = a.here();
                a.sti();
                a.hlt();
                a.jmp(rest);
              });
      try (VirtualMachine machine = machine(memory, entry, 1, b -> {}, IN_KERNEL)) {
        final RunResult result =
            runAndWhenHalted(machine, () -> machine.commands().stop(RunEnd.STOPPED));
        assertEquals(RunEnd.STOPPED, result.end());
      }
    }
    assertTrue(kinds.contains(ExitKind.KICK), kinds::toString);
  }

  @Test
  void shouldStartTheSecondProcessorInTheKernel() {
    try (GuestMemory memory = GuestMemory.builder().ramWithHole(GoldenGuests.MEMORY_SIZE).build()) {
      final BootEntry entry =
          FlatLoader.load(
              memory,
              ImageFile.of("kernel", "smp guest", SmpGuest.image()),
              GoldenGuests.ADDRESS,
              BootEntry.Mode.LONG64);
      SmpGuest.prepare(memory);
      try (VirtualMachine machine = machine(memory, entry, 2, b -> {}, IN_KERNEL)) {
        final RunResult result = machine.run();
        assertEquals(RunEnd.DEBUG_EXIT, result.end(), () -> result + " " + machine.lastExits());
      }
      assertEquals(2 * SmpGuest.ADDED, memory.read32(SmpGuest.SHARED), "no increment is lost");
      assertEquals(SmpGuest.ROUNDS, memory.read32(SmpGuest.AT_SECOND));
      assertEquals(SmpGuest.ROUNDS, memory.read32(SmpGuest.AT_FIRST));
      assertEquals(1 << 24, memory.read32(SmpGuest.SECOND_ID), "each sees its own local APIC");
    }
  }

  @Test
  void shouldRunTheBuiltInGuestToItsEnd() {
    final StringBuilder console = new StringBuilder();
    try (GuestMemory memory = GuestMemory.builder().ramWithHole(BuiltInGuest.MEMORY_SIZE).build()) {
      final BootEntry entry =
          FlatLoader.load(
              memory,
              ImageFile.of("kernel", "built-in guest", BuiltInGuest.image()),
              BuiltInGuest.LOAD_ADDRESS,
              BootEntry.Mode.REAL16);
      try (VirtualMachine machine =
          machine(memory, entry, 1, b -> console.append((char) b), IN_KERNEL)) {
        final RunResult result = machine.run();
        assertEquals(RunEnd.POWER_OFF, result.end(), () -> console + "\n" + machine.lastExits());
      }
    }
    final List<String> lines = console.toString().lines().toList();
    assertTrue(lines.contains("all checks passed"), console::toString);
    assertTrue(lines.contains("timer: 5 ticks"), console::toString);
  }

  @Test
  void shouldRefuseTheSoftwareVcpu() {
    final String message =
        assertThrows(
                IllegalArgumentException.class,
                () ->
                    new VirtualMachine(
                            VirtualMachine.Backend.SOFT,
                            1,
                            null,
                            null,
                            null,
                            Peripherals.NONE,
                            number -> new Sink(),
                            IN_KERNEL)
                        .close())
            .getMessage();
    assertTrue(message.contains("kernelIrqchip=true") && message.contains("SOFT"), message);
  }

  // ---- a guest that sleeps in the kernel ----

  /** Runs the machine; does something when its guest has written to the test port and sleeps. */
  private static RunResult runAndWhenHalted(final VirtualMachine machine, final Runnable action) {
    final CountDownLatch written = new CountDownLatch(1);
    final AtomicReference<Path> vcpu = new AtomicReference<>();
    machine.platform().ports().register(new TestPort(written::countDown), TEST_PORT, TEST_PORT);
    machine.onThread(number -> vcpu.set(thisThread()));
    final Thread other =
        new Thread(
            () -> {
              try {
                written.await();
                while (!sleeps(vcpu.get())) {
                  Thread.onSpinWait();
                }
              } catch (final InterruptedException e) {
                Thread.currentThread().interrupt();
              }
              action.run();
            });
    other.start();
    final RunResult result = machine.run();
    assertTrue(vcpu.get() != null);
    return result;
  }

  private static Path thisThread() {
    try {
      return Path.of("/proc").resolve(Files.readSymbolicLink(Path.of("/proc/thread-self")));
    } catch (final IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Whether the kernel says of a thread that it waits, and can be woken by a signal. */
  private static boolean sleeps(final Path thread) {
    try {
      final String stat = Files.readString(thread.resolve("stat"));
      return stat.charAt(stat.lastIndexOf(')') + 2) == 'S';
    } catch (final IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Does something when written to. */
  private record TestPort(Runnable action) implements PortDevice {
    @Override
    public int readPort(final int port, final int size) {
      return 0;
    }

    @Override
    public void writePort(final int port, final int size, final int value) {
      action.run();
    }
  }
}
