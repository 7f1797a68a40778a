package dev.vmexit.bench;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.boot.FlatLoader;
import dev.vmexit.boot.ImageFile;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitSink;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.vm.RunEnd;
import dev.vmexit.vm.RunResult;
import dev.vmexit.vm.VirtualMachine;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.util.Locale;
import org.HdrHistogram.Histogram;
import org.agrona.concurrent.SystemNanoClock;

/**
 * From an interrupt's request to its injection: {@code InterruptLatency kvm|soft [COUNT]}. The
 * timer interrupts a guest that computes with interrupts enabled, a thousand times a second; the
 * times are those that each INJECT record carries, which {@code vmexit stat} shows of any trace.
 */
public final class InterruptLatency {
  private static final long MEMORY = 0x1_0000;
  private static final long ORIGIN = 0x1000;
  private static final int VECTOR = 0x20;
  private static final int DEBUG_EXIT = 0xF4;
  private static final int DEFAULT_COUNT = 10_000;
  private static final int WARM_UP = 1_000;
  private static final int PIT_DIVISOR = 1193;
  private static final long LONGEST_NANOS = 10_000_000_000L;

  private InterruptLatency() {}

  /** Measures on the processor that is named. */
  public static void main(final String[] args) {
    if (args.length < 1 || args.length > 2) {
      System.err.println("usage: InterruptLatency kvm|soft [COUNT]");
      System.exit(2);
    }
    final int count = args.length > 1 ? Integer.parseInt(args[1]) : DEFAULT_COUNT;
    final VirtualMachine.Backend backend =
        VirtualMachine.Backend.valueOf(args[0].toUpperCase(Locale.ROOT));
    final Latencies latencies = new Latencies();
    try (GuestMemory memory = GuestMemory.builder().ram(0, MEMORY).build()) {
      final BootEntry entry =
          FlatLoader.load(
              memory,
              ImageFile.of("kernel", "ticks", image(WARM_UP + count)),
              ORIGIN,
              BootEntry.Mode.REAL16);
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
          new VirtualMachine(backend, memory, entry, options, latencies)) {
        final RunResult result = machine.run();
        if (result.end() != RunEnd.DEBUG_EXIT) {
          throw new IllegalStateException(result + " " + machine.lastExits());
        }
      }
    }
    final Histogram times = latencies.times;
    System.out.printf(
        Locale.ROOT,
        "request to injection, %s, %d timer interrupts: p50 %d ns, p99 %d ns, p99.9 %d ns, max %d"
            + " ns%n",
        args[0],
        times.getTotalCount(),
        times.getValueAtPercentile(50),
        times.getValueAtPercentile(99),
        times.getValueAtPercentile(99.9),
        times.getMaxValue());
  }

  private static byte[] image(final int count) {
    final Assembler a = new Assembler(2, ORIGIN);
    final Label handler = a.label("handler");
    a.mov(Register.SP, 0xF00);
    a.mov(Register.AX, handler);
    a.mov(Memory.absolute(4L * VECTOR), Register.AX);
    a.mov(Memory.absolute(4L * VECTOR + 2).asWord(), 0);
    // The PICs: edge, cascade, vectors from 0x20, only IRQ 0 let through.
    out(a, 0x20, 0x11);
    out(a, 0x21, VECTOR);
    out(a, 0x21, 4);
    out(a, 0x21, 1);
    out(a, 0x21, 0xFE);
    // Timer 0, a rate generator.
    out(a, 0x43, 0x34);
    out(a, 0x40, PIT_DIVISOR & 0xFF);
    out(a, 0x40, PIT_DIVISOR >> 8);
    a.xor(Register.EBX, Register.EBX);
    a.sti();
    final Label compute = a.here();
    a.imul(Register.EDX, Register.EDX, 31);
    a.cmp(Register.EBX, count);
    a.jcc(Condition.B, compute);
    a.xor(Register.EAX, Register.EAX);
    a.out(DEBUG_EXIT, Register.AL);
    a.bind(handler);
    a.inc(Register.EBX);
    out(a, 0x20, 0x20);
    a.iret(2);
    return a.assemble();
  }

  private static void out(final Assembler a, final int port, final int value) {
    a.mov(Register.AL, value);
    a.out(port, Register.AL);
  }

  /** Keeps the times of injections, after the first ones. */
  private static final class Latencies implements ExitSink {
    private final Histogram times = new Histogram(LONGEST_NANOS, 3);
    private int seen;

    @Override
    public boolean wants(final ExitKind kind) {
      return kind == ExitKind.INJECT;
    }

    @Override
    public void write(final ExitEvent event) {
      if (seen++ >= WARM_UP && event.value >= 0) {
        times.recordValue(Math.min(event.value, LONGEST_NANOS));
      }
    }

    @Override
    public void close() {}
  }
}
