package dev.vmexit.vm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.boot.BuiltInGuest;
import dev.vmexit.boot.FlatLoader;
import dev.vmexit.boot.ImageFile;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitSink;
import dev.vmexit.memory.GuestMemory;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.agrona.concurrent.SystemNanoClock;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** The built-in guest on the whole machine. */
final class BuiltInGuestRunTest {
  private final StringBuilder console = new StringBuilder();
  private final List<GoldenMachine.Exit> exits = new ArrayList<>();
  private final Set<Integer> faultOutcomes = new TreeSet<>();

  @ParameterizedTest
  @CsvSource({"SHADOW,VIRTUAL", "SHADOW,HOST", "NESTED,VIRTUAL", "NESTED,HOST"})
  void shouldPassItsChecksAndPowerOffWhenRun(
      final VirtualMachine.MmuKind mmu, final VirtualMachine.ClockKind clock) {
    run(mmu, clock);
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

  @Test
  void shouldMakeEveryKindOfExitWhenMmuIsShadow() {
    run(VirtualMachine.MmuKind.SHADOW, VirtualMachine.ClockKind.VIRTUAL);
    final Set<ExitKind> kinds = EnumSet.noneOf(ExitKind.class);
    exits.forEach(e -> kinds.add(e.kind()));
    assertTrue(
        kinds.containsAll(
            EnumSet.of(
                ExitKind.PIO,
                ExitKind.MMIO,
                ExitKind.PAGE_FAULT,
                ExitKind.CR,
                ExitKind.MSR,
                ExitKind.CPUID,
                ExitKind.HLT,
                ExitKind.INVLPG,
                ExitKind.TSC,
                ExitKind.INJECT)),
        kinds::toString);
    assertEquals(
        Set.of(
            ExitEvent.PF_FILLED,
            ExitEvent.PF_REFLECTED,
            ExitEvent.PF_TABLE_WRITE,
            ExitEvent.PF_NO_SLOT),
        faultOutcomes);
  }

  @ParameterizedTest
  @EnumSource(VirtualMachine.MmuKind.class)
  void shouldMakeTheSameExitsTwiceWhenClockIsVirtual(final VirtualMachine.MmuKind mmu) {
    run(mmu, VirtualMachine.ClockKind.VIRTUAL);
    final List<GoldenMachine.Exit> first = List.copyOf(exits);
    exits.clear();
    run(mmu, VirtualMachine.ClockKind.VIRTUAL);
    assertEquals(first, exits);
  }

  private void run(final VirtualMachine.MmuKind mmu, final VirtualMachine.ClockKind clock) {
    try (GuestMemory memory = GuestMemory.builder().ramWithHole(BuiltInGuest.MEMORY_SIZE).build()) {
      final BootEntry entry =
          FlatLoader.load(
              memory,
              ImageFile.of("kernel", "built-in guest", BuiltInGuest.image()),
              BuiltInGuest.LOAD_ADDRESS,
              BootEntry.Mode.REAL16);
      final VirtualMachine.Options options =
          new VirtualMachine.Options(
              "max",
              mmu,
              clock,
              0,
              b -> console.append((char) b),
              b -> {},
              false,
              SystemNanoClock.INSTANCE);
      try (VirtualMachine machine = new VirtualMachine(memory, entry, options, new Sink())) {
        final RunResult result = machine.run();
        assertEquals(RunEnd.POWER_OFF, result.end(), () -> console + "\n" + machine.lastExits());
      }
    }
  }

  private final class Sink implements ExitSink {
    @Override
    public boolean wants(final ExitKind kind) {
      return true;
    }

    @Override
    public void write(final ExitEvent event) {
      exits.addAll(GoldenMachine.Exit.of(event));
      if (event.kind == ExitKind.PAGE_FAULT) {
        faultOutcomes.add(event.detail);
      }
    }

    @Override
    public void close() {}
  }
}
