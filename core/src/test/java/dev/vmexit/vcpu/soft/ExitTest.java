package dev.vmexit.vcpu.soft;

import static dev.vmexit.vcpu.soft.BareGuest.CODE;
import static dev.vmexit.vcpu.soft.BareGuest.CODE0;
import static dev.vmexit.vcpu.soft.BareGuest.DATA;
import static dev.vmexit.vcpu.soft.BareGuest.STACK;
import static dev.vmexit.vcpu.soft.BareGuest.TABLES;
import static dev.vmexit.vcpu.soft.BareGuest.handler;
import static dev.vmexit.vcpu.soft.BareMachine.MMIO;
import static dev.vmexit.vcpu.soft.BareMachine.answer;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.device.PortDevice;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.vcpu.soft.BareGuest.Paging;
import dev.vmexit.vcpu.soft.BareMachine.Exit;
import dev.vmexit.vcpu.soft.BareMachine.MmuKind;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Msr;
import dev.vmexit.x86.Pte;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What leaves the vCPU, how it is described, how it is completed, and what is counted. */
final class ExitTest {
  private static final long RIGHTS = Pte.PRESENT | Pte.WRITABLE | Pte.USER;

  /** A bus access as the tests compare it. */
  private record Access(long address, int size, boolean write, long value) {}

  private static Access read(final long address, final int size) {
    return new Access(address, size, false, answer(address, size));
  }

  private static Access write(final long address, final int size, final long value) {
    return new Access(address, size, true, value);
  }

  private static List<Access> accesses(final BareGuest g, final int reason) {
    return g.machine.exits(reason).stream()
        .map(e -> new Access(e.address(), e.size(), e.write(), e.value()))
        .toList();
  }

