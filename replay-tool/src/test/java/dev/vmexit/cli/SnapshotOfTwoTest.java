package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.trace.InitialMemory;
import dev.vmexit.trace.TraceFolder;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.kvm.KvmSystem;
import dev.vmexit.vcpu.kvm.KvmUnavailableException;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A snapshot of two vCPUs on KVM, of which one never leaves the guest by itself. */
@Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
final class SnapshotOfTwoTest {
  private static final int SECOND = 0x2_0000;
  private static final int COUNTER = 0x600;
  private static final int ROUNDS = 5_000;

  @TempDir Path folder;

  /** In protected mode: starts the second processor, sees it count, and makes the exit. */
  private static void first(final Assembler a) {
    final byte[] code = second();
    for (int i = 0; i < code.length; i++) {
      a.mov(Memory.absolute(SECOND + i).asByte(), code[i] & 0xFF);
    }
    a.mov(Register.EBX, 0xFEE0_0000L);
    for (final int command : new int[] {0x4500, 0x4600 | SECOND >> 12}) {
      a.mov(Memory.at(Register.EBX, 0x310).asDword(), 1 << 24);
      a.mov(Memory.at(Register.EBX, 0x300).asDword(), command);
    }
    final Label wait = a.here();
    a.pause();
    a.cmp(Memory.absolute(COUNTER).asDword(), ROUNDS);
    a.jcc(Condition.B, wait);
    a.out(0x80, Register.AL);
    FlatGuests.debugExit(a);
  }

  /** Counts in a register and in memory, without end. */
  private static byte[] second() {
    final Assembler a = new Assembler(2, 0);
    a.mov(Register.EBX, 0);
    final Label again = a.here();
    a.inc(Register.EBX);
    a.mov(Memory.absolute(COUNTER).asDword(), Register.EBX);
    a.jmp(again);
    return a.assemble();
  }

  @Test
  void shouldSaveRegistersAndMemoryOfOneMoment() throws IOException {
    try {
      KvmSystem.open().close();
    } catch (final KvmUnavailableException e) {
      Assumptions.abort("SKIPPED, not tested on this host: " + e.getMessage());
    }
    final Path guest = FlatGuests.write(folder.resolve("guest.bin"), 32, SnapshotOfTwoTest::first);
    final Path trace = folder.resolve("trace");
    final Tool.Outcome run =
        Tool.run(
            "run",
            "--kernel",
            guest.toString(),
            "--load-address",
            Long.toString(FlatGuests.address(32)),
            "--mode",
            "32",
            "--memory",
            "64M",
            "--backend",
            "kvm",
            "--vcpus",
            "2",
            "--debug-exit",
            "--snapshot-when",
            "port=0x80",
            "--record",
            trace.toString());
    assertEquals(85, run.status(), run.err());
    final Path snapshot = trace.resolve(TriggerOptions.SNAPSHOT);
    final long[] stored = {-1};
    InitialMemory.forEachPage(
        TraceFolder.memory(snapshot),
        (gfn, content) -> {
          if (gfn == COUNTER >> GuestMemory.PAGE_SHIFT) {
            stored[0] =
                ByteBuffer.wrap(content)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .getInt(COUNTER & GuestMemory.PAGE_SIZE - 1);
          }
        });
    final long counted =
        ByteBuffer.wrap(Files.readAllBytes(TraceFolder.state(snapshot, 1)))
            .order(ByteOrder.LITTLE_ENDIAN)
            .getInt(StateLayout.gpr(Gpr.RBX));
    assertTrue(stored[0] >= ROUNDS, stored[0] + " in memory");
    assertTrue(
        counted == stored[0] || counted == stored[0] + 1,
        counted + " in the register, " + stored[0] + " in memory");
    assertTrue(Files.exists(TraceFolder.state(snapshot, 0)));
    final String said = Tool.run("stat", trace.toString()).out();
    assertTrue(said.contains("(PIO) of vCPU 0, after "), said);
  }
}
