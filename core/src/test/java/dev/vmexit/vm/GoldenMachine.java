package dev.vmexit.vm;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.boot.FlatLoader;
import dev.vmexit.boot.ImageFile;
import dev.vmexit.device.MmioDevice;
import dev.vmexit.device.PortDevice;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitSink;
import dev.vmexit.memory.GuestMemory;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.agrona.concurrent.NanoClock;
import org.agrona.concurrent.SystemNanoClock;

/** A machine for one golden guest: keeps its exits and what it did to the bus. */
final class GoldenMachine implements AutoCloseable {
  private static final long MMIO_SIZE = 0x1_0000;
  private static final long FIVE_SECONDS_NANOS = 5_000_000_000L;

  private final GuestMemory memory =
      GuestMemory.builder().ramWithHole(GoldenGuests.MEMORY_SIZE).build();
  private final List<Exit> exits = new ArrayList<>();
  private final List<GoldenGuests.Access> accesses = new ArrayList<>();
  private final VirtualMachine machine;

  /** What of a record the golden tests look at. */
  record Exit(
      ExitKind kind,
      long rip,
      long address,
      long value,
      int size,
      boolean write,
      int detail,
      int interruptState,
      String instruction) {

    /** The exits of a record: each element that a repeated OUTS wrote is one, as it is on KVM. */
    static List<Exit> of(final ExitEvent event) {
      if (event.kind != ExitKind.PIO || !event.write || event.dataLength == 0) {
        return List.of(one(event));
      }
      final List<Exit> exits = new ArrayList<>();
      for (int i = 0; i < event.dataLength / event.size; i++) {
        event.value = PortDevice.element(event.data, event.size, i);
        exits.add(one(event));
      }
      return exits;
    }

    private static Exit one(final ExitEvent event) {
      final StringBuilder bytes = new StringBuilder();
      for (int i = 0; i < event.instructionLength; i++) {
        bytes.append(String.format(Locale.ROOT, "%02x", event.instruction[i]));
      }
      return new Exit(
          event.kind,
          event.rip,
          event.address,
          event.value,
          event.size,
          event.write,
          event.detail,
          event.interruptState,
          bytes.toString());
    }

    @Override
    public String toString() {
      return String.format(
          Locale.ROOT,
          "%s rip=%x address=%x value=%x size=%d write=%b detail=%d state=%x %s%n",
          kind,
          rip,
          address,
          value,
          size,
          write,
          detail,
          interruptState,
          instruction);
    }
  }

  GoldenMachine(final byte[] image, final VirtualMachine.MmuKind mmu) {
    this(image, BootEntry.Mode.LONG64, VirtualMachine.Backend.SOFT, mmu);
  }

  /** A machine on the host's own KVM, in real time. */
  static GoldenMachine onKvm(final byte[] image) {
    return flat(image, BootEntry.Mode.LONG64, VirtualMachine.Backend.KVM);
  }

  /** A machine for a flat guest that was assembled for {@link #flatAddress}. */
  static GoldenMachine flat(
      final byte[] image, final BootEntry.Mode mode, final VirtualMachine.Backend backend) {
    return new GoldenMachine(image, mode, backend, VirtualMachine.MmuKind.NESTED);
  }

  /** Where a flat guest of a mode is loaded. */
  static long flatAddress(final BootEntry.Mode mode) {
    return mode == BootEntry.Mode.REAL16 ? 0x8000 : GoldenGuests.ADDRESS;
  }

  private GoldenMachine(
      final byte[] image,
      final BootEntry.Mode mode,
      final VirtualMachine.Backend backend,
      final VirtualMachine.MmuKind mmu) {
    final boolean kvm = backend == VirtualMachine.Backend.KVM;
    final BootEntry entry =
        FlatLoader.load(
            memory, ImageFile.of("kernel", "golden guest", image), flatAddress(mode), mode);
    final VirtualMachine.Options options =
        new VirtualMachine.Options(
            "max",
            mmu,
            kvm ? VirtualMachine.ClockKind.HOST : VirtualMachine.ClockKind.VIRTUAL,
            0,
            b -> {},
            b -> {},
            true,
            kvm ? SystemNanoClock.INSTANCE : new SteppingClock());
    machine = new VirtualMachine(backend, memory, entry, options, new Sink());
    machine.platform().memory().register(new Device(), GoldenGuests.MMIO, MMIO_SIZE);
  }

  RunResult run() {
    return machine.run();
  }

  /** All records in order. */
  List<Exit> exits() {
    return exits;
  }

  /** The records of a kind. */
  List<Exit> exits(final ExitKind kind) {
    return exits.stream().filter(e -> e.kind() == kind).toList();
  }

  /** What reached the device at {@link GoldenGuests#MMIO}. */
  List<GoldenGuests.Access> accesses() {
    return accesses;
  }

  /** The n-th of the guest's results. */
  long result(final int index) {
    return memory.read64(GoldenGuests.RESULTS + 8L * index);
  }

  GuestMemory memory() {
    return memory;
  }

  @Override
  public void close() {
    machine.close();
    memory.close();
  }

  /** Host time that moves by a little at each look: nothing in a test hangs on it. */
  private static final class SteppingClock implements NanoClock {
    private long now;

    @Override
    public long nanoTime() {
      now += 100;
      if (now > FIVE_SECONDS_NANOS) {
        throw new IllegalStateException("the guest does not end");
      }
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
      exits.addAll(Exit.of(event));
    }

    @Override
    public void close() {}
  }

  private final class Device implements MmioDevice {
    @Override
    public long readMmio(final long offset, final int size) {
      accesses.add(new GoldenGuests.Access(GoldenGuests.MMIO + offset, size, false, 0));
      return GoldenGuests.answer(GoldenGuests.MMIO + offset, size);
    }

    @Override
    public void writeMmio(final long offset, final int size, final long value) {
      accesses.add(new GoldenGuests.Access(GoldenGuests.MMIO + offset, size, true, value));
    }
  }
}
