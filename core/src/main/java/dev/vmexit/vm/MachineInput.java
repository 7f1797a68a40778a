package dev.vmexit.vm;

import dev.vmexit.device.Uart16550;
import dev.vmexit.irq.Irqchip;
import org.agrona.MutableDirectBuffer;
import org.agrona.concurrent.MessageHandler;

/**
 * What comes to a machine from outside: commands, of which typed bytes wait here until the serial
 * port has room. Belongs to the first vCPU's loop.
 */
final class MachineInput {
  private static final int CONSOLE_BUFFER = 64 * 1024;

  private final CommandRing commands;
  private final Uart16550 uart;
  private final Irqchip irqchip;
  private final VcpuGroup group;

  /** Bound once: a method reference in the loop would be an object a round. */
  private final MessageHandler onCommand = this::command;

  private final byte[] pending = new byte[CONSOLE_BUFFER];
  private int head;
  private int tail;

  MachineInput(
      final CommandRing commands,
      final Uart16550 uart,
      final Irqchip irqchip,
      final VcpuGroup group) {
    this.commands = commands;
    this.uart = uart;
    this.irqchip = irqchip;
    this.group = group;
  }

  /** Takes what has come. */
  void drain() {
    commands.drain(onCommand);
    while (head != tail && uart.canReceive()) {
      uart.receive(pending[head++ & CONSOLE_BUFFER - 1] & 0xFF);
    }
  }

  private void command(
      final int type, final MutableDirectBuffer buffer, final int index, final int length) {
    switch (type) {
      case CommandRing.STOP -> group.end(RunEnd.of(buffer.getInt(index)), 0);
      case CommandRing.CONSOLE_INPUT -> {
        for (int i = 0; i < length; i++) {
          if (tail - head < CONSOLE_BUFFER) {
            pending[tail++ & CONSOLE_BUFFER - 1] = buffer.getByte(index + i);
          }
        }
      }
      case CommandRing.NMI -> irqchip.pulseNmi();
      default -> {}
    }
  }
}
