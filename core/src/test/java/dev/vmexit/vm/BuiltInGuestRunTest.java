package dev.vmexit.vm;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.boot.BuiltInGuest;
import dev.vmexit.boot.FlatLoader;
import dev.vmexit.boot.ImageFile;
import dev.vmexit.exit.NullExitSink;
import dev.vmexit.memory.GuestMemory;
import java.util.List;
import org.agrona.concurrent.SystemNanoClock;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The built-in guest on the whole machine. */
final class BuiltInGuestRunTest {
  @ParameterizedTest
  @CsvSource({"SHADOW,VIRTUAL", "SHADOW,HOST", "NESTED,VIRTUAL", "NESTED,HOST"})
  void shouldPassItsChecksAndPowerOffWhenRun(
      final VirtualMachine.MmuKind mmu, final VirtualMachine.ClockKind clock) {
    final StringBuilder console = new StringBuilder();
    try (GuestMemory memory = GuestMemory.builder().ramWithHole(BuiltInGuest.MEMORY_SIZE).build()) {
      final BootEntry entry =
          FlatLoader.load(
              memory,
              ImageFile.of("kernel", "built-in guest", BuiltInGuest.image()),
              BuiltInGuest.LOAD_ADDRESS,
              BootEntry.Mode.REAL16);
      final VirtualMachine.Options options =
          new VirtualMachine.Options(
              mmu,
              clock,
              0,
              b -> console.append((char) b),
              b -> {},
              false,
              SystemNanoClock.INSTANCE);
      try (VirtualMachine machine =
          new VirtualMachine(memory, entry, options, new NullExitSink())) {
        final RunResult result = machine.run();
        assertEquals(RunEnd.POWER_OFF, result.end(), () -> console + "\n" + machine.lastExits());
      }
    }
    assertEquals(
        List.of(
            "vmexit built-in guest: real, protected, long mode",
            "cpu: GenuineIntel",
            "local APIC: id 0, version 14",
            "IOAPIC: highest pin 17",
            "timer: 5 ticks",
            "demand paging: 2 faults",
            "address spaces: 2",
            "sum of 1 to 100000: 12a06b550",
            "CRC-32 of 123456789: cbf43926",
            "CRC-32 of 16 KiB: 8802f2b1",
            "all checks passed",
            "powering off"),
        console.toString().lines().toList());
  }
}
