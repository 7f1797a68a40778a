package dev.vmexit.vm;

import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.AX;
import static dev.vmexit.x86.encode.Register.CR3;
import static dev.vmexit.x86.encode.Register.DX;
import static dev.vmexit.x86.encode.Register.EAX;
import static dev.vmexit.x86.encode.Register.ECX;
import static dev.vmexit.x86.encode.Register.EDI;
import static dev.vmexit.x86.encode.Register.EDX;
import static dev.vmexit.x86.encode.Register.R12;
import static dev.vmexit.x86.encode.Register.R13;
import static dev.vmexit.x86.encode.Register.R14;
import static dev.vmexit.x86.encode.Register.R15;
import static dev.vmexit.x86.encode.Register.RAX;
import static dev.vmexit.x86.encode.Register.RBP;
import static dev.vmexit.x86.encode.Register.RBX;
import static dev.vmexit.x86.encode.Register.RDI;
import static dev.vmexit.x86.encode.Register.RSI;
import static dev.vmexit.x86.encode.Register.RSP;
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
import dev.vmexit.x86.Msr;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.agrona.concurrent.NanoClock;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * From an exit to the next entry nothing is allocated: ports, devices, page faults of all outcomes,
 * table writes, CPUID, MSRs, the TSC, CR3, interrupts and exceptions, some hundred thousand times.
 */
final class ExitPathAllocationTest {
  private static final int WARM_UP = 30_000;
  private static final int MEASURED = 10_000;

  /** The warm-up, one that goes through all code of a measured part, the measured parts. */
  private static final int PARTS = 10;

  private static final int FIRST_MEASURED = 2;

  private static final int MARK_PORT = 0x1600;
  private static final int PORT = 0x1604;

  private static final long LOCAL_APIC = 0xFEE0_0000L;
  private static final int APIC_EOI = 0xB0;
  private static final int APIC_SPURIOUS = 0xF0;
  private static final int APIC_COMMAND = 0x300;
  private static final int TO_SELF = 0x4_4000;
  private static final int VECTOR = 0x40;
  private static final int PAGE_FAULT = 14;
  private static final int INVALID_OPCODE = 6;
  private static final int CODE_SELECTOR = 0x10;
  private static final long IDT = 0x17_0000;
  private static final long STACK = 0x16_F000;

  /** A page under a 2 MiB mapping that the guest takes away and puts back. */
  private static final long TOUCHED = 0xA0_0000;

  private static final long TOUCHED_ENTRY = (TOUCHED >>> 21) * 8;

  private final ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
  private final long[] marks = new long[PARTS + 1];
  private final long[] exitsAtMark = new long[PARTS + 1];
  private final long[] counts = new long[ExitKind.values().length];
  private int marked;
  private long exits;

  private static byte[] guest() {
    final Assembler a = new Assembler(8, GoldenGuests.ADDRESS);
    final Label interrupt = a.label("interrupt");
    final Label fault = a.label("fault");
    final Label undefined = a.label("undefined");
    final Label idtPointer = a.label("idtPointer");
    a.mov(RSP, STACK);
    gate(a, interrupt, VECTOR);
    gate(a, fault, PAGE_FAULT);
    gate(a, undefined, INVALID_OPCODE);
    a.lidt(Memory.rip(idtPointer));
    a.mov(RBX, LOCAL_APIC);
    a.mov(RBP, GoldenGuests.MMIO);
    a.mov(Memory.at(RBX, APIC_SPURIOUS).asDword(), 0x1FF);
    // R13: the directory entry; R14: what it holds.
    a.mov(RAX, CR3);
    for (int level = 0; level < 2; level++) {
      a.and(RAX, -4096);
      a.mov(RAX, Memory.at(RAX));
    }
    a.and(RAX, -4096);
    a.lea(R13, Memory.at(RAX, TOUCHED_ENTRY));
    a.mov(R14, Memory.at(R13));
    a.sti();
    // The same code and the same marks each time: new code would be decoded, which allocates.
    a.mov(R15, 0);
    final Label part = a.here();
    a.mov(EDX, MARK_PORT);
    a.out(DX, AL);
    a.mov(R12, WARM_UP);
    a.test(R15, R15);
    final Label counted = a.label();
    a.jcc(Condition.E, counted);
    a.mov(R12, MEASURED);
    a.bind(counted);
    round(a);
    a.inc(R15);
    a.cmp(R15, PARTS);
    a.jcc(Condition.NE, part);
    a.mov(EDX, MARK_PORT);
    a.out(DX, AL);
    a.xor(EAX, EAX);
    a.out(GoldenGuests.EXIT_PORT, AL);
    a.cli();
    a.hlt();
    a.bind(interrupt);
    a.mov(Memory.at(RBX, APIC_EOI).asDword(), 0);
    a.iretq();
    a.bind(fault);
    a.mov(Memory.at(R13), R14);
    a.add(RSP, 8);
    a.iretq();
    a.bind(undefined);
    a.add(Memory.at(RSP).asQword(), 2);
    a.iretq();
    a.align(8, 0);
    a.bind(idtPointer);
    a.dw(0xFFF);
    a.dq(IDT);
    return a.assemble();
  }

