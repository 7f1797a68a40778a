package dev.vmexit.bench;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.boot.FlatLoader;
import dev.vmexit.boot.ImageFile;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.vcpu.Vcpu;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.vm.VirtualMachine;
import java.io.IOException;
import java.nio.file.Path;
import org.agrona.concurrent.SystemNanoClock;

/** A guest that halts again and again, its vCPU entered with no run loop around it. */
final class KvmHalts {
  private final byte[] image;
  private final Path peer;
  private final Path file;

  KvmHalts(final byte[] image, final Path peer, final Path file) {
    this.image = image;
    this.peer = peer;
    this.file = file;
  }

  void run(final KvmRoundTrip.Round round) throws IOException {
    try (KvmPeer other = new KvmPeer(peer, file);
        GuestMemory memory = GuestMemory.builder().ram(0, KvmRoundTrip.MEMORY).build()) {
      final BootEntry entry =
          FlatLoader.load(
              memory,
              ImageFile.of("kernel", "loop", image),
              KvmRoundTrip.ORIGIN,
              BootEntry.Mode.REAL16);
      final VirtualMachine.Options options =
          new VirtualMachine.Options(
              "max",
              VirtualMachine.MmuKind.NESTED,
              VirtualMachine.ClockKind.HOST,
              0,
              b -> {},
              b -> {},
              false,
              SystemNanoClock.INSTANCE);
      try (VirtualMachine vm =
          new VirtualMachine(
              VirtualMachine.Backend.KVM,
              memory,
              entry,
              options,
              new dev.vmexit.exit.NullExitSink())) {
        final Vcpu vcpu = vm.vcpu();
        untilMark(vcpu);
        while (!round.isOver()) {
          final long peers = other.batch();
          final long start = System.nanoTime();
          untilMark(vcpu);
          round.add(System.nanoTime() - start, peers);
        }
      }
    }
  }

  private static void untilMark(final Vcpu vcpu) {
    while (true) {
      switch (vcpu.enter(Long.MAX_VALUE)) {
        case VcpuExit.HLT, VcpuExit.LIMIT -> {}
        case VcpuExit.PIO -> {
          return;
        }
        default -> throw new IllegalStateException(vcpu.failure());
      }
    }
  }
}