  // ---- ports ----

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldMoveEachSizeThroughPorts(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.machine.reg(Register.RAX, 0x8877_6655_4433_2211L);
      g.code(
          a -> {
            a.mov(Register.DX, 0x1234);
            a.out(0x70, Register.AL);
            a.out(Register.DX, Register.AX);
            a.out(Register.DX, Register.EAX);
            a.in(Register.AL, 0x71);
            a.mov(Register.RBX, Register.RAX);
            a.in(Register.AX, Register.DX);
            a.mov(Register.RCX, Register.RAX);
            a.in(Register.EAX, Register.DX);
            a.hlt();
          });
      g.runToEnd();
      assertEquals(
          List.of(
              write(0x70, 1, 0x11),
              write(0x1234, 2, 0x2211),
              write(0x1234, 4, 0x4433_2211),
              read(0x71, 1),
              read(0x1234, 2),
              read(0x1234, 4)),
          accesses(g, VcpuExit.PIO));
      assertEquals(0x8877_6655_4433_2200L | answer(0x71, 1), g.machine.reg(Register.RBX));
      assertEquals(0x8877_6655_4433_0000L | answer(0x1234, 2), g.machine.reg(Register.RCX));
      assertEquals(answer(0x1234, 4), g.machine.reg(Register.RAX), "32 bits clear the rest");
      final List<Exit> exits = g.machine.exits(VcpuExit.PIO);
      assertEquals(CODE + 4, exits.getFirst().rip());
      assertEquals(1, exits.getFirst().retired(), "the OUT itself is not yet retired");
      assertEquals(10, g.machine.retired());
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldExitWhenStringsMeetPorts(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      for (int i = 0; i < 4; i++) {
        g.machine.memory.write16(DATA + 2 * i, 0x1110 * (i + 1));
      }
      g.code(
          a -> {
            a.mov(Register.EDX, 0x1F0);
            a.mov(Register.ESI, DATA);
            a.mov(Register.ECX, 4);
            a.rep();
            a.outs(2);
            a.mov(Register.EDI, DATA + 0x100);
            a.mov(Register.ECX, 3);
            a.rep();
            a.ins(4);
            a.hlt();
          });
      g.runToEnd();
      assertEquals(
          List.of(write(0x1F0, 2, 0x1110), write(0x1F0, 2, 0x2220), read(0x1F0, 4), read(0x1F0, 4)),
          accesses(g, VcpuExit.PIO));
      assertEquals(
          List.of(1, 3, 1, 2),
          g.machine.exits(VcpuExit.PIO).stream().map(Exit::outcome).toList(),
          "elements in an exit");
      assertEquals(0, g.machine.reg(Register.RCX));
      assertEquals(DATA + 8, g.machine.reg(Register.RSI));
      assertEquals(DATA + 0x10C, g.machine.reg(Register.RDI));
      assertEquals((int) answer(0x1F0, 4), g.machine.memory.read32(DATA + 0x100));
      assertEquals((int) answer(0x1F0, 4), g.machine.memory.read32(DATA + 0x104));
      assertEquals((int) answer(0x1F1, 4), g.machine.memory.read32(DATA + 0x108));
      assertEquals(8, g.machine.retired(), "a repeated string is one instruction");
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldWriteStringsOverPagesInOrder(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      final long first = DATA + 0x1000 - 0x100;
      for (int i = 0; i < 600; i++) {
        g.machine.memory.write16(first + 2L * i, 0x4000 + i);
      }
      g.code(
          a -> {
            a.mov(Register.EDX, 0x1F0);
            a.mov(Register.ESI, first);
            a.mov(Register.ECX, 600);
            a.rep();
            a.outs(2);
            a.hlt();
          });
      final List<Integer> counts = new ArrayList<>();
      final List<Integer> words = new ArrayList<>();
      int reason;
      while ((reason = g.machine.enterOnce(Long.MAX_VALUE)) != VcpuExit.HLT) {
        final VcpuExit exit = g.machine.vcpu.exit();
        if (reason == VcpuExit.PIO) {
          counts.add(exit.count);
          assertEquals(600 - words.size(), g.machine.reg(Register.RCX), "before the element");
          for (int i = 0; i < exit.count; i++) {
            words.add(exit.count == 1 ? (int) exit.value : PortDevice.element(exit.data, 2, i));
          }
        }
      }
      assertEquals(List.of(1, 127, 1, 256, 215), counts);
      assertEquals(IntStream.range(0x4000, 0x4000 + 600).boxed().toList(), words);
      assertEquals(first + 1200, g.machine.reg(Register.RSI));
      assertEquals(0, g.machine.reg(Register.RCX));
      assertEquals(5, g.machine.retired());
    }
  }

  /** A page that nobody has touched takes one element by itself; an exit has 512 bytes at most. */
  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldReadStringsOverPagesInOrder(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      final long first = DATA + 0x1000 - 0x100;
      g.code(
          a -> {
            a.mov(Register.EDX, 0x1F0);
            a.mov(Register.EDI, first);
            a.mov(Register.ECX, 600);
            a.rep();
            a.ins(2);
            a.hlt();
          });
      g.runToEnd();
      final List<Integer> counts =
          g.machine.exits(VcpuExit.PIO).stream().map(Exit::outcome).toList();
      assertEquals(List.of(1, 127, 1, 256, 215), counts);
      long at = first;
      for (final int count : counts) {
        for (int i = 0; i < count; i++) {
          assertEquals(
              (int) answer(0x1F0 + i, 2), g.machine.memory.read16(at), Long.toHexString(at));
          at += 2;
        }
      }
      assertEquals(first + 1200, g.machine.reg(Register.RDI));
      assertEquals(0, g.machine.reg(Register.RCX));
      assertEquals(5, g.machine.retired());
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldReadStringsDownwardsSingly(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.code(
          a -> {
            a.std();
            a.mov(Register.EDX, 0x1F0);
            a.mov(Register.EDI, DATA + 8);
            a.mov(Register.ECX, 3);
            a.rep();
            a.ins(2);
            a.hlt();
          });
      g.runToEnd();
      assertEquals(
          List.of(1, 1, 1), g.machine.exits(VcpuExit.PIO).stream().map(Exit::outcome).toList());
      assertEquals(DATA + 2, g.machine.reg(Register.RDI));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldReadThePortOnceWhenItsDestinationFaults(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.entry(DATA, 0);
      g.code(
          a -> {
            a.mov(Register.EDI, DATA);
            a.ins(1);
            a.hlt();
          });
      assertEquals(Vector.PF, g.runToHandler());
      assertEquals(List.of(), accesses(g, VcpuExit.PIO), "the port was not touched");
      g.entry(DATA, DATA | RIGHTS);
      g.runToEnd();
      assertEquals(1, accesses(g, VcpuExit.PIO).size());
      assertEquals(answer(0x06CA, 1), g.machine.memory.read8(DATA), "DX is as RESET leaves it");
    }
  }

  // ---- memory-mapped I/O ----

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldReadThenWriteWhenAnInstructionModifiesADevice(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.code(
          a -> {
            a.mov(Register.EBX, 3);
            a.stc();
            a.adc(Memory.absolute(MMIO + 0x10), Register.EBX);
            a.setcc(Condition.B, Register.CL);
            a.lock();
            a.xadd(Memory.absolute(MMIO + 0x20), Register.BX);
            a.xchg(Memory.absolute(MMIO + 0x30), Register.RSI);
            a.hlt();
          });
      g.machine.reg(Register.RSI, 0x1234_5678_9ABCL);
      g.runToEnd();
      final long sum = answer(MMIO + 0x10, 4) + 4;
      assertEquals(
          List.of(
              read(MMIO + 0x10, 4),
              write(MMIO + 0x10, 4, sum & 0xFFFF_FFFFL),
              read(MMIO + 0x20, 2),
              write(MMIO + 0x20, 2, answer(MMIO + 0x20, 2) + 3 & 0xFFFF),
              read(MMIO + 0x30, 8),
              write(MMIO + 0x30, 8, 0x1234_5678_9ABCL)),
          accesses(g, VcpuExit.MMIO));
      assertEquals(sum >>> 32, g.machine.reg(Register.RCX) & 0xFF, "the carry is of one addition");
      assertEquals(answer(MMIO + 0x20, 2), g.machine.reg(Register.RBX));
      assertEquals(answer(MMIO + 0x30, 8), g.machine.reg(Register.RSI));
      assertEquals(7, g.machine.retired());
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldSplitAnAccessThatCrossesPagesOfADevice(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      // The pages of the device are swapped: the two parts are not neighbours on the bus.
      g.entry(MMIO + 0x1000, MMIO + 0x3000 | RIGHTS);
      g.machine.reg(Register.RAX, 0x1122_3344_5566_7788L);
      g.code(
          a -> {
            a.mov(Memory.absolute(MMIO + 0xFFD), Register.RAX);
            a.mov(Register.RBX, Memory.absolute(MMIO + 0xFFC));
            a.hlt();
          });
      g.runToEnd();
      assertEquals(
          List.of(
                  write(MMIO + 0x3000, 4, 0x2233_4455),
                  write(MMIO + 0x3004, 1, 0x11),
                  write(MMIO + 0xFFD, 2, 0x7788),
                  write(MMIO + 0xFFF, 1, 0x66),
                  read(MMIO + 0xFFC, 4),
                  read(MMIO + 0x3000, 4))
              .stream()
              .sorted(ExitTest::byAddress)
              .toList(),
          accesses(g, VcpuExit.MMIO).stream().sorted(ExitTest::byAddress).toList());
      assertEquals(
          answer(MMIO + 0xFFC, 4) | answer(MMIO + 0x3000, 4) << 32, g.machine.reg(Register.RBX));
    }
  }

  private static int byAddress(final Access a, final Access b) {
    final int order = Long.compare(a.address, b.address);
    return order != 0 ? order : Boolean.compare(a.write, b.write);
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldModifyOnceWhenHalfOfTheOperandIsADevice(final MmuKind mmu) {
    for (final boolean deviceFirst : new boolean[] {false, true}) {
      try (BareGuest g = BareGuest.long64(mmu)) {
        final long ram = DATA;
        final long low = 0x60_0000;
        g.entry(low, (deviceFirst ? MMIO : ram) | RIGHTS);
        g.entry(low + 0x1000, (deviceFirst ? ram : MMIO) | RIGHTS);
        g.machine.memory.fill(ram, 0x1000, 0x10);
        g.code(
            a -> {
              a.mov(Register.EBX, 0x0101_0101);
              a.add(Memory.absolute(low + 0xFFE), Register.EBX);
              a.hlt();
            });
        g.runToEnd();
        final long device = deviceFirst ? MMIO + 0xFFE : MMIO;
        final long half = answer(device, 2);
        final long operand = deviceFirst ? half | 0x1010_0000L : 0x1010L | half << 16;
        final long sum = operand + 0x0101_0101L & 0xFFFF_FFFFL;
        assertEquals(
            List.of(read(device, 2), write(device, 2, deviceFirst ? sum & 0xFFFF : sum >>> 16)),
            accesses(g, VcpuExit.MMIO));
        assertEquals(
            deviceFirst ? sum >>> 16 : sum & 0xFFFF,
            g.machine.memory.read16(deviceFirst ? ram : ram + 0xFFE));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldReadMemoryAndWriteTheBusWhenMemoryIsReadOnly(final MmuKind mmu) {
    final byte[] rom = new byte[0x1000];
    rom[0x10] = 0x40;
    final GuestMemory memory =
        GuestMemory.builder().ram(0, BareMachine.RAM_BYTES).rom(0xC0_0000, rom).build();
    try (BareMachine m = new BareMachine(mmu, memory)) {
      // Real mode, through an unreal DS.
      m.vcpu.setSegment(Seg.CS, 0x1000, CODE, 0xFFFF, 0x93);
      m.vcpu.setSegment(Seg.DS, 0, 0, 0xFFFF_FFFFL, 0x93);
      m.set(StateLayout.RIP, 0);
      m.stateChanged();
      final Assembler a = new Assembler(2, 0);
      a.mov(Register.ESI, 0xC0_0010);
      a.mov(Register.AL, Memory.at(Register.ESI));
      a.mov(Memory.at(Register.ESI), Register.AL);
      a.add(Memory.at(Register.ESI).asByte(), 2);
      a.hlt();
      m.load(a, CODE);
      assertEquals(VcpuExit.HLT, m.run());
      assertEquals(0x40, m.reg(Register.RAX) & 0xFF);
      final List<Exit> exits = m.exits(VcpuExit.MMIO);
      assertEquals(2, exits.size());
      assertTrue(exits.stream().allMatch(Exit::write));
      assertEquals(0x42, exits.getLast().value());
      assertEquals(0x40, memory.read8(0xC0_0010));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldExitPerElementWhenAStringMovesThroughADevice(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.code(
          a -> {
            a.mov(Register.ESI, MMIO);
            a.mov(Register.EDI, MMIO + 0x1000);
            a.mov(Register.ECX, 2);
            a.rep();
            a.movs(4);
            a.hlt();
          });
      g.runToEnd();
      assertEquals(
          List.of(
              read(MMIO, 4),
              write(MMIO + 0x1000, 4, answer(MMIO, 4)),
              read(MMIO + 4, 4),
              write(MMIO + 0x1004, 4, answer(MMIO + 4, 4))),
          accesses(g, VcpuExit.MMIO));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldCompleteAWideAccessToADevicePieceByPiece(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.machine.set(StateLayout.CR4, g.machine.get(StateLayout.CR4) | ControlRegisters.CR4_OSFXSR);
      g.machine.stateChanged();
      g.code(
          a -> {
            a.movdqu(Register.XMM0, Memory.absolute(MMIO + 8));
            a.movdqu(Memory.absolute(DATA), Register.XMM0);
            a.fxsave(Memory.absolute(MMIO + 0x200));
            a.hlt();
          });
      g.runToEnd();
      assertEquals(answer(MMIO + 8, 8), g.machine.memory.read64(DATA));
      assertEquals(answer(MMIO + 16, 8), g.machine.memory.read64(DATA + 8));
      // FXSAVE keeps XMM0 at 160.
      assertTrue(
          accesses(g, VcpuExit.MMIO).contains(write(MMIO + 0x200 + 160, 8, answer(MMIO + 8, 8))));
      assertEquals(4, g.machine.retired());
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldDeliverThroughADevicesStackWithTheFrameInOrder(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.machine.reg(Register.RSP, MMIO + 0x1000);
      g.code(a -> a.interrupt(0x80));
      assertEquals(0x80, g.runToHandler());
      assertEquals(
          List.of(
              write(MMIO + 0xFF8, 8, BareGuest.DATA0),
              write(MMIO + 0xFF0, 8, MMIO + 0x1000),
              write(MMIO + 0xFE8, 8, Flags.RESERVED_1),
              write(MMIO + 0xFE0, 8, CODE0),
              write(MMIO + 0xFD8, 8, CODE + 2)),
          accesses(g, VcpuExit.MMIO));
    }
  }

  // ---- CPUID, MSRs, TSC ----

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldCompleteCpuidMsrAndTscWithTheirAnswers(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.machine.set(StateLayout.TSC_AUX, 0x77);
      g.code(
          a -> {
            a.mov(Register.EAX, 0);
            a.cpuid();
            a.mov(Memory.absolute(DATA), Register.EBX);
            a.mov(Memory.absolute(DATA + 4), Register.EDX);
            a.mov(Memory.absolute(DATA + 8), Register.ECX);
            a.mov(Register.ECX, Msr.LSTAR);
            a.mov(Register.EAX, 0x5566_7788);
            a.mov(Register.EDX, 0x1234);
            a.wrmsr();
            a.xor(Register.EAX, Register.EAX);
            a.xor(Register.EDX, Register.EDX);
            a.rdmsr();
            a.mov(Memory.absolute(DATA + 16), Register.EAX);
            a.mov(Memory.absolute(DATA + 20), Register.EDX);
            a.rdtsc();
            a.mov(Register.ESI, Register.EAX);
            a.rdtscp();
            a.hlt();
          });
      g.runToEnd();
      assertEquals("GenuineIntel", new String(g.bytes(DATA, 12), StandardCharsets.US_ASCII));
      assertEquals(0x1234_5566_7788L, g.machine.memory.read64(DATA + 16));
      assertEquals(0x1234_5566_7788L, g.machine.get(StateLayout.LSTAR));
      assertEquals(g.machine.reg(Register.RSI) + 1_000, g.machine.reg(Register.RAX));
      assertEquals(0x77, g.machine.reg(Register.RCX));
      assertEquals(18, g.machine.retired());
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldRaiseProtectionFaultWhenAnMsrIsRefused(final MmuKind mmu) {
    for (final boolean write : new boolean[] {false, true}) {
      try (BareGuest g = BareGuest.long64(mmu)) {
        g.code(
            a -> {
              a.mov(Register.ECX, 0x1234_5678);
              a.mov(Register.EAX, 7);
              if (write) {
                a.wrmsr();
              } else {
                a.rdmsr();
              }
            });
        assertEquals(Vector.GP, g.runToHandler());
        assertEquals(0, g.stack(0));
        assertEquals(CODE + 10, g.stack(1));
        assertEquals(7, g.machine.reg(Register.RAX));
        assertEquals(3, g.machine.retired(), "two moves and the handler's HLT");
      }
    }
  }

  @Test
  void shouldRaiseProtectionFaultWhenUserReadsTheTscAndMayNot() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.machine.set(StateLayout.CR4, g.machine.get(StateLayout.CR4) | ControlRegisters.CR4_TSD);
      g.user();
      g.code(Assembler::rdtsc);
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(List.of(), g.machine.exits(VcpuExit.TSC));
    }
  }

  // ---- control and debug registers ----

  private static void raises(final int vector, final Consumer<Assembler> program) {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      final long cr0 = g.machine.get(StateLayout.CR0);
      final long cr4 = g.machine.get(StateLayout.CR4);
      g.code(program);
      assertEquals(vector, g.runToHandler());
      assertEquals(cr0, g.machine.get(StateLayout.CR0));
      assertEquals(cr4, g.machine.get(StateLayout.CR4));
      assertEquals(TABLES, g.machine.get(StateLayout.CR3));
      assertEquals(List.of(), g.machine.exits(VcpuExit.CR));
    }
  }

  private static Consumer<Assembler> moveTo(final Register target, final long value) {
    return a -> {
      a.mov(Register.RAX, value);
      a.mov(target, Register.RAX);
    };
  }

  @Test
  void shouldRaiseProtectionFaultWhenAControlRegisterCannotTakeTheValue() {
    final long on = ControlRegisters.CR0_PE | ControlRegisters.CR0_PG;
    raises(Vector.GP, moveTo(Register.CR0, ControlRegisters.CR0_PG));
    raises(Vector.GP, moveTo(Register.CR0, ControlRegisters.CR0_PE));
    raises(Vector.GP, moveTo(Register.CR0, on | ControlRegisters.CR0_NW));
    raises(Vector.GP, moveTo(Register.CR0, on | 1L << 32));
    raises(Vector.GP, moveTo(Register.CR3, 1L << 40));
    raises(Vector.GP, moveTo(Register.CR4, 0));
    raises(Vector.GP, moveTo(Register.CR4, ControlRegisters.CR4_PAE | 1L << 31));
    raises(Vector.GP, moveTo(Register.CR4, ControlRegisters.CR4_PAE | ControlRegisters.CR4_LA57));
    raises(Vector.GP, moveTo(Register.CR8, 16));
    raises(Vector.GP, moveTo(Register.DR7, 1L << 32));
    raises(Vector.GP, moveTo(Register.DR6, 1L << 40));
    raises(
        Vector.GP,
        a -> {
          // Long mode cannot be switched off under paging.
          a.mov(Register.ECX, Msr.EFER);
          a.xor(Register.EAX, Register.EAX);
          a.xor(Register.EDX, Register.EDX);
          a.wrmsr();
        });
  }

  @Test
  void shouldRaiseUndefinedWhenThereIsNoSuchRegister() {
    // MOV CR1, EAX; MOV CR5, EAX; MOV DR8, RAX (by REX.R).
    for (final int[] bytes :
        new int[][] {{0x0F, 0x22, 0xC8}, {0x0F, 0x22, 0xE8}, {0x44, 0x0F, 0x23, 0xC0}}) {
      raises(Vector.UD, a -> a.db(bytes));
    }
  }

  @Test
  void shouldKnowDebugRegistersFourAndFiveUnlessExtensionsAreOn() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.code(
          a -> {
            a.mov(Register.RAX, Register.DR4);
            a.mov(Register.RBX, Register.DR7);
            a.mov(Register.RCX, Register.CR4);
            a.or(Register.RCX, ControlRegisters.CR4_DE);
            a.mov(Register.CR4, Register.RCX);
            a.mov(Register.RDX, Register.DR5);
          });
      assertEquals(Vector.UD, g.runToHandler());
      assertEquals(0xFFFF_0FF0L, g.machine.reg(Register.RAX));
      assertEquals(0x400, g.machine.reg(Register.RBX));
    }
  }

  @Test
  void shouldRefuseLongModeWhenSomethingOfItIsMissing() {
    // No PAE; a CS with L set; a TSS of 16 bits.
    for (int i = 0; i < 3; i++) {
      try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
        g.machine.set(StateLayout.EFER, ControlRegisters.EFER_LME);
        g.machine.set(StateLayout.CR4, i == 0 ? 0 : ControlRegisters.CR4_PAE);
        g.machine.set(StateLayout.CR3, TABLES);
        if (i == 1) {
          g.machine.segment(Seg.CS, CODE0, g.gdt(CODE0) | 1L << 53);
        } else if (i == 2) {
          g.machine.segment(Seg.TR, BareGuest.TASK, BareGuest.descriptor(BareGuest.TSS, 43, 0x83));
        }
        g.machine.stateChanged();
        g.code(
            a -> {
              a.mov(Register.EAX, Register.CR0);
              a.bts(Register.EAX, 31);
              a.mov(Register.CR0, Register.EAX);
            });
        assertEquals(Vector.GP, g.runToHandler());
        assertEquals(0, g.machine.get(StateLayout.CR0) & ControlRegisters.CR0_PG);
        assertEquals(ControlRegisters.EFER_LME, g.machine.get(StateLayout.EFER));
      }
    }
  }

  @Test
  void shouldSetButNotClearPeByLmsw() {
    try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
      g.code(
          a -> {
            a.mov(Register.EAX, 0x8);
            a.lmsw(Register.AX);
            a.smsw(Register.EBX);
            a.clts();
            a.mov(Register.ECX, Register.CR0);
            a.hlt();
          });
      g.runToEnd();
      assertEquals(
          ControlRegisters.CR0_PE | ControlRegisters.CR0_TS, g.machine.reg(Register.RBX) & 0xF);
      assertEquals(ControlRegisters.CR0_PE, g.machine.reg(Register.RCX) & 0xF);
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldGiveNoticeAfterTheInstruction(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.code(
          a -> {
            a.nop();
            a.mov(Register.RAX, Register.CR3);
            a.mov(Register.CR3, Register.RAX);
            a.invlpg(Memory.absolute(DATA));
            a.mov(Register.EAX, 5);
            a.mov(Register.CR8, Register.RAX);
            a.hlt();
          });
      g.runToEnd();
      final List<Exit> notices =
          g.machine.exits.stream().filter(e -> e.reason() != VcpuExit.PAGE_FAULT).toList();
      assertEquals(
          List.of(VcpuExit.CR, VcpuExit.INVLPG, VcpuExit.CR, VcpuExit.HLT),
          notices.stream().map(Exit::reason).toList());
      assertEquals(CODE + 1 + 3, notices.getFirst().rip(), "rip names the instruction");
      assertEquals(3, notices.getFirst().retired(), "which has retired");
      assertEquals(3, notices.getFirst().address());
      assertEquals(TABLES, notices.getFirst().value());
      assertEquals(DATA, notices.get(1).address());
      assertEquals(8, notices.get(2).address());
      assertEquals(5, notices.get(2).value());
      assertEquals(7, g.machine.retired());
    }
  }

  @Test
  void shouldShowTheBytesOfTheInstructionThatExits() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      // Across two pages: IN AL, 0x70 with REX prefix, the port on the second page.
      final long page = CODE + 0x1000;
      final byte[] code = {0x48, (byte) 0xE4, 0x70, (byte) 0xF4};
      g.machine.memory.write(page - 2, code, 0, code.length);
      g.machine.set(StateLayout.RIP, page - 2);
      assertEquals(VcpuExit.PIO, g.machine.enterOnce(BareMachine.NO_LIMIT));
      final VcpuExit exit = g.machine.vcpu.exit();
      assertEquals(3, exit.instructionLength);
      for (int i = 0; i < 3; i++) {
        assertEquals(code[i], exit.instruction[i]);
      }
      g.runToEnd();
    }
  }

  // ---- counting and limits ----

  /** A program with all that leaves, faults and restarts. */
  private static BareGuest mixed(final MmuKind mmu) {
    final BareGuest g = BareGuest.long64(mmu);
    final long lazy = 0x40_0000;
    // #PF and #UD have handlers that mend and go on, not those that halt.
    final Assembler handlers = new Assembler(8, CODE + 0x800);
    handlers.mov(Register.R15, RIGHTS | lazy);
    handlers.mov(Memory.absolute(g.entryAddress(lazy)), Register.R15);
    handlers.add(Register.RSP, 8);
    handlers.iretq();
    handlers.org(CODE + 0x900);
    handlers.add(Memory.at(Register.RSP).asQword(), 2);
    handlers.iretq();
    handlers.org(CODE + 0xA00);
    handlers.inc(Memory.absolute(DATA + 0x800).asDword());
    handlers.iretq();
    g.machine.load(handlers, CODE + 0x800);
    g.gate(Vector.PF, 0x8E, CODE0, CODE + 0x800, 0);
    g.gate(Vector.UD, 0x8E, CODE0, CODE + 0x900, 0);
    g.gate(Vector.DB, 0x8E, CODE0, CODE + 0xA00, 0);
    g.gate(0x80, 0x8E, CODE0, CODE + 0xA00, 0);
    g.entry(lazy, 0);
    g.code(
        a -> {
          final Label again = a.label();
          final Label patched = a.label();
          a.mov(Register.R12D, 5);
          a.bind(again);
          a.mov(Register.ECX, 40);
          a.mov(Register.EDI, DATA);
          a.mov(Register.EAX, Register.R12D);
          a.rep();
          a.stos(4);
          a.mov(Register.RBX, Memory.absolute(lazy + 8));
          a.add(Register.RBX, Register.R12);
          a.mov(Memory.absolute(lazy + 8), Register.RBX);
          a.ud2();
          a.interrupt(0x80);
          a.in(Register.AL, 0x60);
          a.add(Memory.absolute(MMIO + 4), Register.EAX);
          a.rdtsc();
          a.xor(Register.R9, Register.RAX);
          a.lea(Register.RSI, Memory.rip(patched));
          a.mov(Memory.at(Register.RSI, 1).asByte(), 3);
          a.bind(patched);
          a.mov(Register.AL, 1);
          a.add(Register.R10B, Register.AL);
          a.mov(Memory.at(Register.RSI, 1).asByte(), 1);
          a.push(Flags.TF);
          a.popf();
          a.inc(Register.R11);
          a.push(0);
          a.popf();
          a.sti();
          a.cli();
          a.mov(Register.RAX, Register.CR3);
          a.mov(Register.CR3, Register.RAX);
          a.mov(Register.R15, 0);
          a.mov(Memory.absolute(g.entryAddress(lazy)), Register.R15);
          a.invlpg(Memory.absolute(lazy));
          a.dec(Register.R12D);
          a.jcc(Condition.NE, again);
          a.hlt();
        });
    return g;
  }

  private static byte[] stateOf(final BareGuest g) {
    final byte[] state = new byte[StateLayout.FPU_REGISTERS];
    HostMemory.copyOut(g.machine.state, state, 0, state.length);
    // Lazy flags have several forms of one value; scratch and the last block mean nothing.
    for (int i = StateLayout.FLAG_RESULT; i < StateLayout.RETIRED; i++) {
      state[i] = 0;
    }
    for (int i = StateLayout.BLOCK_RIP; i < StateLayout.SEGMENTS; i++) {
      state[i] = 0;
    }
    return state;
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldEndInTheSameStateWhateverTheLimits(final MmuKind mmu) {
    final byte[] expectedState;
    final byte[] expectedMemory;
    final long expectedFlags;
    final List<Access> expectedAccesses;
    final long count;
    try (BareGuest g = mixed(mmu)) {
      g.runToEnd();
      expectedState = stateOf(g);
      expectedMemory = g.bytes(0, 0x50_0000);
      expectedFlags = g.flags();
      count = g.machine.retired();
      expectedAccesses = accesses(g, VcpuExit.MMIO);
      assertEquals(10, expectedAccesses.size());
      assertTrue(count > 5 * 30);
    }
    for (final int step : new int[] {1, 2, 3, 7}) {
      try (BareGuest g = mixed(mmu)) {
        long limit = step;
        int reason = g.machine.run(limit);
        while (reason == VcpuExit.LIMIT) {
          assertEquals(limit, g.machine.retired());
          limit += step;
          reason = g.machine.run(limit);
        }
        assertEquals(VcpuExit.HLT, reason);
        assertEquals(count, g.machine.retired());
        assertArrayEquals(expectedState, stateOf(g), "step " + step);
        assertEquals(expectedFlags, g.flags());
        assertArrayEquals(expectedMemory, g.bytes(0, 0x50_0000), "step " + step);
        assertEquals(expectedAccesses, accesses(g, VcpuExit.MMIO));
      }
    }
  }

  @Test
  void shouldAgreeOnStateAndCountWhicheverTheMmu() {
    final List<byte[]> states = new ArrayList<>();
    for (final MmuKind mmu : MmuKind.values()) {
      try (BareGuest g = mixed(mmu)) {
        g.runToEnd();
        states.add(stateOf(g));
      }
    }
    assertArrayEquals(states.get(0), states.get(1));
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2, 5, 9, 10})
  void shouldStopExactlyAtTheLimitWhenItFallsInsideABlock(final int limit) {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.code(
          a -> {
            for (int i = 0; i < 10; i++) {
              a.inc(Register.EBX);
            }
            a.hlt();
          });
      assertEquals(VcpuExit.LIMIT, g.machine.run(limit));
      assertEquals(limit, g.machine.reg(Register.RBX));
      assertEquals(limit, g.machine.retired());
      assertEquals(CODE + 2L * limit, g.machine.rip());
      assertEquals(VcpuExit.LIMIT, g.machine.run(limit), "and goes no further");
      assertEquals(limit, g.machine.retired());
      g.runToEnd();
      assertEquals(11, g.machine.retired());
    }
  }

  @Test
  void shouldCountOnlyWhatCompletedWhenAnInstructionInsideABlockFaults() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.entry(DATA, 0);
      g.code(
          a -> {
            a.inc(Register.EBX);
            a.inc(Register.EBX);
            a.mov(Register.EAX, Memory.absolute(DATA));
            a.inc(Register.EBX);
            a.hlt();
          });
      assertEquals(Vector.PF, g.runToHandler());
      assertEquals(2 + 1, g.machine.retired());
      assertEquals(CODE + 4, g.stack(1));
      assertEquals(2, g.machine.reg(Register.RBX));
    }
  }

  // ---- kicks ----

  @Test
  void shouldLeaveAtOnceWhenKickedBeforeTheEntry() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.code(a -> a.jmp(a.here()));
      g.machine.vcpu.kick();
      assertEquals(VcpuExit.KICK, g.machine.run());
      assertEquals(0, g.machine.retired());
      assertEquals(VcpuExit.LIMIT, g.machine.run(100), "one kick, one exit");
    }
  }

  @Test
  void shouldLeaveWhenAnotherThreadKicks() throws InterruptedException {
    try (BareGuest g = BareGuest.long64(MmuKind.SHADOW)) {
      g.code(
          a -> {
            final Label again = a.here();
            a.inc(Memory.absolute(DATA).asDword());
            a.jmp(again);
          });
      final GuestMemory memory = g.machine.memory;
      final Thread other =
          new Thread(
              () -> {
                // Until the guest is seen to run.
                while (memory.read32(DATA) == 0) {
                  Thread.onSpinWait();
                }
                g.machine.vcpu.kick();
              });
      other.start();
      assertEquals(VcpuExit.KICK, g.machine.run());
      other.join();
      assertTrue(memory.read32(DATA) > 0);
      assertEquals(
          2L * memory.read32(DATA) - (g.machine.rip() == CODE ? 0 : 1), g.machine.retired());
    }
  }

  @Test
  void shouldLeaveARepeatedStringWhenKickedAndGoOnWithIt() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.machine.reg(Register.RSI, DATA);
      g.machine.reg(Register.RCX, 1L << 40);
      g.code(
          a -> {
            a.rep();
            a.outs(1);
            a.hlt();
          });
      for (int i = 0; i < 5; i++) {
        int reason = g.machine.enterOnce(BareMachine.NO_LIMIT);
        assertEquals(VcpuExit.PIO, reason);
        g.machine.vcpu.kick();
        reason = g.machine.enterOnce(BareMachine.NO_LIMIT);
        assertEquals(VcpuExit.KICK, reason);
        assertEquals(CODE, g.machine.rip());
        assertEquals(0, g.machine.retired());
      }
      g.machine.reg(Register.RCX, 1);
      g.runToEnd();
      assertFalse(g.machine.exits(VcpuExit.PIO).isEmpty());
    }
  }

  @Test
  void shouldKeepTheAnswerWhenAKickComesBeforeTheInstructionCompletes() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.code(
          a -> {
            a.mov(Register.EAX, 0);
            a.cpuid();
            a.hlt();
          });
      assertEquals(VcpuExit.CPUID, g.machine.enterOnce(BareMachine.NO_LIMIT));
      g.machine.vcpu.kick();
      assertEquals(VcpuExit.KICK, g.machine.enterOnce(BareMachine.NO_LIMIT));
      assertFalse(g.machine.vcpu.interruptible());
      g.runToEnd();
      assertEquals(0x756E_6547, g.machine.reg(Register.RBX));
      assertEquals(1, g.machine.exits(VcpuExit.CPUID).size());
    }
  }

  @Test
  void shouldTellTheModeOfEachKind() {
    try (BareGuest g = BareGuest.real(MmuKind.NESTED)) {
      assertEquals(2, g.machine.vcpu.mode());
    }
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      assertEquals(8 | ExitEvent.MODE_PAGING, g.machine.vcpu.mode());
      g.user();
      assertEquals(
          8 | ExitEvent.MODE_PAGING | 3 << ExitEvent.MODE_CPL_SHIFT, g.machine.vcpu.mode());
    }
  }

  @Test
  void shouldHaltInHandlersForAllVectorsWhenInjected() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.code(a -> a.jmp(a.here()));
      for (int vector = 32; vector < 256; vector += 37) {
        g.flags(Flags.IF);
        assertTrue(g.machine.vcpu.interruptible());
        g.machine.vcpu.injectInterrupt(vector);
        assertEquals(vector, g.runToHandler());
        assertEquals(handler(vector), g.machine.vcpu.exit().rip);
        assertEquals(VcpuExit.LIMIT, g.machine.run(g.machine.retired() + 1));
        assertEquals(CODE, g.machine.rip());
        assertEquals(STACK, g.machine.reg(Register.RSP));
      }
    }
  }
}
