package dev.vmexit.device;

import java.util.List;

/**
 * The IDE controller of the 82371SB (Intel datasheet 290550, function 1): two channels at the ports
 * and interrupts of a PC, and a bus master for each (Programming Interface for Bus Master IDE
 * Controller, revision 1.0). Data move when the time of a transfer is over, all at once, by the
 * vCPU thread between two instructions.
 *
 * <pre>
 *   0x1F0-0x1F7 0x3F6 IRQ 14   first channel: disks
 *   0x170-0x177 0x376 IRQ 15   second channel: the CD drive
 *   BAR 4, 16 ports            bus masters: command, status, descriptor table of each channel
 * </pre>
 */
public final class PiixIde extends PciFunction implements PortDevice {
  private static final int ID = 0x7010_8086;

  /** Legacy ports, bus master. */
  private static final int CLASS = 0x0101_8000;

  private static final int BAR4 = 0x20;
  private static final int BAR_IO = 1;

  /** All 32 of an I/O address, as SeaBIOS computes the size from them. */
  private static final int BAR_BITS = 0xFFFF_FFF0;

  private static final int PORTS = 16;
  private static final int TIMING = 0x40;
  private static final int DECODE_BOTH = 0x8000_8000;

  private static final int START = 1;
  private static final int TO_MEMORY = 1 << 3;

  private static final int ACTIVE = 1;
  private static final int ERROR = 1 << 1;
  private static final int INTERRUPT = 1 << 2;
  private static final int CAPABLE = 3 << 5;

  private static final int PRD_BYTES = 8;
  private static final int LAST_PRD = 1 << 31;
  private static final int CHUNK = 64 * 1024;

  /** A table fits into 64 KiB: more entries than this are a loop. */
  private static final int MAX_PRDS = 8192;

  /** Time of a transfer's start, ns, and of each 64 KiB. */
  private static final long LATENCY = 10_000;

  private final PortBus ports;
  private final GuestDma memory;
  private final MachineClock clock;
  private final Master[] masters = new Master[2];
  private final byte[] data = new byte[CHUNK];
  private final byte[] descriptor = new byte[PRD_BYTES];

  /** Where the bus masters are now, or 0. */
  private int base;

  /** One channel's bus master. */
  private static final class Master {
    private final IdeChannel channel;
    private TimerQueue.Timer timer;
    private int command;
    private int status;
    private int table;

    Master(final IdeChannel channel) {
      this.channel = channel;
    }
  }

  /**
   * Makes the controller with its drives.
   *
   * @param ports where it claims its ports, those of its base address when the guest sets it
   * @param memory what its bus masters reach
   * @param disks on the first channel, at most two
   * @param cdrom on the second channel, or null
   */
  public PiixIde(
      final PortBus ports,
      final GuestDma memory,
      final MachineClock clock,
      final TimerQueue timers,
      final InterruptLine firstLine,
      final InterruptLine secondLine,
      final List<BlockStore> disks,
      final BlockStore cdrom) {
    super(ID, CLASS);
    this.ports = ports;
    this.memory = memory;
    this.clock = clock;
    set(COMMAND, 4, 0x0280_0000);
    writable(COMMAND, 2, COMMAND_IO | COMMAND_MASTER);
    set(BAR4, 4, BAR_IO);
    writable(BAR4, 4, BAR_BITS);
    set(TIMING, 4, DECODE_BOTH);
    writable(TIMING, 4, -1);
    final IdeChannel first = new IdeChannel(0x1F0, firstLine);
    for (int i = 0; i < disks.size(); i++) {
      first.plug(i, new AtaDisk(disks.get(i), Integer.toString(i + 1)));
    }
    final IdeChannel second = new IdeChannel(0x170, secondLine);
    if (cdrom != null) {
      second.plug(0, new AtapiDrive(cdrom));
    }
    masters[0] = new Master(first);
    masters[1] = new Master(second);
    for (final Master master : masters) {
      master.timer = timers.newTimer(() -> transfer(master));
      final IdeChannel channel = master.channel;
      channel.onDma(() -> begin(master));
      if (!channel.isEmpty()) {
        ports.register(channel, channel.commandPort(), channel.commandPort() + 7);
        ports.register(channel, channel.controlPort(), channel.controlPort());
      }
    }
  }

  @Override
  protected void written(final int register, final int size) {
    final boolean decodes = (get(COMMAND, 2) & COMMAND_IO) != 0;
    final int address = get(BAR4, 4) & BAR_BITS;
    // While it is sized, the address lies beyond the ports.
    final int wanted = decodes && address >>> 16 == 0 ? address : 0;
    if (wanted == base) {
      return;
    }
    if (base != 0) {
      ports.release(base, base + PORTS - 1);
    }
    base = wanted != 0 && ports.claimIfFree(this, wanted, wanted + PORTS - 1) ? wanted : 0;
  }

