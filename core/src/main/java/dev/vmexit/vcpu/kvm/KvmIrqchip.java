package dev.vmexit.vcpu.kvm;

import dev.vmexit.device.InterruptLine;
import dev.vmexit.memory.HostMemory;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * The interrupt controllers of a VM where they are the kernel's: two 8259s, an I/O APIC, a local
 * APIC for each vCPU and an 8254 with port 0x61, wired as {@code irq.Irqchip} is (KVM API,
 * KVM_CREATE_IRQCHIP, KVM_SET_GSI_ROUTING).
 *
 * <p>The edge-triggered lines of a PC's devices are eventfds that KVM listens to (KVM_IRQFD): a
 * rising edge is one write, and pulses the line. The others are driven by KVM_IRQ_LINE, as a level
 * must stay. What the guest does with the controllers, and what they inject, makes no exit.
 *
 * <p>Belongs to one vCPU's thread at a time, as the devices do.
 */
public final class KvmIrqchip implements AutoCloseable {
  private static final int LINES = 24;
  private static final int ISA_LINES = 16;
  private static final int CASCADE = 2;

  /** Where IRQ 0 is at the I/O APIC, as the MADT says. */
  private static final int TIMER_PIN = 2;

  /** Timer and devices of the ISA bus: keyboard, serial, RTC, mouse, IDE. */
  private static final int EDGES = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 8 | 1 << 12 | 1 << 14 | 1 << 15;

  // struct kvm_irq_routing: count 4, flags 4, entries; entry: gsi 4, type 4, flags 4, pad 4, then
  // for a controller's pin: irqchip 4, pin 4.
  static final int ROUTING_HEADER = 8;
  static final int ROUTE_SIZE = 48;
  static final int ROUTE_TYPE = 4;
  static final int ROUTE_CHIP = 16;
  static final int ROUTE_PIN = 20;

  // struct kvm_pit_config: flags 4, padding.
  static final int PIT_CONFIG_SIZE = 64;

  // struct kvm_irqchip: chip id 4, pad 4, the chip's state 512; of an 8259 one byte each field.
  static final int CHIP_SIZE = 520;
  static final int PIC_ELCR = 8 + 14;

  /** IRQ 9, the SCI, is level-triggered at the 8259 too, as firmware does it. */
  private static final int SLAVE_ELCR = 1 << 1;

  // struct kvm_irqfd: fd 4, gsi 4, flags 4, resample fd 4, pad 16.
  static final int IRQFD_GSI = 4;
  static final int IRQFD_SIZE = 32;

  // struct kvm_irq_level: irq 4, level 4.
  static final int LEVEL_SIZE = 8;

  private static final List<KvmCapability> NEEDED =
      List.of(
          KvmCapability.IRQCHIP,
          KvmCapability.IRQ_ROUTING,
          KvmCapability.PIT2,
          KvmCapability.IRQFD);

  private final MemorySegment errno = Libc.errnoState();
  private final int fd;
  private final InterruptLine[] lines = new InterruptLine[LINES];
  private final int[] events = new int[LINES];
  private int made;

  /** Ours until close: the argument of KVM_IRQ_LINE, and the 1 that is written to an eventfd. */
  private final long level = HostMemory.allocate(LEVEL_SIZE);

  private final long one = HostMemory.allocate(8);

  private KvmIrqchip(final int fd) {
    this.fd = fd;
    HostMemory.putLong(one, 1);
  }

  /** Makes the controllers of a VM; before its first vCPU. */
  static KvmIrqchip create(final KvmVm vm, final int fd) {
    for (final KvmCapability needed : NEEDED) {
      if (vm.checkExtension(needed.number()) == 0) {
        throw new KvmUnavailableException(
            "no interrupt controllers in the kernel, as this KVM lacks KVM_CAP_" + needed);
      }
    }
    final KvmIrqchip chip = new KvmIrqchip(fd);
    try {
      chip.setUp();
    } catch (final RuntimeException e) {
      chip.close();
      throw e;
    }
    return chip;
  }

  private void setUp() {
    // Safe: a request without an argument.
    call("KVM_CREATE_IRQCHIP", KvmApi.CREATE_IRQCHIP, 0);
    route();
    levelSci();
    final long pit = HostMemory.allocate(PIT_CONFIG_SIZE);
    try {
      // With port 0x61, through which the guest reads timer 2.
      HostMemory.putInt(pit, KvmApi.PIT_SPEAKER_DUMMY);
      // Safe: the struct outlives the call.
      call("KVM_CREATE_PIT2", KvmApi.CREATE_PIT2, pit);
    } finally {
      HostMemory.free(pit);
    }
    for (int gsi = 0; gsi < LINES; gsi++) {
      lines[gsi] = (EDGES & 1 << gsi) != 0 ? edge(gsi) : level(gsi);
    }
  }