  private static void gate(final Assembler a, final Label handler, final int vector) {
    a.mov(EDI, IDT + 16L * vector);
    a.mov(EAX, handler);
    a.mov(Memory.at(RDI), AX);
    a.shr(EAX, 16);
    a.mov(Memory.at(RDI, 6), AX);
    a.mov(Memory.at(RDI, 2).asWord(), CODE_SELECTOR);
    a.mov(Memory.at(RDI, 4).asWord(), 0x8E00);
    a.mov(Memory.at(RDI, 8).asQword(), 0);
  }

  /** One of each exit, R12 times. */
  private static void round(final Assembler a) {
    final Label again = a.here();
    a.mov(EDX, PORT);
    a.out(DX, EAX);
    a.in(AL, DX);
    a.mov(EAX, Memory.at(RBP, 0x10));
    a.mov(Memory.at(RBP, 0x18), RAX);
    a.add(Memory.at(RBP, 0x20), EAX);
    a.rdtsc();
    a.xor(EAX, EAX);
    a.cpuid();
    // CPUID took RBX.
    a.mov(RBX, LOCAL_APIC);
    a.mov(ECX, Msr.KERNEL_GS_BASE);
    a.rdmsr();
    a.wrmsr();
    a.mov(Memory.at(RBX, APIC_COMMAND).asDword(), TO_SELF | VECTOR);
    a.nop();
    a.ud2();
    a.mov(Memory.at(R13).asQword(), 0);
    a.invlpg(Memory.absolute(TOUCHED));
    a.mov(RSI, Memory.absolute(TOUCHED + 8));
    a.mov(Memory.absolute(TOUCHED + 8), RSI);
    a.mov(RAX, CR3);
    a.mov(CR3, RAX);
    a.dec(R12);
    a.jcc(Condition.NE, again);
  }

  @ParameterizedTest
  @EnumSource(VirtualMachine.MmuKind.class)
  void shouldAllocateNothingBetweenExitAndEntry(final VirtualMachine.MmuKind mmu) {
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
              mmu,
              VirtualMachine.ClockKind.VIRTUAL,
              0,
              b -> {},
              b -> {},
              true,
              new SteppingClock());
      try (VirtualMachine machine = new VirtualMachine(memory, entry, options, new Sink())) {
        machine.platform().memory().register(new Device(), GoldenGuests.MMIO, 0x1000);
        machine.platform().ports().register(new Port(), MARK_PORT, PORT + 3);
        final RunResult result = machine.run();
        assertEquals(RunEnd.DEBUG_EXIT, result.end(), result::toString);
      }
    }
    assertEquals(PARTS + 1, marked);
    final long measuredExits = exitsAtMark[PARTS] - exitsAtMark[PARTS - 1];
    assertTrue(measuredExits > 12L * MEASURED, () -> "exits: " + measuredExits);
    // The JVM itself may allocate on this thread, once for a place in the code: where compiled code
    // is given up, to load a class. What an exit allocates is there in each part.
    final long allocated =
        IntStream.range(FIRST_MEASURED, PARTS)
            .mapToLong(part -> marks[part + 1] - marks[part])
            .min()
            .orElseThrow();
    assertEquals(
        markCost(), allocated, () -> "bytes for " + measuredExits + " exits; all: " + bytes());
    assertTrue(counts[ExitKind.INJECT.ordinal()] >= WARM_UP + MEASURED);
    assertEquals(
        mmu == VirtualMachine.MmuKind.SHADOW, counts[ExitKind.PAGE_FAULT.ordinal()] > MEASURED);
  }

  /** What the measurement allocates, from one mark to the next. */
  private long markCost() {
    final long first = threads.getCurrentThreadAllocatedBytes();
    return threads.getCurrentThreadAllocatedBytes() - first;
  }

  private String bytes() {
    return Arrays.toString(
        IntStream.range(0, PARTS).mapToLong(part -> marks[part + 1] - marks[part]).toArray());
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

  private static final class SteppingClock implements NanoClock {
    private long now;

    @Override
    public long nanoTime() {
      now += 100;
      return now;
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
      counts[event.kind.ordinal()]++;
    }

    @Override
    public void close() {}
  }
}
