package dev.vmexit.vm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.boot.FlatLoader;
import dev.vmexit.boot.ImageFile;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitSink;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.vcpu.kvm.Kvm;
import dev.vmexit.vcpu.kvm.KvmUnavailableException;
import dev.vmexit.x86.encode.Assembler;
import java.util.ArrayList;
import java.util.List;
import org.agrona.concurrent.SystemNanoClock;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Two vCPUs in two threads on the host's KVM. */
@Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
final class SmpTest {
  /** One record, as far as looked at. */
  private record Seen(ExitKind kind, int vcpu, long address, long hostTime) {}

  /** Written to by one thread each, read when they have ended. */
  private final List<List<Seen>> records = List.of(new ArrayList<>(), new ArrayList<>());

  @BeforeAll
  static void needsKvm() {
    Kvm.assume();
  }

  private final class Sink implements ExitSink {
    private final List<Seen> list;

    Sink(final int number) {
      list = records.get(number);
    }

    @Override
    public boolean wants(final ExitKind kind) {
      return true;
    }

    @Override
    public void write(final ExitEvent event) {
      list.add(new Seen(event.kind, event.vcpu, event.address, event.hostTime));
    }

    @Override
    public void close() {}
  }

  private VirtualMachine machine(final GuestMemory memory, final byte[] image, final int vcpus) {
    final BootEntry entry =
        FlatLoader.load(
            memory,
            ImageFile.of("kernel", "smp guest", image),
            GoldenGuests.ADDRESS,
            BootEntry.Mode.LONG64);
    final VirtualMachine.Options options =
        new VirtualMachine.Options(
            "max",
            VirtualMachine.MmuKind.NESTED,
            VirtualMachine.ClockKind.HOST,
            0,
            b -> {},
            b -> {},
            true,
            SystemNanoClock.INSTANCE);
    return new VirtualMachine(
        VirtualMachine.Backend.KVM, vcpus, memory, entry, options, Peripherals.NONE, Sink::new);
  }

  private static GuestMemory memory() {
    return GuestMemory.builder().ramWithHole(GoldenGuests.MEMORY_SIZE).build();
  }

  private List<Seen> injections(final int vcpu, final int vector) {
    return records.get(vcpu).stream()
        .filter(seen -> seen.kind() == ExitKind.INJECT && seen.address() == vector)
        .toList();
  }

  @RepeatedTest(3)
  void shouldStartTheSecondProcessorAndCarryInterruptsBothWays() {
    final List<String> threads = new ArrayList<>();
    try (GuestMemory memory = memory();
        VirtualMachine machine = machine(memory, SmpGuest.image(), 2)) {
      SmpGuest.prepare(memory);
      machine.onThread(
          number -> {
            synchronized (threads) {
              threads.add(number + " " + Thread.currentThread().getName());
            }
          });
      final RunResult result = machine.run();
      assertEquals(RunEnd.DEBUG_EXIT, result.end(), () -> result + " " + machine.lastExits());
      assertEquals(2 * SmpGuest.ADDED, memory.read32(SmpGuest.SHARED), "no increment is lost");
      assertEquals(SmpGuest.ROUNDS, memory.read32(SmpGuest.AT_SECOND));
      assertEquals(SmpGuest.ROUNDS, memory.read32(SmpGuest.AT_FIRST));
      assertEquals(1 << 24, memory.read32(SmpGuest.SECOND_ID), "each sees its own local APIC");
    }
    assertTrue(threads.contains("1 vcpu1"), threads::toString);
    assertEquals(2, threads.size());
    for (int vcpu = 0; vcpu < 2; vcpu++) {
      final int number = vcpu;
      assertTrue(records.get(vcpu).stream().allMatch(seen -> seen.vcpu() == number));
    }
    final List<Seen> there = injections(1, SmpGuest.TO_SECOND);
    final List<Seen> back = injections(0, SmpGuest.TO_FIRST);
    assertEquals(SmpGuest.ROUNDS, there.size());
    assertEquals(SmpGuest.ROUNDS, back.size());
    for (int i = 0; i < SmpGuest.ROUNDS; i++) {
      // The record's time is that of the exit before: an answer's can be a round before its cause.
      assertTrue(i == 0 || there.get(i).hostTime() > there.get(i - 1).hostTime());
      assertTrue(i == 0 || back.get(i).hostTime() > back.get(i - 1).hostTime());
    }
    assertEquals(0, injections(0, SmpGuest.TO_SECOND).size());
    assertEquals(0, injections(1, SmpGuest.TO_FIRST).size());
  }

  @Test
  void shouldEndHaltedWhenNobodyIsLeftToWakeAnother() {
    final Assembler a = new Assembler(8, GoldenGuests.ADDRESS);
    a.cli();
    a.hlt();
    try (GuestMemory memory = memory();
        VirtualMachine machine = machine(memory, a.assemble(), 2)) {
      assertEquals(RunEnd.HALTED, machine.run().end());
    }
  }

  @Test
  void shouldStopAllWhenACommandSaysSo() {
    final Assembler a = new Assembler(8, GoldenGuests.ADDRESS);
    a.out(0x80, dev.vmexit.x86.encode.Register.AL);
    a.jmp(a.here());
    try (GuestMemory memory = memory();
        VirtualMachine machine = machine(memory, a.assemble(), 2)) {
      machine.onThread(
          number -> {
            if (number == 1) {
              machine.commands().stop(RunEnd.STOPPED);
            }
          });
      assertEquals(RunEnd.STOPPED, machine.run().end());
    }
  }

  @Test
  void shouldSayInOneLineHowManyVcpusKvmAllows() {
    final Assembler a = new Assembler(8, GoldenGuests.ADDRESS);
    a.hlt();
    try (GuestMemory memory = memory()) {
      final String software =
          assertThrows(
                  IllegalArgumentException.class,
                  () ->
                      new VirtualMachine(
                              VirtualMachine.Backend.SOFT,
                              2,
                              memory,
                              null,
                              null,
                              Peripherals.NONE,
                              Sink::new)
                          .close())
              .getMessage();
      assertEquals("vcpus=2, of the software vCPU allowed: 1", software);
      final Throwable many =
          assertThrows(
              RuntimeException.class, () -> machine(memory, a.assemble(), 100_000).close());
      assertTrue(many instanceof KvmUnavailableException, many::toString);
      assertTrue(many.getMessage().contains("allows 0 to"), many::toString);
    }
  }
}