  private void route() {
    final long struct = HostMemory.allocate(ROUTING_HEADER + 2L * LINES * ROUTE_SIZE);
    try {
      int count = 0;
      for (int gsi = 0; gsi < LINES; gsi++) {
        if (gsi < ISA_LINES) {
          final int chip = gsi < 8 ? KvmApi.IRQCHIP_PIC_MASTER : KvmApi.IRQCHIP_PIC_SLAVE;
          route(struct, count++, gsi, chip, gsi & 7);
        }
        if (gsi != CASCADE) {
          route(struct, count++, gsi, KvmApi.IRQCHIP_IOAPIC, gsi == 0 ? TIMER_PIN : gsi);
        }
      }
      HostMemory.putInt(struct, count);
      // Safe: the struct has as many entries as it says, KVM copies it.
      call("KVM_SET_GSI_ROUTING", KvmApi.SET_GSI_ROUTING, struct);
    } finally {
      HostMemory.free(struct);
    }
  }

  private static void route(
      final long struct, final int index, final int gsi, final int chip, final int pin) {
    final long at = struct + ROUTING_HEADER + (long) index * ROUTE_SIZE;
    HostMemory.putInt(at, gsi);
    HostMemory.putInt(at + ROUTE_TYPE, KvmApi.IRQ_ROUTING_IRQCHIP);
    HostMemory.putInt(at + ROUTE_CHIP, chip);
    HostMemory.putInt(at + ROUTE_PIN, pin);
  }

  private void levelSci() {
    final long struct = HostMemory.allocate(CHIP_SIZE);
    try {
      HostMemory.putInt(struct, KvmApi.IRQCHIP_PIC_SLAVE);
      // Safe, both: the struct has the requests' size and outlives the calls.
      call("KVM_GET_IRQCHIP", KvmApi.GET_IRQCHIP, struct);
      HostMemory.putByte(struct + PIC_ELCR, SLAVE_ELCR);
      call("KVM_SET_IRQCHIP", KvmApi.SET_IRQCHIP, struct);
    } finally {
      HostMemory.free(struct);
    }
  }

  /** The wire of a device, by the number that {@code irq.Irqchip#line} has for it. */
  public InterruptLine line(final int gsi) {
    if (gsi < 0 || gsi >= LINES || gsi == CASCADE) {
      throw new IllegalArgumentException("gsi=" + gsi + ", allowed: 0 to 23 without 2");
    }
    return lines[gsi];
  }

  private InterruptLine edge(final int gsi) {
    final int event = Libc.eventFd();
    events[made++] = event;
    final long struct = HostMemory.allocate(IRQFD_SIZE);
    try {
      HostMemory.putInt(struct, event);
      HostMemory.putInt(struct + IRQFD_GSI, gsi);
      // Safe: KVM copies the struct, and takes a reference of its own to the eventfd.
      call("KVM_IRQFD", KvmApi.IRQFD, struct);
    } finally {
      HostMemory.free(struct);
    }
    return new InterruptLine() {
      private boolean high;

      @Override
      public void set(final boolean asserted) {
        if (asserted && !high) {
          // Safe: 8 bytes, ours until close. A full counter, EAGAIN, is an edge that is due anyway.
          Libc.write(errno, event, one, 8);
        }
        high = asserted;
      }
    };
  }

  private InterruptLine level(final int gsi) {
    return new InterruptLine() {
      private boolean high;

      @Override
      public void set(final boolean asserted) {
        if (asserted != high) {
          high = asserted;
          HostMemory.putInt(level, gsi);
          HostMemory.putInt(level + 4, asserted ? 1 : 0);
          // Safe: the struct is ours until close.
          call("KVM_IRQ_LINE", KvmApi.IRQ_LINE, level);
        }
      }
    };
  }

  private void call(final String name, final long request, final long argument) {
    final int result = Libc.ioctl(errno, fd, request, argument);
    if (result < 0) {
      throw Libc.failure(name, -result);
    }
  }

  @Override
  public void close() {
    while (made > 0) {
      Libc.close(events[--made]);
    }
    HostMemory.free(level);
    HostMemory.free(one);
  }
}