  @Override
  public int readPort(final int port, final int size) {
    int value = 0;
    for (int i = 0; i < size; i++) {
      value |= readByte(port - base + i) << 8 * i;
    }
    return value;
  }

  private int readByte(final int offset) {
    final Master master = masters[offset >>> 3 & 1];
    return switch (offset & 7) {
      case 0 -> master.command;
      case 2 -> master.status;
      case 4, 5, 6, 7 -> master.table >>> 8 * (offset & 3) & 0xFF;
      default -> 0;
    };
  }

  @Override
  public void writePort(final int port, final int size, final int value) {
    for (int i = 0; i < size; i++) {
      writeByte(port - base + i, value >>> 8 * i & 0xFF);
    }
  }

  private void writeByte(final int offset, final int value) {
    final Master master = masters[offset >>> 3 & 1];
    switch (offset & 7) {
      case 0 -> writeCommand(master, value);
      // Error and interrupt are cleared by ones, the capabilities are the guest's to keep.
      case 2 ->
          master.status =
              master.status & ~(value & (ERROR | INTERRUPT)) & ~CAPABLE | value & CAPABLE;
      case 4, 5, 6, 7 -> {
        final int shift = 8 * (offset & 3);
        master.table = (master.table & ~(0xFF << shift) | value << shift) & ~3;
      }
      default -> {
        // Reserved.
      }
    }
  }

  private void writeCommand(final Master master, final int value) {
    final boolean starts = (value & ~master.command & START) != 0;
    master.command = value & (START | TO_MEMORY);
    if (starts) {
      master.status |= ACTIVE;
      begin(master);
    } else if ((value & START) == 0) {
      // What had not begun never will.
      master.status &= ~ACTIVE;
      master.timer.cancel();
    }
  }

  /** Starts a transfer, once the drive asks and the guest has started the bus master. */
  private void begin(final Master master) {
    final IdeDrive drive = master.channel.drive();
    if ((master.status & ACTIVE) != 0
        && drive != null
        && drive.wantsDma()
        && master.timer.deadline() == TimerQueue.NEVER) {
      master.timer.schedule(clock.nanos() + LATENCY);
    }
  }

  /** Moves all that the descriptors and the drive agree on. */
  private void transfer(final Master master) {
    final IdeDrive drive = master.channel.drive();
    if (drive == null || !drive.wantsDma()) {
      return; // reset meanwhile
    }
    final boolean toDrive = drive.dmaToDrive();
    if (toDrive == ((master.command & TO_MEMORY) != 0) || (get(COMMAND, 2) & COMMAND_MASTER) == 0) {
      fail(master, drive);
      return;
    }
    long at = master.table & 0xFFFF_FFFFL;
    boolean last = false;
    for (int i = 0; i < MAX_PRDS && !last && drive.dmaLeft() > 0; i++) {
      if (!memory.read(at, descriptor, 0, PRD_BYTES)) {
        fail(master, drive);
        return;
      }
      at += PRD_BYTES;
      final long gpa = word(0) & 0xFFFF_FFFEL;
      final int size = (word(4) & 0xFFFE) == 0 ? CHUNK : word(4) & 0xFFFE;
      last = (word(4) & LAST_PRD) != 0;
      if (!move(drive, gpa, (int) Math.min(size, drive.dmaLeft()), toDrive)) {
        fail(master, drive);
        return;
      }
      if (drive.dmaLeft() == 0 && !last) {
        // The drive ends first: the bus master stays active (table 2 of its interface).
        finish(master, drive);
        return;
      }
    }
    if (drive.dmaLeft() > 0) {
      fail(master, drive);
      return;
    }
    master.status &= ~ACTIVE;
    finish(master, drive);
  }

  private boolean move(
      final IdeDrive drive, final long gpa, final int length, final boolean toDrive) {
    return toDrive
        ? memory.read(gpa, data, 0, length) && drive.dmaMove(data, 0, length)
        : drive.dmaMove(data, 0, length) && memory.write(gpa, data, 0, length);
  }

  private int word(final int offset) {
    return descriptor[offset] & 0xFF
        | (descriptor[offset + 1] & 0xFF) << 8
        | (descriptor[offset + 2] & 0xFF) << 16
        | descriptor[offset + 3] << 24;
  }

  private void finish(final Master master, final IdeDrive drive) {
    master.status |= INTERRUPT;
    drive.dmaDone();
    master.channel.update();
  }

  private void fail(final Master master, final IdeDrive drive) {
    master.status = master.status & ~ACTIVE | ERROR | INTERRUPT;
    drive.dmaFailed();
    master.channel.update();
  }
}
