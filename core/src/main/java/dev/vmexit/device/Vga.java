package dev.vmexit.device;

/**
 * A VGA (IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem") whose text modes are
 * shown to a {@link ScreenSink}: registers, {@link VgaMemory}, and at most thirty pictures a second
 * of the machine's time, each only after a change. Of graphics modes nothing is shown.
 *
 * <pre>
 *   0x3C0-0x3C1 attributes   0x3C2 0x3CC miscellaneous   0x3C4-0x3C5 sequencer   0x3C6-0x3C9 DAC
 *   0x3CE-0x3CF graphics     0x3B4-0x3B5 or 0x3D4-0x3D5 CRT controller   0x3BA or 0x3DA status
 * </pre>
 */
public final class Vga extends BytePortDevice {
  /** Guest-physical address of its memory. */
  public static final long MEMORY = VgaMemory.BASE;

  /** Bytes of its memory. */
  public static final int MEMORY_LENGTH = VgaMemory.LENGTH;

  /** First port of the colour registers. */
  public static final int FIRST_PORT = 0x3C0;

  /** Last port of the colour registers. */
  public static final int LAST_PORT = 0x3DF;

  /** First port of the monochrome CRT controller. */
  public static final int MONO_FIRST_PORT = 0x3B0;

  /** Last port of the monochrome CRT controller. */
  public static final int MONO_LAST_PORT = 0x3BB;

  private static final int MISC_COLOUR = 1;
  private static final int CRTC_REGISTERS = 25;
  private static final int CRTC_PROTECTED = 7;

  /** 70 pictures a second, of 449 lines. */
  private static final long FRAME_NANOS = 14_285_714;

  private static final long LINE_NANOS = FRAME_NANOS / 449;
  private static final long VISIBLE_NANOS = LINE_NANOS * 400;
  private static final long REFRESH_NANOS = 33_000_000;

  private static final int MAX_CELLS = 256 * 128;

  private final byte[] sequencer = new byte[8];
  private final byte[] graphics = new byte[16];
  private final byte[] crtc = new byte[CRTC_REGISTERS];
  private final byte[] attributes = new byte[32];
  private final byte[] palette = new byte[768];
  private final VgaMemory memory = new VgaMemory(sequencer, graphics, this::changed);
  private final short[] cells = new short[MAX_CELLS];
  private final MachineClock clock;
  private final ScreenSink screen;
  private final TimerQueue.Timer refresh;

  private int misc = MISC_COLOUR;
  private int sequencerIndex;
  private int graphicsIndex;
  private int crtcIndex;

  /** Register of the attribute controller. */
  private static final int MODE_CONTROL = 0x10;

  /** Bit 7 of an attribute blinks. */
  private static final int MODE_BLINK = 1 << 3;

  private int attributeIndex;
  private boolean attributeData;
  private int dacMask = 0xFF;
  private int dacIndex;
  private boolean dacReading;

  /** Makes a display at power-on. */
  public Vga(final MachineClock clock, final TimerQueue timers, final ScreenSink screen) {
    this.clock = clock;
    this.screen = screen;
    this.refresh = timers.newTimer(this::show);
  }

  /** Its memory, for {@link #MEMORY}. */
  public MmioDevice memory() {
    return memory;
  }

  // ---- what is seen ----

  private void changed() {
    if (refresh.deadline() == TimerQueue.NEVER) {
      refresh.schedule(clock.nanos() + REFRESH_NANOS);
    }
  }

  private int crtc(final int register) {
    return crtc[register] & 0xFF;
  }

  private void show() {
    final int columns = crtc(1) + 1;
    final int lines = (crtc(0x12) | (crtc(7) & 2) << 7 | (crtc(7) & 0x40) << 3) + 1;
    final int rows = lines / ((crtc(9) & 0x1F) + 1);
    if ((graphics[6] & 1) != 0 || rows == 0 || columns * rows > MAX_CELLS) {
      return;
    }
    final int start = crtc(0x0C) << 8 | crtc(0x0D);
    final int pitch = crtc(0x13) * 2;
    for (int row = 0; row < rows; row++) {
      for (int column = 0; column < columns; column++) {
        // In text modes the addresses of cells are even.
        cells[row * columns + column] = (short) memory.text(2 * (start + row * pitch + column));
      }
    }
    screen.blinks((attributes[MODE_CONTROL] & MODE_BLINK) != 0);
    screen.show(cells, columns, rows, cursor(start, pitch, columns, rows));
  }

