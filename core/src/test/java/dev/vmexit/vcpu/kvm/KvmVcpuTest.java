package dev.vmexit.vcpu.kvm;

import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.AX;
import static dev.vmexit.x86.encode.Register.DX;
import static dev.vmexit.x86.encode.Register.EAX;
import static dev.vmexit.x86.encode.Register.EBX;
import static dev.vmexit.x86.encode.Register.ECX;
import static dev.vmexit.x86.encode.Register.EDI;
import static dev.vmexit.x86.encode.Register.ESI;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The vCPU on this host's own /dev/kvm. */
@Timeout(value = 300, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
final class KvmVcpuTest {
  private static final long NO_SLOT = 0xD000_0000L;

  /** Kicks of the stress test. */
  private static final int KICKS = Integer.getInteger("vmexit.kicks", 2_000);

  @TempDir private Path folder;

  @BeforeAll
  static void needsKvm() {
    Kvm.assume();
  }

  /** Enters until something else than an instruction limit. */
  private static int enter(final BareKvm guest) {
    int reason;
    do {
      reason = guest.vcpu.enter(Long.MAX_VALUE);
    } while (reason == VcpuExit.LIMIT);
    return reason;
  }

  private static byte[] instruction(final BareKvm guest) {
    final VcpuExit exit = guest.vcpu.exit();
    return Arrays.copyOf(exit.instruction, exit.instructionLength);
  }

  @ParameterizedTest
  @EnumSource(BootEntry.Mode.class)
  void shouldExitOnPortsAndHltInEachMode(final BootEntry.Mode mode) {
    try (BareKvm guest =
        new BareKvm(
            mode,
            a -> {
              a.mov(EAX, 0x1234_5678);
              a.mov(DX, 0x3F8);
              a.out(DX, AL);
              a.out(DX, AX);
              a.out(DX, EAX);
              a.in(AL, DX);
              a.mov(EBX, EAX);
              a.hlt();
            })) {
      final long[] values = {0x78, 0x5678, 0x1234_5678};
      final long start = mode == BootEntry.Mode.REAL16 ? 0x1000 : BareKvm.ADDRESS;
      long rip = -1;
      for (int i = 0; i < 3; i++) {
        assertEquals(VcpuExit.PIO, enter(guest));
        final VcpuExit exit = guest.vcpu.exit();
        assertEquals(0x3F8, exit.address);
        assertEquals(1 << i, exit.size);
        assertEquals(values[i], exit.value);
        assertTrue(exit.write);
        assertEquals(0xEE | (i > 0 ? 1 : 0), instruction(guest)[exit.instructionLength - 1] & 0xFF);
        assertTrue(rip < 0 || exit.rip > rip && exit.rip <= rip + 2, "each at its own rip");
        rip = exit.rip;
      }
      assertTrue(rip > 0 && rip < start + 0x20);
      assertEquals(VcpuExit.PIO, enter(guest));
      assertEquals(false, guest.vcpu.exit().write);
      guest.vcpu.exit().value = 0xAB;
      assertEquals(VcpuExit.HLT, enter(guest));
      assertEquals(0x1234_56AB, guest.register(Gpr.RBX));
      assertArrayEquals(new byte[] {(byte) 0xF4}, instruction(guest));
    }
  }

  @Test
  void shouldTellEachItemWhenAStringGoesToAPort() {
    try (BareKvm guest =
        new BareKvm(
            BootEntry.Mode.LONG64,
            a -> {
              a.mov(ESI, (int) BareKvm.ADDRESS);
              a.mov(ECX, 5);
              a.mov(DX, 0x80);
              a.cld();
              a.rep();
              a.outs(2);
              a.mov(EDI, 0x20_0000);
              a.mov(ECX, 3);
              a.rep();
              a.ins(4);
              a.hlt();
            })) {
      for (int i = 0; i < 5; i++) {
        assertEquals(VcpuExit.PIO, enter(guest));
        assertEquals(2, guest.vcpu.exit().size);
        assertEquals(guest.memory.read16(BareKvm.ADDRESS + 2L * i), guest.vcpu.exit().value);
        assertEquals(0x6F, instruction(guest)[guest.vcpu.exit().instructionLength - 1]);
      }
      for (int i = 0; i < 3; ) {
        assertEquals(VcpuExit.PIO, enter(guest));
        final VcpuExit exit = guest.vcpu.exit();
        assertEquals(4, exit.size);
        exit.value = 0x1000 + i;
        for (int at = 0; at < exit.count; at++, i++) {
          exit.data[4 * at] = (byte) i;
          exit.data[4 * at + 1] = 0x10;
          exit.data[4 * at + 2] = 0;
          exit.data[4 * at + 3] = 0;
        }
      }
      assertEquals(VcpuExit.HLT, enter(guest));
      for (int i = 0; i < 3; i++) {
        assertEquals(0x1000 + i, guest.memory.read32(0x20_0000 + 4L * i));
      }
    }
  }

  @Test
  void shouldShutDownWhenTheGuestHasNoIdt() {
    try (BareKvm guest = new BareKvm(BootEntry.Mode.LONG64, a -> a.ud2())) {
      int reason = enter(guest);
      while (reason == VcpuExit.FINISHED) {
        reason = enter(guest);
      }
      assertEquals(VcpuExit.SHUTDOWN, reason);
    }
  }

  /** POPCNT, SSE arithmetic and x87 fail in KVM's own emulator; on hardware they never exit. */
  @Test
  void shouldComputeRightWhenKvmCannotEmulate() {
    try (BareKvm guest =
        new BareKvm(
            BootEntry.Mode.LONG64,
            a -> {
              a.mov(EAX, 0xF0F0_1234);
              // popcnt ebx, eax
              bytes(a, 0xF3, 0x0F, 0xB8, 0xD8);
              // cr4.osfxsr, for SSE
              bytes(a, 0x0F, 0x20, 0xE0, 0x0D, 0, 6, 0, 0, 0x0F, 0x22, 0xE0);
              // mov eax, 3; cvtsi2sd xmm0, eax; addsd xmm0, xmm0; mulsd xmm0, xmm0
              bytes(a, 0xB8, 3, 0, 0, 0, 0xF2, 0x0F, 0x2A, 0xC0);
              bytes(a, 0xF2, 0x0F, 0x58, 0xC0, 0xF2, 0x0F, 0x59, 0xC0);
              // cvttsd2si ecx, xmm0
              bytes(a, 0xF2, 0x0F, 0x2C, 0xC8);
              // fninit; fldpi; fld1; faddp; fistp dword [0x200000]
              bytes(a, 0xDB, 0xE3, 0xD9, 0xEB, 0xD9, 0xE8, 0xDE, 0xC1);
              bytes(a, 0xDB, 0x1C, 0x25, 0, 0, 0x20, 0);
              a.hlt();
            })) {
      int reason = enter(guest);
      while (reason == VcpuExit.FINISHED) {
        assertTrue(guest.vcpu.exit().instructionLength > 0);
        reason = enter(guest);
      }
      assertEquals(VcpuExit.HLT, reason, guest.vcpu::failure);
      assertEquals(Integer.bitCount(0xF0F0_1234), guest.register(Gpr.RBX));
      assertEquals(36, guest.register(Gpr.RCX));
      assertEquals(4, guest.memory.read32(0x20_0000));
    }
  }

  private static void bytes(final Assembler a, final int... values) {
    for (final int value : values) {
      a.db(value);
    }
  }

  /** Even the bus answers an instruction that only the interpreter can do. */
  @Test
  void shouldAskTheBusWhenAFinishedInstructionTouchesNoSlot() {
    try (BareKvm guest =
        new BareKvm(
            BootEntry.Mode.LONG64,
            a -> {
              a.mov(EDI, NO_SLOT);
              // popcnt ebx, [rdi]
              bytes(a, 0xF3, 0x0F, 0xB8, 0x1F);
              a.hlt();
            })) {
      int reason = enter(guest);
      assertEquals(VcpuExit.MMIO, reason, guest.vcpu::failure);
      assertEquals(NO_SLOT, guest.vcpu.exit().address);
      assertEquals(4, guest.vcpu.exit().size);
      guest.vcpu.exit().value = 0xFF;
      do {
        reason = enter(guest);
      } while (reason == VcpuExit.FINISHED);
      assertEquals(VcpuExit.HLT, reason);
      assertEquals(8, guest.register(Gpr.RBX));
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void shouldAnswerEveryKickWhenTheGuestNeverStops(final boolean withExits) throws Exception {
    final Consumer<Assembler> code =
        a -> {
          final Label again = a.here();
          if (withExits) {
            a.out(0x80, AL);
            a.mov(EDI, NO_SLOT);
            a.mov(EAX, Memory.at(dev.vmexit.x86.encode.Register.RDI));
          }
          a.jmp(again);
        };
    try (BareKvm guest = new BareKvm(BootEntry.Mode.LONG64, code)) {
      answerEveryKick(guest);
    }
  }

  /** It sleeps inside the kernel, or is about to. */
  @Test
  void shouldAnswerEveryKickWhenTheGuestIsHaltedInTheKernel() throws Exception {
    final Consumer<Assembler> code =
        a -> {
          final Label again = a.here();
          a.sti();
          a.hlt();
          a.jmp(again);
        };
    try (BareKvm guest = BareKvm.withKernelIrqchip(BootEntry.Mode.LONG64, code)) {
      answerEveryKick(guest);
    }
  }

  /** Every kick is answered though it may come at any moment of entry and exit. */
  private static void answerEveryKick(final BareKvm guest) throws InterruptedException {
    final int rounds = KICKS;
    final AtomicInteger kicked = new AtomicInteger();
    final AtomicInteger answered = new AtomicInteger();
    final AtomicInteger late = new AtomicInteger();
    final List<Throwable> troubles = new ArrayList<>();
    final Thread thread =
        new Thread(
            () -> {
              try {
                while (answered.get() < rounds) {
                  final int asked = kicked.get();
                  if (guest.vcpu.enter(Long.MAX_VALUE) == VcpuExit.KICK) {
                    answered.incrementAndGet();
                  } else if (asked > answered.get()) {
                    // Kicked before this entry, and yet it was something else.
                    late.incrementAndGet();
                  }
                }
              } catch (final Throwable e) {
                troubles.add(e);
              }
            },
            "vcpu0");
    thread.start();
    for (int i = 0; i < rounds && thread.isAlive(); i++) {
      // At once the vCPU is still outside, later it is just entering, or in the guest.
      for (int wait = i & 0xFF; wait > 0; wait--) {
        Thread.onSpinWait();
      }
      guest.vcpu.kick();
      kicked.set(i + 1);
      while (answered.get() <= i && thread.isAlive()) {
        Thread.onSpinWait();
      }
    }
    thread.join();
    assertEquals(List.of(), troubles);
    assertEquals(rounds, answered.get());
    assertEquals(0, late.get(), "an entry after the kick is the kick's");
  }

  /** No wake-up of the timer is lost though it may fire at any moment of entry and exit. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void shouldLeaveAtEachDeadlineWhenTheyAreShort(final boolean withExits) {
    final Consumer<Assembler> code =
        a -> {
          final Label again = a.here();
          if (withExits) {
            a.out(0x80, AL);
          }
          a.jmp(again);
        };
    try (BareKvm guest = new BareKvm(BootEntry.Mode.LONG64, code)) {
      for (int i = 0; i < KICKS; i++) {
        // From none to some tens of microseconds: before, in and behind the entry.
        final long now = i * 100_000L;
        guest.vcpu.deadline(now + i % 64 * 700L, now);
        int reason;
        do {
          reason = guest.vcpu.enter(Long.MAX_VALUE);
        } while (reason == VcpuExit.PIO);
        assertEquals(VcpuExit.LIMIT, reason, guest.vcpu::failure);
      }
    }
  }

  /** Who kicks does not know that the vCPU is gone; its page is unmapped, or another one's. */
  @Test
  void shouldTouchNothingOfAClosedVcpuWhenKicksStillCome() throws Exception {
    final AtomicReference<BareKvm> current = new AtomicReference<>();
    final AtomicBoolean through = new AtomicBoolean();
    final AtomicInteger kicks = new AtomicInteger();
    final Thread kicker =
        new Thread(
            () -> {
              while (!through.get()) {
                final BareKvm guest = current.get();
                if (guest != null) {
                  guest.vcpu.kick();
                  guest.vcpu.call();
                  kicks.incrementAndGet();
                }
              }
            });
    kicker.start();
    try {
      for (int i = 0; i < 200; i++) {
        try (BareKvm guest = new BareKvm(BootEntry.Mode.LONG64, a -> a.jmp(a.here()))) {
          guest.vcpu.deadline(1, 0);
          final int before = kicks.get();
          current.set(guest);
          int reason;
          do {
            reason = guest.vcpu.enter(Long.MAX_VALUE);
          } while (kicks.get() == before);
          assertTrue(reason == VcpuExit.KICK || reason == VcpuExit.LIMIT, guest.vcpu::failure);
        }
      }
    } finally {
      through.set(true);
      kicker.join();
    }
  }

  /** A call that nobody wanted anything by ends one entry, as a mere limit does. */
  @Test
  void shouldMakeNothingOfAWakeUpThatComesLate() {
    try (BareKvm guest = new BareKvm(BootEntry.Mode.LONG64, a -> twoPorts(a))) {
      assertEquals(VcpuExit.PIO, guest.vcpu.enter(Long.MAX_VALUE));
      guest.vcpu.call();
      assertEquals(VcpuExit.LIMIT, guest.vcpu.enter(Long.MAX_VALUE));
      assertEquals(VcpuExit.PIO, guest.vcpu.enter(Long.MAX_VALUE));
      assertEquals(0x81, guest.vcpu.exit().address);
    }
  }

  private static void twoPorts(final Assembler a) {
    a.out(0x80, AL);
    a.out(0x81, AL);
  }

  @Test
  void shouldLeaveTheSignalsOfOthersAlone() throws IOException {
    try (BareKvm guest = new BareKvm(BootEntry.Mode.LONG64, a -> a.hlt())) {
      assertEquals(VcpuExit.HLT, enter(guest));
    }
    final long caught = signals("SigCgt:");
    assertTrue((caught >> WakeSignal.number() - 1 & 1) != 0, "ours has a handler");
    assertEquals(0, signals("SigIgn:") >> 33, "no real-time signal is ignored");
    assertTrue(Libc.hasSignalAction(WakeSignal.number()));
    // SIGUSR2, by which HotSpot stops its threads.
    assertTrue(Libc.hasSignalAction(12));
  }

  private static long signals(final String line) throws IOException {
    try (Stream<String> lines = Files.lines(Path.of("/proc/self/status"))) {
      final String mask = lines.filter(l -> l.startsWith(line)).findFirst().orElseThrow();
      return Long.parseUnsignedLong(mask.substring(line.length()).strip(), 16);
    }
  }

  @Test
  void shouldLeaveAtItsDeadlineWhenTheGuestNeverStops() {
    try (BareKvm guest = new BareKvm(BootEntry.Mode.LONG64, a -> a.jmp(a.here()))) {
      for (int i = 1; i <= 20; i++) {
        final long before = System.nanoTime();
        guest.vcpu.deadline(i * 1_000_000L, (i - 1) * 1_000_000L);
        assertEquals(VcpuExit.LIMIT, guest.vcpu.enter(Long.MAX_VALUE));
        assertTrue(System.nanoTime() - before >= 900_000);
      }
    }
  }

  @Test
  void shouldKeepNoDescriptorAndNoMappingWhenAThousandVmsComeAndGo() throws IOException {
    create(10);
    final long descriptors = descriptors();
    final long pages = sharedPages();
    final long size = addressSpace();
    create(1_000);
    assertEquals(descriptors, descriptors());
    assertEquals(pages, sharedPages());
    // A quarter of what the guest memories were.
    assertTrue(addressSpace() - size < 1_000 * BareKvm.MEMORY / 4, "guest memory stays mapped");
    try (BareKvm guest = new BareKvm(BootEntry.Mode.LONG64, a -> a.hlt())) {
      assertEquals(pages + 1, sharedPages(), "the page of a vCPU is seen");
      assertEquals(VcpuExit.HLT, enter(guest));
    }
  }

  /** Mappings that this process shares with KVM. */
  private static long sharedPages() throws IOException {
    try (Stream<String> maps = Files.lines(Path.of("/proc/self/maps"))) {
      return maps.filter(line -> line.contains("kvm-vcpu")).count();
    }
  }

  private static long addressSpace() throws IOException {
    // Its first number: pages of 4 KiB.
    return Long.parseLong(Files.readString(Path.of("/proc/self/statm")).split(" ", 2)[0]) << 12;
  }

  private static void create(final int count) {
    for (int i = 0; i < count; i++) {
      try (BareKvm guest = new BareKvm(BootEntry.Mode.LONG64, a -> a.hlt())) {
        if (i % 100 == 0) {
          assertEquals(VcpuExit.HLT, enter(guest));
        }
      }
    }
  }

  private static long descriptors() throws IOException {
    try (Stream<Path> open = Files.list(Path.of("/proc/self/fd"))) {
      return open.count();
    }
  }

  @Test
  void shouldSayInOneLineWhyWhenTheDeviceCannotBeUsed() throws IOException {
    final Path file = folder.resolve("nothing");
    assertSays(file, "does not exist");
    Files.createFile(file);
    assertSays(file, "is no KVM device");
  }

  private static void assertSays(final Path device, final String words) {
    final String message =
        assertThrows(KvmUnavailableException.class, () -> KvmSystem.open(device.toString()).close())
            .getMessage();
    assertTrue(message.contains(words) && message.contains(device.toString()), message);
    assertEquals(1, message.lines().count());
  }

  @Test
  void shouldNameWhatIsAllowedWhenAVcpuNumberIsTooHigh() {
    try (BareKvm guest = new BareKvm(BootEntry.Mode.LONG64, a -> a.hlt())) {
      final String message =
          assertThrows(
                  KvmUnavailableException.class,
                  () -> guest.vm.createVcpu(1_000_000, guest.memory, guest.vcpu, null))
              .getMessage();
      assertTrue(message.contains("1000000") && message.contains("allows 0 to"), message);
    }
  }
}
