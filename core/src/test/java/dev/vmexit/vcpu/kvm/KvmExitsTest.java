package dev.vmexit.vcpu.kvm;

import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.AX;
import static dev.vmexit.x86.encode.Register.DX;
import static dev.vmexit.x86.encode.Register.EAX;
import static dev.vmexit.x86.encode.Register.EBX;
import static dev.vmexit.x86.encode.Register.ECX;
import static dev.vmexit.x86.encode.Register.EDI;
import static dev.vmexit.x86.encode.Register.EDX;
import static dev.vmexit.x86.encode.Register.ESI;
import static dev.vmexit.x86.encode.Register.RAX;
import static dev.vmexit.x86.encode.Register.RBX;
import static dev.vmexit.x86.encode.Register.RDI;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Msr;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Operand;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Each exit of KVM in our terms: by guests that bring it about, or put into the shared page. */
@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
final class KvmExitsTest {
  private static final long NO_SLOT = 0xD000_0000L;
  private static final int DATA = 0x20_0000;
  private static final long PATTERN = 0x8877_6655_4433_2211L;

  @BeforeAll
  static void needsKvm() {
    Kvm.assume();
  }

  private static BareKvm long64(final Consumer<Assembler> code) {
    return new BareKvm(BootEntry.Mode.LONG64, code);
  }

  /** Enters until something that a run loop would hear of. */
  private static VcpuExit enter(final BareKvm guest, final int expected) {
    int reason;
    do {
      reason = guest.vcpu.enter(Long.MAX_VALUE);
    } while (reason == VcpuExit.LIMIT);
    assertEquals(expected, reason, guest.vcpu::failure);
    return guest.vcpu.exit();
  }

  private static long low(final long value, final int size) {
    return size == 8 ? value : value & (1L << size * 8) - 1;
  }

  private static Operand accumulator(final int size) {
    return switch (size) {
      case 1 -> AL;
      case 2 -> AX;
      case 4 -> EAX;
      default -> RAX;
    };
  }

