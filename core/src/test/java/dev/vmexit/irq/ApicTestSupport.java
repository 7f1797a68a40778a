package dev.vmexit.irq;

import dev.vmexit.device.ManualTime;

/** Controllers with a hand-wound clock, and the accesses a kernel makes to them. */
abstract class ApicTestSupport {
  static final int ID = 0x20;
  static final int TPR = 0x80;
  static final int PPR = 0xA0;
  static final int EOI = 0xB0;
  static final int LDR = 0xD0;
  static final int DFR = 0xE0;
  static final int SVR = 0xF0;
  static final int ISR = 0x100;
  static final int TMR = 0x180;
  static final int IRR = 0x200;
  static final int ESR = 0x280;
  static final int ICR_LOW = 0x300;
  static final int ICR_HIGH = 0x310;
  static final int LVT_TIMER = 0x320;
  static final int LVT_LINT0 = 0x350;
  static final int LVT_LINT1 = 0x360;
  static final int LVT_ERROR = 0x370;
  static final int INITIAL = 0x380;
  static final int CURRENT = 0x390;
  static final int DIVIDE = 0x3E0;

  static final int MASKED = 1 << 16;
  static final int LEVEL = 1 << 15;

  final ManualTime time = new ManualTime();
  final Irqchip chip = new Irqchip(2, time, time.timers());

  final int read(final int register) {
    return (int) chip.localApic(0).readMmio(register, 4);
  }

  final void write(final int register, final int value) {
    write(0, register, value);
  }

  final void write(final int vcpu, final int register, final int value) {
    chip.localApic(vcpu).writeMmio(register, 4, value & 0xFFFF_FFFFL);
  }

  /** Software-enables the APIC of each vCPU and shuts the PIC off. */
  final void enableApics() {
    for (int vcpu = 0; vcpu < 2; vcpu++) {
      write(vcpu, SVR, 0x1FF);
      write(vcpu, LVT_LINT0, MASKED);
    }
  }

  final int ioRead(final int index) {
    chip.ioApic().writeMmio(0x00, 4, index);
    return (int) chip.ioApic().readMmio(0x10, 4);
  }

  final void ioWrite(final int index, final int value) {
    chip.ioApic().writeMmio(0x00, 4, index);
    chip.ioApic().writeMmio(0x10, 4, value & 0xFFFF_FFFFL);
  }

  final void route(final int pin, final int destination, final int low) {
    ioWrite(0x11 + 2 * pin, destination << 24);
    ioWrite(0x10 + 2 * pin, low);
  }

  final void initializePic() {
    final int[][] words = {
      {0x20, 0x11}, {0x21, 0x30}, {0x21, 4}, {0x21, 1},
      {0xA0, 0x11}, {0xA1, 0x38}, {0xA1, 2}, {0xA1, 1}
    };
    for (final int[] word : words) {
      chip.pic().writePort(word[0], 1, word[1]);
    }
  }
}
