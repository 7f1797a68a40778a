package dev.vmexit.vcpu.soft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.mmu.NestedMmu;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** Two vCPUs in two threads count in the same guest memory: no count is lost (SDM Vol. 3A, 8.1). */
class LockedAccessTest {
  private static final int ROUNDS = 150_000;
  private static final long RAM = 0x10_0000;
  private static final long CODE = 0x1000;
  private static final int DATA = 0x8000;

  /** A flat 32-bit vCPU without paging that runs a loop {@link #ROUNDS} times and halts. */
  private static SoftVcpu vcpu(final GuestMemory memory) {
    final SoftVcpu cpu = new SoftVcpu(memory, new NestedMmu(memory), CpuModel.max());
    cpu.ignoreWrites();
    final long flat = 0x00CF_9300_0000_FFFFL;
    for (int segment = Seg.ES; segment <= Seg.GS; segment++) {
      final long raw = segment == Seg.CS ? 0x00CF_9B00_0000_FFFFL : flat;
      cpu.setSegment(
          segment, 8, Descriptor.base(raw), Descriptor.limit(raw), Descriptor.rights(raw));
    }
    cpu.reg64(StateLayout.CR0, cpu.reg64(StateLayout.CR0) | 1);
    cpu.reg64(StateLayout.RIP, CODE);
    cpu.reg64(StateLayout.gpr(Register.RSI.number()), ROUNDS);
    cpu.reg64(StateLayout.gpr(Register.RBP.number()), 1);
    cpu.stateChanged();
    return cpu;
  }

  private static GuestMemory twoRun(final Consumer<Assembler> body) throws Exception {
    final GuestMemory memory = GuestMemory.builder().ram(0, RAM).build();
    final Assembler a = new Assembler(4, CODE);
    final var again = a.label();
    a.bind(again);
    body.accept(a);
    a.dec(Register.ESI);
    a.jcc(Condition.NE, again);
    a.hlt();
    final byte[] code = a.assemble();
    memory.write(CODE, code, 0, code.length);
    final SoftVcpu[] vcpus = {vcpu(memory), vcpu(memory)};
    final AtomicReference<Throwable> failure = new AtomicReference<>();
    final CyclicBarrier start = new CyclicBarrier(2);
    final Thread other = new Thread(() -> run(vcpus[1], start, failure));
    other.start();
    run(vcpus[0], start, failure);
    other.join();
    for (final SoftVcpu vcpu : vcpus) {
      vcpu.close();
    }
    assertNull(failure.get());
    return memory;
  }

  private static void run(
      final SoftVcpu vcpu, final CyclicBarrier start, final AtomicReference<Throwable> failure) {
    try {
      start.await();
      assertEquals(VcpuExit.HLT, vcpu.enter(Long.MAX_VALUE));
    } catch (final Throwable t) {
      failure.set(t);
    }
  }

  @Test
  void shouldCountWithEveryLockedOperation() throws Exception {
    try (GuestMemory memory =
        twoRun(
            a -> {
              // INC, DEC, ADD, SUB, ADC and SBB (CF clear), NEG and NOT in pairs, XADD.
              a.lock();
              a.inc(Memory.absolute(DATA).asDword());
              a.lock();
              a.dec(Memory.absolute(DATA + 4).asDword());
              a.lock();
              a.add(Memory.absolute(DATA + 8), Register.EBP);
              a.lock();
              a.sub(Memory.absolute(DATA + 12).asWord(), 1);
              a.clc();
              a.lock();
              a.adc(Memory.absolute(DATA + 16).asDword(), 3);
              a.clc();
              a.lock();
              a.sbb(Memory.absolute(DATA + 20).asDword(), 3);
              a.mov(Register.EAX, 2);
              a.lock();
              a.xadd(Memory.absolute(DATA + 24), Register.EAX);
              a.lock();
              a.not(Memory.absolute(DATA + 28).asDword());
              a.lock();
              a.neg(Memory.absolute(DATA + 32).asDword());
              // An operand that is not aligned, inside eight bytes.
              a.lock();
              a.inc(Memory.absolute(DATA + 41).asDword());
            })) {
      final int n = 2 * ROUNDS;
      assertEquals(n, memory.read32(DATA), "INC");
      assertEquals(-n, memory.read32(DATA + 4), "DEC");
      assertEquals(n, memory.read32(DATA + 8), "ADD");
      assertEquals(-n & 0xFFFF, memory.read16(DATA + 12), "SUB");
      assertEquals(3 * n, memory.read32(DATA + 16), "ADC");
      assertEquals(-3 * n, memory.read32(DATA + 20), "SBB");
      assertEquals(2 * n, memory.read32(DATA + 24), "XADD");
      assertEquals(0, memory.read32(DATA + 28), "NOT");
      assertEquals(n, memory.read32(DATA + 41), "unaligned INC");
    }
  }

  @Test
  void shouldCountUnderALockOfBtsOrXchg() throws Exception {
    try (GuestMemory memory =
        twoRun(
            a -> {
              for (int lock = 0; lock < 2; lock++) {
                final var taken = a.label();
                final var spin = a.label();
                a.bind(spin);
                if (lock == 0) {
                  a.lock();
                  a.bts(Memory.absolute(DATA).asDword(), 3);
                  a.jcc(Condition.AE, taken);
                } else {
                  a.mov(Register.EAX, 1);
                  a.xchg(Memory.absolute(DATA + 64), Register.EAX);
                  a.test(Register.EAX, Register.EAX);
                  a.jcc(Condition.E, taken);
                }
                a.pause();
                a.jmp(spin);
                a.bind(taken);
                a.inc(Memory.absolute(DATA + 128 + 4 * lock).asDword());
                if (lock == 0) {
                  a.lock();
                  a.btr(Memory.absolute(DATA).asDword(), 3);
                } else {
                  a.xor(Register.EAX, Register.EAX);
                  a.xchg(Memory.absolute(DATA + 64), Register.EAX);
                }
              }
            })) {
      assertEquals(2 * ROUNDS, memory.read32(DATA + 128), "under BTS");
      assertEquals(2 * ROUNDS, memory.read32(DATA + 132), "under XCHG");
    }
  }

  @Test
  void shouldCountWithCompareAndExchange() throws Exception {
    try (GuestMemory memory =
        twoRun(
            a -> {
              final var again = a.label();
              a.mov(Register.EAX, Memory.absolute(DATA));
              a.bind(again);
              a.lea(Register.EBX, Memory.at(Register.EAX, 1));
              a.lock();
              a.cmpxchg(Memory.absolute(DATA), Register.EBX);
              a.jcc(Condition.NE, again);
              final var wide = a.label();
              a.mov(Register.EAX, Memory.absolute(DATA + 8));
              a.mov(Register.EDX, Memory.absolute(DATA + 12));
              a.bind(wide);
              a.lea(Register.EBX, Memory.at(Register.EAX, 1));
              a.lea(Register.ECX, Memory.at(Register.EDX, -1));
              a.lock();
              a.cmpxchg8b(Memory.absolute(DATA + 8));
              a.jcc(Condition.NE, wide);
            })) {
      assertEquals(2 * ROUNDS, memory.read32(DATA), "CMPXCHG");
      assertEquals(2 * ROUNDS, memory.read32(DATA + 8), "CMPXCHG8B, low");
      assertEquals(-2 * ROUNDS, memory.read32(DATA + 12), "CMPXCHG8B, high");
    }
  }
}