  // ---- by guests ----

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 4, 8})
  void shouldMoveEachSizeToAndFromMmio(final int size) {
    try (BareKvm guest =
        long64(
            a -> {
              a.mov(RAX, PATTERN);
              a.mov(EDI, NO_SLOT + 8);
              a.mov(Memory.at(RDI), accumulator(size));
              a.xor(EAX, EAX);
              a.mov(accumulator(size), Memory.at(RDI, 8));
              a.mov(RBX, RAX);
              a.hlt();
            })) {
      final VcpuExit write = enter(guest, VcpuExit.MMIO);
      assertTrue(write.write);
      assertEquals(NO_SLOT + 8, write.address);
      assertEquals(size, write.size);
      assertEquals(low(PATTERN, size), write.value);
      final VcpuExit read = enter(guest, VcpuExit.MMIO);
      assertFalse(read.write);
      assertEquals(NO_SLOT + 16, read.address);
      assertEquals(size, read.size);
      read.value = low(~PATTERN, size);
      enter(guest, VcpuExit.HLT);
      assertEquals(low(~PATTERN, size), guest.register(Gpr.RBX));
    }
  }

  /** More items than KVM puts behind one page, so that it must come back for the rest. */
  @ParameterizedTest
  @CsvSource({"1, 5000", "2, 3000", "4, 1500"})
  void shouldTellEveryItemWhenALongStringGoesToAPortAndComesBack(final int size, final int count) {
    try (BareKvm guest =
        long64(
            a -> {
              a.cld();
              a.mov(DX, 0x80);
              a.mov(ESI, DATA);
              a.mov(ECX, count);
              a.rep();
              a.outs(size);
              a.mov(EDI, DATA);
              a.mov(ECX, count);
              a.rep();
              a.ins(size);
              a.hlt();
            })) {
      for (int i = 0; i < count * size; i++) {
        guest.memory.write8(DATA + i, i * 7 + (i >> 8));
      }
      for (int i = 0; i < count; i++) {
        final VcpuExit exit = enter(guest, VcpuExit.PIO);
        assertTrue(exit.write);
        assertEquals(size, exit.size);
        assertEquals(low(guest.memory.read64(DATA + (long) i * size), size), exit.value);
      }
      for (int i = 0; i < count; ) {
        final VcpuExit exit = enter(guest, VcpuExit.PIO);
        assertFalse(exit.write);
        assertTrue(exit.count > 0 && exit.count * size <= VcpuExit.MAX_DATA);
        exit.value = low(i * 0x9E37_79B9L, size);
        for (int at = 0; at < exit.count; at++, i++) {
          for (int b = 0; b < size; b++) {
            exit.data[at * size + b] = (byte) (i * 0x9E37_79B9L >> 8 * b);
          }
        }
      }
      enter(guest, VcpuExit.HLT);
      assertEquals(0, guest.register(Gpr.RCX));
      for (int i = 0; i < count; i++) {
        assertEquals(
            low(i * 0x9E37_79B9L, size), low(guest.memory.read64(DATA + (long) i * size), size));
      }
    }
  }

  @Test
  void shouldAskForTheMsrsOfTheLocalApicAndForUnknownOnes() {
    try (BareKvm guest =
        long64(
            a -> {
              a.mov(ECX, Msr.APIC_BASE);
              a.rdmsr();
              a.mov(EBX, EAX);
              a.mov(ECX, Msr.TSC_DEADLINE);
              a.xor(EDX, EDX);
              a.xor(EAX, EAX);
              a.wrmsr();
              a.mov(ECX, 0x1234);
              a.rdmsr();
              a.hlt();
            })) {
      final VcpuExit read = enter(guest, VcpuExit.MSR);
      assertFalse(read.write);
      assertEquals(Msr.APIC_BASE, read.address);
      read.value = 0xFEE0_0900L;
      final VcpuExit write = enter(guest, VcpuExit.MSR);
      assertEquals(0xFEE0_0900L, guest.register(Gpr.RBX));
      assertTrue(write.write);
      assertEquals(Msr.TSC_DEADLINE, write.address);
      assertEquals(0, write.value, "0 disarms on every clock");
      final VcpuExit unknown = enter(guest, VcpuExit.MSR);
      assertEquals(0x1234, unknown.address);
      unknown.refused = true;
      // #GP, and there is no table to find its handler by.
      enter(guest, VcpuExit.SHUTDOWN);
    }
  }

  @Test
  void shouldOpenAWindowWhenTheGuestEnablesInterrupts() {
    try (BareKvm guest =
        long64(
            a -> {
              a.out(0x80, AL);
              a.mov(EAX, 1);
              a.sti();
              a.nop();
              a.jmp(a.here());
            })) {
      enter(guest, VcpuExit.PIO);
      assertFalse(guest.vcpu.interruptible());
      guest.vcpu.requestInterruptWindow(true);
      enter(guest, VcpuExit.IRQ_WINDOW);
      assertTrue(guest.vcpu.interruptible());
      assertEquals(1, guest.register(Gpr.RAX));
    }
  }

  @Test
  void shouldLeaveAtABreakpointAndAfterEachStepWhenDebugged() {
    final List<Long> places = new ArrayList<>();
    try (BareKvm guest =
        long64(
            a -> {
              for (int i = 0; i < 5; i++) {
                places.add(BareKvm.ADDRESS + 2L * i);
                a.inc(EAX);
              }
              a.hlt();
            })) {
      guest.vcpu.debug(false, places.get(2));
      final VcpuExit exit = enter(guest, VcpuExit.DEBUG);
      assertEquals(places.get(2), exit.address);
      assertEquals(1, exit.value & 0xF, "DR6 names the first breakpoint");
      assertEquals(2, guest.register(Gpr.RAX));
      guest.vcpu.debug(true);
      for (int i = 3; i < 5; i++) {
        assertEquals(places.get(i), enter(guest, VcpuExit.DEBUG).address);
        assertEquals(i, guest.register(Gpr.RAX));
      }
      guest.vcpu.debug(false);
      enter(guest, VcpuExit.HLT);
      assertEquals(5, guest.register(Gpr.RAX));
      final String message =
          assertThrows(IllegalArgumentException.class, () -> guest.vcpu.debug(false, 1, 2, 3, 4, 5))
              .getMessage();
      assertEquals("breakpoints=5, allowed: 0 to 4", message);
    }
  }

  // ---- put into the shared page: what no guest here brings about ----

  private static int translate(final BareKvm guest, final int reason, final long detail) {
    HostMemory.putInt(guest.vcpu.runPage() + KvmRun.EXIT_REASON, reason);
    HostMemory.putLong(guest.vcpu.runPage() + KvmRun.HARDWARE_REASON, detail);
    return guest.vcpu.translate();
  }

  private static BareKvm halted() {
    final BareKvm guest = long64(Assembler::hlt);
    enter(guest, VcpuExit.HLT);
    return guest;
  }

  @Test
  void shouldSayInOneLineWhyTheVcpuCannotGoOn() {
    try (BareKvm guest = halted()) {
      assertEquals(VcpuExit.FAILED, translate(guest, KvmApi.EXIT_FAIL_ENTRY, 0x8000_0021L));
      assertEquals(
          "KVM cannot enter the guest: hardware reason 0x80000021; dmesg may say more",
          guest.vcpu.failure());
      assertEquals(VcpuExit.FAILED, translate(guest, KvmApi.EXIT_UNKNOWN, 0x77));
      assertEquals(
          "KVM left the guest for a reason that is not handled: 0, hardware reason 0x77",
          guest.vcpu.failure());
      HostMemory.putLong(guest.vcpu.runPage() + KvmRun.INTERNAL_DATA, 0x55);
      assertEquals(VcpuExit.FAILED, translate(guest, KvmApi.EXIT_INTERNAL_ERROR, 3));
      assertEquals(
          "KVM met an error of its own: suberror 3, an exit while it delivered an event, data 0x55",
          guest.vcpu.failure());
    }
  }

  @Test
  void shouldTellOfAnEventOfTheMachineAndOfASignal() {
    try (BareKvm guest = halted()) {
      assertEquals(VcpuExit.SYSTEM_EVENT, translate(guest, KvmApi.EXIT_SYSTEM_EVENT, 2));
      assertEquals(2, guest.vcpu.exit().address);
      assertEquals(VcpuExit.LIMIT, translate(guest, KvmApi.EXIT_INTR, 0));
      guest.vcpu.kick();
      assertEquals(VcpuExit.KICK, translate(guest, KvmApi.EXIT_INTR, 0));
      assertEquals(VcpuExit.LIMIT, translate(guest, KvmApi.EXIT_INTR, 0), "told once");
      HostMemory.putLong(guest.vcpu.state() + StateLayout.CR8, 5);
      assertEquals(VcpuExit.CR, translate(guest, KvmApi.EXIT_SET_TPR, 0));
      assertEquals(8, guest.vcpu.exit().address);
      assertEquals(5, guest.vcpu.exit().value);
    }
  }
}
