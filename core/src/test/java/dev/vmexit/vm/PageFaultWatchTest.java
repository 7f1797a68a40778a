package dev.vmexit.vm;

import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.EAX;
import static dev.vmexit.x86.encode.Register.ECX;
import static dev.vmexit.x86.encode.Register.EDI;
import static dev.vmexit.x86.encode.Register.RAX;
import static dev.vmexit.x86.encode.Register.RDI;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
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
import dev.vmexit.vcpu.kvm.PageFaultWatch;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.Consumer;
import org.agrona.concurrent.SystemNanoClock;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** First touches and first writes of guest memory by KVM, seen by userfaultfd. */
@Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
final class PageFaultWatchTest {
  private static final long MEMORY = 32L << 20;
  private static final long ORIGIN = 0x10_0000;
  private static final long DATA = 0x80_0000;
  private static final int PAGE = 0x1000;
  private static final int DEBUG_EXIT = 0xF4;

  /** Faults and port accesses, in order. */
  private final List<String> records = new ArrayList<>();

  @BeforeAll
  static void needsKvmAndUserfaultfd() {
    Kvm.assume();
    PageFaultWatch.missing()
        .ifPresent(why -> Assumptions.abort("SKIPPED, not tested on this host: " + why));
  }

  private final class Sink implements ExitSink {
    @Override
    public boolean wants(final ExitKind kind) {
      return true;
    }

    @Override
    public void write(final ExitEvent event) {
      if (event.isHostFault()) {
        assertEquals(0, event.address, "no gva is known");
        assertEquals(0, event.walkCount);
        assertEquals(event.write ? 2 : 0, event.errorCode);
        final boolean touch = event.detail == ExitEvent.PF_FIRST_TOUCH;
        records.add(fault(touch ? "touch" : "write", event.value, event.write ? "w" : "r"));
      } else if (event.kind == ExitKind.PIO) {
        records.add(String.format(Locale.ROOT, "out %x", event.address));
      }
    }

    @Override
    public void close() {}
  }

  private static String fault(final String what, final long page, final String how) {
    return String.format(Locale.ROOT, "%s %06x %s", what, page, how);
  }

  /** Those that the guest's data make, and its accesses to ports 0x80 and 0x81. */
  private List<String> ofData() {
    return records.stream()
        .filter(r -> r.matches("out 8[01]") || r.matches("\\w+ [89a-f][0-9a-f]{5} ."))
        .toList();
  }

  private static GuestMemory memory() {
    return GuestMemory.builder().ramWithHole(MEMORY).secondView(true).build();
  }

  private static BootEntry load(final GuestMemory memory, final Consumer<Assembler> body) {
    final Assembler a = new Assembler(8, ORIGIN);
    a.mov(EDI, DATA);
    body.accept(a);
    a.xor(EAX, EAX);
    a.out(DEBUG_EXIT, AL);
    return FlatLoader.load(
        memory, ImageFile.of("kernel", "fault guest", a.assemble()), ORIGIN, BootEntry.Mode.LONG64);
  }

  private VirtualMachine machine(final GuestMemory memory, final BootEntry entry) {
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
        VirtualMachine.Backend.KVM,
        1,
        memory,
        entry,
        options,
        Peripherals.NONE,
        number -> new Sink(),
        new KvmOptions(false, true, false));
  }

  private void run(final GuestMemory memory, final Consumer<Assembler> body) {
    try (VirtualMachine machine = machine(memory, load(memory, body))) {
      final RunResult result = machine.run();
      assertEquals(RunEnd.DEBUG_EXIT, result.end(), result::toString);
      assertEquals(1, result.status());
    }
  }

  @Test
  void shouldTellEachFirstTouchAndFirstWriteOnceAndInOrder() {
    try (GuestMemory memory = memory()) {
      run(
          memory,
          a -> {
            // Read, then written twice; written at once; both read again.
            a.mov(RAX, Memory.at(RDI));
            a.mov(RAX, Memory.at(RDI, 8));
            a.mov(Memory.at(RDI, 16), RAX);
            a.mov(Memory.at(RDI, 24), RAX);
            a.out(0x80, AL);
            a.mov(Memory.at(RDI, PAGE), RAX);
            a.mov(RAX, Memory.at(RDI, PAGE));
            a.mov(RAX, Memory.at(RDI));
            a.out(0x81, AL);
            a.mov(RAX, Memory.at(RDI, 2 * PAGE));
          });
    }
    assertEquals(
        List.of(
            "touch 800000 r",
            "write 800000 w",
            "out 80",
            "touch 801000 w",
            "out 81",
            "touch 802000 r"),
        ofData());
    assertTrue(records.contains("touch 100000 r"), "its own code");
  }

  /** What we put there, or a device does, is there already: KVM's first touch is told as any. */
  @Test
  void shouldTellOfPagesThatWeHaveFilled() {
    try (GuestMemory memory = memory()) {
      memory.write64(DATA, 0x1234);
      run(
          memory,
          a -> {
            a.mov(RAX, Memory.at(RDI));
            a.cmp(RAX, 0x1234);
            final Label same = a.label("same");
            a.jcc(Condition.E, same);
            a.mov(AL, 9);
            a.out(DEBUG_EXIT, AL);
            a.bind(same);
            a.mov(Memory.at(RDI), RAX);
          });
    }
    assertEquals(List.of("touch 800000 r", "write 800000 w"), ofData());
  }

  /** More pages in one stay in the guest than one chunk of the queue holds. */
  @Test
  void shouldKeepTheOrderOfThousandsOfFaults() {
    final int pages = 2000;
    final int rounds = 5;
    final List<String> expected = new ArrayList<>();
    try (GuestMemory memory = GuestMemory.builder().ram(0, 1 << 30).secondView(true).build()) {
      run(
          memory,
          a -> {
            a.mov(ECX, pages * rounds);
            final Label again = a.here();
            a.mov(Memory.at(RDI), ECX);
            a.add(EDI, PAGE);
            a.dec(ECX);
            a.jcc(Condition.NE, again);
          });
      for (long page = 0; page < pages * rounds; page++) {
        expected.add(fault("touch", DATA + page * PAGE, "w"));
        assertEquals(pages * rounds - page, memory.read32(DATA + page * PAGE), "our view");
      }
    }
    final int first = records.indexOf(expected.get(0));
    assertEquals(
        expected,
        records.stream().skip(first).filter(r -> r.endsWith("w")).limit(expected.size()).toList());
  }

  @Test
  void shouldLetUsVisitWhatTheGuestWrote() {
    try (GuestMemory memory = memory()) {
      run(memory, a -> a.mov(Memory.at(RDI).asDword(), 77));
      assertEquals(77, memory.read32(DATA));
      final List<Long> pages = new ArrayList<>();
      memory.forEachTouchedPage((gpa, host) -> pages.add(gpa));
      assertTrue(pages.contains(DATA) && pages.contains(ORIGIN), pages::toString);
      assertFalse(pages.contains(DATA + PAGE), pages::toString);
      assertTrue(memory.residentBytes() >= 2 * PAGE);
    }
  }

  @Test
  void shouldRefuseMemoryWithOneViewOnly() {
    try (GuestMemory memory = GuestMemory.builder().ramWithHole(MEMORY).build()) {
      final BootEntry entry = load(memory, a -> {});
      final String message =
          assertThrows(IllegalArgumentException.class, () -> machine(memory, entry).close())
              .getMessage();
      assertTrue(message.contains("second view"), message);
    }
  }
}
