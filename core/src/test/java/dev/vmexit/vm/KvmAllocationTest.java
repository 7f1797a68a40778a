package dev.vmexit.vm;

import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.DX;
import static dev.vmexit.x86.encode.Register.EAX;
import static dev.vmexit.x86.encode.Register.EBX;
import static dev.vmexit.x86.encode.Register.ECX;
import static dev.vmexit.x86.encode.Register.EDI;
import static dev.vmexit.x86.encode.Register.EDX;
import static dev.vmexit.x86.encode.Register.RBP;
import static dev.vmexit.x86.encode.Register.RSI;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.vmexit.boot.BootEntry;
import dev.vmexit.boot.FlatLoader;
import dev.vmexit.boot.ImageFile;
import dev.vmexit.device.MmioDevice;
import dev.vmexit.device.PortDevice;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitSink;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.vcpu.kvm.Kvm;
import dev.vmexit.x86.Msr;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import java.lang.management.ManagementFactory;
import java.util.stream.IntStream;
import org.agrona.concurrent.SystemNanoClock;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * On KVM too nothing is allocated from an exit to the next entry. Instructions that KVM cannot
 * execute are another matter: the interpreter decodes each anew, as the guest may have changed it.
 */
@Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
final class KvmAllocationTest {
  private static final int WARM_UP = 15_000;
  private static final int MEASURED = 3_000;

  /** The warm-up, one that goes through all code of a measured part, the measured parts. */
  private static final int PARTS = 7;

  private static final int FIRST_MEASURED = 2;

  private static final int MARK_PORT = 0x1600;
  private static final int PORT = 0x1604;

  private final ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
  private final long[] marks = new long[PARTS + 1];
  private final long[] exitsAtMark = new long[PARTS + 1];
  private int marked;
  private long exits;

  @BeforeAll
  static void needsKvm() {
    Kvm.assume();
  }

  private static byte[] guest() {
    final Assembler a = new Assembler(8, GoldenGuests.ADDRESS);
    a.cld();
    a.mov(RBP, GoldenGuests.MMIO);
    a.xor(EBX, EBX);
    final Label part = a.here();
    a.mov(EDX, MARK_PORT);
    a.out(DX, AL);
    a.mov(EDI, WARM_UP);
    a.test(EBX, EBX);
    final Label counted = a.label();
    a.jcc(Condition.E, counted);
    a.mov(EDI, MEASURED);
    a.bind(counted);
    final Label again = a.here();
    a.mov(EDX, PORT);
    a.out(DX, EAX);
    a.in(AL, DX);
    a.mov(RSI, GoldenGuests.ADDRESS);
    a.mov(ECX, 2);
    a.rep();
    a.outs(1);
    a.mov(EAX, Memory.at(RBP, 0x10));
    a.mov(Memory.at(RBP, 0x18), EAX);
    a.mov(ECX, Msr.APIC_BASE);
    a.rdmsr();
    a.dec(EDI);
    a.jcc(Condition.NE, again);
    a.inc(EBX);
    a.cmp(EBX, PARTS);
    a.jcc(Condition.NE, part);
    a.mov(EDX, MARK_PORT);
    a.out(DX, AL);
    a.xor(EAX, EAX);
    a.out(GoldenGuests.EXIT_PORT, AL);
    a.cli();
    a.hlt();
    return a.assemble();
  }

  @Test
  void shouldAllocateNothingBetweenExitAndEntry() {
    try (GuestMemory memory = GuestMemory.builder().ramWithHole(GoldenGuests.MEMORY_SIZE).build()) {
      final BootEntry entry =
          FlatLoader.load(
              memory,
              ImageFile.of("kernel", "allocation guest", guest()),
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
      try (VirtualMachine machine =
          new VirtualMachine(VirtualMachine.Backend.KVM, memory, entry, options, new Sink())) {
        machine.platform().memory().register(new Device(), GoldenGuests.MMIO, 0x1000);
        machine.platform().ports().register(new Port(), MARK_PORT, PORT + 3);
        final RunResult result = machine.run();
        assertEquals(RunEnd.DEBUG_EXIT, result.end(), result::toString);
      }
    }
    assertEquals(PARTS + 1, marked);
    final long measuredExits = exitsAtMark[PARTS] - exitsAtMark[PARTS - 1];
    assertTrue(measuredExits >= 7L * MEASURED, () -> "exits: " + measuredExits);
    // The JVM itself may allocate on this thread, once for a place in the code; what an exit
    // allocates is there in each part.
    final long allocated =
        IntStream.range(FIRST_MEASURED, PARTS)
            .mapToLong(part -> marks[part + 1] - marks[part])
            .min()
            .orElseThrow();
    assertEquals(markCost(), allocated, () -> "bytes for " + measuredExits + " exits");
  }

  /** What the measurement allocates, from one mark to the next. */
  private long markCost() {
    final long first = threads.getCurrentThreadAllocatedBytes();
    return threads.getCurrentThreadAllocatedBytes() - first;
  }

  private final class Port implements PortDevice {
    @Override
    public int readPort(final int port, final int size) {
      return 0x5A;
    }

    @Override
    public void writePort(final int port, final int size, final int value) {
      if (port == MARK_PORT) {
        exitsAtMark[marked] = exits;
        marks[marked++] = threads.getCurrentThreadAllocatedBytes();
      }
    }
  }

  private static final class Device implements MmioDevice {
    private long value;

    @Override
    public long readMmio(final long offset, final int size) {
      return value & (1L << size * 8) - 1;
    }

    @Override
    public void writeMmio(final long offset, final int size, final long written) {
      value = written;
    }
  }

  private final class Sink implements ExitSink {
    @Override
    public boolean wants(final ExitKind kind) {
      return true;
    }

    @Override
    public void write(final ExitEvent event) {
      exits++;
    }

    @Override
    public void close() {}
  }
}
