package dev.vmexit.vm;

import org.agrona.MutableDirectBuffer;
import org.agrona.concurrent.MessageHandler;

/**
 * What comes to a machine from outside: commands, of which typed bytes and keys wait here until
 * their device has room. Belongs to the first vCPU's loop.
 */
final class MachineInput {
  private final CommandRing commands;
  private PcPlatform platform;
  private final VcpuGroup group;
  private final Runnable checkpoint;

  /** Bound once: a method reference in the loop would be an object a round. */
  private final MessageHandler onCommand = this::command;

  private final InputQueue consoleInput = new InputQueue();
  private final InputQueue keys = new InputQueue();

  /** One of the two holds something. */
  private boolean waiting;

  MachineInput(
      final CommandRing commands,
      final PcPlatform platform,
      final VcpuGroup group,
      final Runnable checkpoint) {
    this.commands = commands;
    this.platform = platform;
    this.group = group;
    this.checkpoint = checkpoint;
  }

  /** The devices are new. */
  void platform(final PcPlatform next) {
    platform = next;
  }

  /** Takes what has come. */
  void drain() {
    if (commands.drain(onCommand) == 0 && !waiting) {
      return;
    }
    while (!consoleInput.isEmpty() && platform.uart().canReceive()) {
      platform.uart().receive(consoleInput.next());
    }
    if (!keys.isEmpty()) {
      platform.press(keys);
    }
    waiting = !consoleInput.isEmpty() || !keys.isEmpty();
  }

  private void command(
      final int type, final MutableDirectBuffer buffer, final int index, final int length) {
    switch (type) {
      case CommandRing.STOP -> group.end(RunEnd.of(buffer.getInt(index)), 0);
      case CommandRing.CONSOLE_INPUT -> consoleInput.add(buffer, index, length);
      case CommandRing.KEYS -> keys.add(buffer, index, length);
      case CommandRing.CHECKPOINT -> checkpoint.run();
      case CommandRing.NMI -> platform.irqchip().pulseNmi();
      default -> {}
    }
  }
}