  private int cursor(final int start, final int pitch, final int columns, final int rows) {
    final int at = (crtc(0x0E) << 8 | crtc(0x0F)) - start;
    final boolean noLines = (crtc(0x0A) & 0x1F) > (crtc(0x0B) & 0x1F);
    final boolean hidden = (crtc(0x0A) & 0x20) != 0 || noLines || pitch == 0;
    if (hidden || at < 0 || at / pitch >= rows || at % pitch >= columns) {
      return -1;
    }
    return at / pitch * columns + at % pitch;
  }

  // ---- registers ----

  /** Whether a port of the CRT controller is where the miscellaneous register puts it. */
  private boolean isHere(final int port) {
    return port >= FIRST_PORT == ((misc & MISC_COLOUR) != 0);
  }

  @Override
  protected int readByte(final int port) {
    return switch (port) {
      case 0x3C0 -> attributeIndex;
      case 0x3C1 -> attributes[attributeIndex & 0x1F] & 0xFF;
      case 0x3C2 -> 0x10; // a colour monitor
      case 0x3C4 -> sequencerIndex;
      case 0x3C5 -> sequencer[sequencerIndex & 7] & 0xFF;
      case 0x3C6 -> dacMask;
      case 0x3C7 -> dacReading ? 3 : 0;
      case 0x3C8 -> dacIndex / 3 & 0xFF;
      case 0x3C9 -> readDac();
      case 0x3CC -> misc;
      case 0x3CE -> graphicsIndex;
      case 0x3CF -> graphics[graphicsIndex & 15] & 0xFF;
      case 0x3B4, 0x3D4 -> isHere(port) ? crtcIndex : 0xFF;
      case 0x3B5, 0x3D5 -> isHere(port) && crtcIndex < CRTC_REGISTERS ? crtc(crtcIndex) : 0xFF;
      case 0x3BA, 0x3DA -> isHere(port) ? readStatus() : 0xFF;
      case 0x3CA -> 0;
      default -> 0xFF;
    };
  }

  private int readStatus() {
    attributeData = false;
    final long inFrame = clock.nanos() % FRAME_NANOS;
    if (inFrame >= VISIBLE_NANOS) {
      return 0x09; // retrace, nothing displayed
    }
    return inFrame % LINE_NANOS >= LINE_NANOS * 4 / 5 ? 0x01 : 0;
  }

  private int readDac() {
    final int value = palette[dacIndex];
    dacIndex = (dacIndex + 1) % palette.length;
    return value;
  }

  @Override
  protected void writeByte(final int port, final int value) {
    switch (port) {
      case 0x3C0 -> writeAttribute(value);
      case 0x3C2 -> misc = value;
      case 0x3C4 -> sequencerIndex = value;
      case 0x3C5 -> sequencer[sequencerIndex & 7] = (byte) value;
      case 0x3C6 -> dacMask = value;
      case 0x3C7 -> selectDac(value, true);
      case 0x3C8 -> selectDac(value, false);
      case 0x3C9 -> {
        palette[dacIndex] = (byte) (value & 0x3F);
        dacIndex = (dacIndex + 1) % palette.length;
      }
      case 0x3CE -> graphicsIndex = value;
      case 0x3CF -> {
        graphics[graphicsIndex & 15] = (byte) value;
        changed();
      }
      case 0x3B4, 0x3D4 -> {
        if (isHere(port)) {
          crtcIndex = value;
        }
      }
      case 0x3B5, 0x3D5 -> {
        if (isHere(port)) {
          writeCrtc(value);
        }
      }
      default -> {
        // Feature control, and ports of adapters before this one.
      }
    }
  }

  private void selectDac(final int colour, final boolean reading) {
    dacIndex = colour * 3;
    dacReading = reading;
  }

  private void writeAttribute(final int value) {
    if (attributeData) {
      attributes[attributeIndex & 0x1F] = (byte) value;
      changed();
    } else {
      attributeIndex = value & 0x3F;
    }
    attributeData = !attributeData;
  }

  private void writeCrtc(final int value) {
    if (crtcIndex >= CRTC_REGISTERS) {
      return;
    }
    if (crtcIndex <= CRTC_PROTECTED && (crtc(0x11) & 0x80) != 0) {
      // Of the protected ones, the line compare bit alone.
      if (crtcIndex == CRTC_PROTECTED) {
        crtc[7] = (byte) (crtc[7] & ~0x10 | value & 0x10);
      }
      return;
    }
    crtc[crtcIndex] = (byte) value;
    changed();
  }
}
