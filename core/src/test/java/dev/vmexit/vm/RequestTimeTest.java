package dev.vmexit.vm;

import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.AX;
import static dev.vmexit.x86.encode.Register.CX;
import static dev.vmexit.x86.encode.Register.DX;
import static dev.vmexit.x86.encode.Register.SP;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.boot.FlatLoader;
import dev.vmexit.boot.ImageFile;
import dev.vmexit.device.PortDevice;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitSink;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.vcpu.kvm.Kvm;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * From an interrupt's request to its injection: a timer's request is its deadline, not the moment
 * at which the run loop came to look. The host's clock here moves by the guest's hand only.
 */
@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
final class RequestTimeTest {
  private static final long MEMORY = 0x1_0000;
  private static final long ORIGIN = 0x1000;
  private static final int VECTOR = 0x20;
  private static final int DEBUG_EXIT = 0xF4;
  private static final int WAIT_PORT = 0x1600;
  private static final int WAIT_NANOS = 5_000_000;
  private static final int PIT_COUNT = 1193;

  /** The first nanosecond at which 1,194 ticks are over: what is written is loaded a tick later. */
  private static final long DEADLINE = 1_000_686;

  private final List<Long> waits = new ArrayList<>();
  private long now;

  private void run(
      final VirtualMachine.Backend backend,
      final VirtualMachine.ClockKind clock,
      final Consumer<Assembler> body) {
    final Assembler a = new Assembler(2, ORIGIN);
    final Label handler = a.label("handler");
    a.mov(SP, 0xF00);
    a.mov(AX, handler);
    a.mov(Memory.absolute(4L * VECTOR), AX);
    a.mov(Memory.absolute(4L * VECTOR + 2).asWord(), 0);
    // The PICs: edge, cascade, vectors from 0x20, only IRQ 0 let through.
    out(a, 0x20, 0x11);
    out(a, 0x21, VECTOR);
    out(a, 0x21, 4);
    out(a, 0x21, 1);
    out(a, 0x21, 0xFE);
    // Timer 0 rises once.
    out(a, 0x43, 0x30);
    out(a, 0x40, PIT_COUNT & 0xFF);
    out(a, 0x40, PIT_COUNT >> 8);
    body.accept(a);
    a.bind(handler);
    a.mov(AL, 1);
    a.out(DEBUG_EXIT, AL);
    try (GuestMemory memory = GuestMemory.builder().ram(0, MEMORY).build()) {
      final BootEntry entry =
          FlatLoader.load(
              memory,
              ImageFile.of("kernel", "request guest", a.assemble()),
              ORIGIN,
              BootEntry.Mode.REAL16);
      final VirtualMachine.Options options =
          new VirtualMachine.Options(
              "max", VirtualMachine.MmuKind.NESTED, clock, 0, b -> {}, b -> {}, true, () -> now);
      waits.clear();
      now = 0;
      try (VirtualMachine machine =
          new VirtualMachine(backend, memory, entry, options, new Sink())) {
        machine.platform().ports().register(new Waiter(), WAIT_PORT, WAIT_PORT);
        assertEquals(RunEnd.DEBUG_EXIT, machine.run().end());
      }
    }
    assertEquals(1, waits.size(), "injections");
  }

  private static void out(final Assembler a, final int port, final int value) {
    a.mov(AL, value);
    a.out(port, AL);
  }

  private static void assume(final VirtualMachine.Backend backend) {
    if (backend == VirtualMachine.Backend.KVM) {
      Kvm.assume();
    }
  }

  @ParameterizedTest
  @EnumSource(VirtualMachine.Backend.class)
  void shouldCountFromTheTimersDeadlineWhenTheExitComesLate(final VirtualMachine.Backend backend) {
    assume(backend);
    run(
        backend,
        VirtualMachine.ClockKind.HOST,
        a -> {
          a.sti();
          a.mov(DX, WAIT_PORT);
          a.out(DX, AL);
          a.jmp(a.here());
        });
    assertEquals(List.of(WAIT_NANOS - DEADLINE), waits);
  }

  @ParameterizedTest
  @EnumSource(VirtualMachine.Backend.class)
  void shouldCountTheTimeThatTheGuestHeldTheInterruptBack(final VirtualMachine.Backend backend) {
    assume(backend);
    run(
        backend,
        VirtualMachine.ClockKind.HOST,
        a -> {
          a.mov(DX, WAIT_PORT);
          a.out(DX, AL);
          a.out(DX, AL);
          a.sti();
          a.jmp(a.here());
        });
    assertEquals(List.of(2L * WAIT_NANOS - DEADLINE), waits);
  }

  @Test
  void shouldBeTheSameInEachRunWhenTimeFollowsTheInstructions() {
    final Consumer<Assembler> body =
        a -> {
          // 1.3 million instructions, each a nanosecond; the deadline is in the midst of them.
          a.mov(DX, 20);
          final Label outer = a.here();
          a.xor(CX, CX);
          final Label inner = a.here();
          a.loop(inner);
          a.dec(DX);
          a.jcc(Condition.NE, outer);
          a.sti();
          a.jmp(a.here());
        };
    run(VirtualMachine.Backend.SOFT, VirtualMachine.ClockKind.VIRTUAL, body);
    final long first = waits.get(0);
    assertTrue(first > 300_000 && first < 320_000, () -> "ns from deadline to STI: " + first);
    run(VirtualMachine.Backend.SOFT, VirtualMachine.ClockKind.VIRTUAL, body);
    assertEquals(List.of(first), waits);
  }

  @Test
  void shouldTakeNoTimeWhenTheGuestSleepsToTheDeadline() {
    run(
        VirtualMachine.Backend.SOFT,
        VirtualMachine.ClockKind.VIRTUAL,
        a -> {
          a.sti();
          a.hlt();
        });
    assertEquals(List.of(0L), waits);
  }

  /** Takes its time. */
  private final class Waiter implements PortDevice {
    @Override
    public int readPort(final int port, final int size) {
      return 0;
    }

    @Override
    public void writePort(final int port, final int size, final int value) {
      now += WAIT_NANOS;
    }
  }

  private final class Sink implements ExitSink {
    @Override
    public boolean wants(final ExitKind kind) {
      return true;
    }

    @Override
    public void write(final ExitEvent event) {
      if (event.kind == ExitKind.INJECT) {
        waits.add(event.value);
      }
    }

    @Override
    public void close() {}
  }
}
