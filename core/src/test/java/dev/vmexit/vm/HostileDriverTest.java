package dev.vmexit.vm;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.device.BlockStore;
import dev.vmexit.device.ManualTime;
import dev.vmexit.memory.GuestMemory;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SplittableRandom;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A guest that touches the devices of a machine with everything at random: nothing that it does may
 * end in an exception, or in a write outside its memory. More by {@code -Dvmexit.hostile.accesses}.
 */
final class HostileDriverTest {
  private static final int ACCESSES = Integer.getInteger("vmexit.hostile.accesses", 400_000);
  private static final long RAM = 1 << 20;

  /** Ports worth touching: all that a device may be at. */
  private static final int[][] PORTS = {
    {0x1F0, 0x1F7},
    {0x170, 0x177},
    {0x3F6, 0x3F6},
    {0x376, 0x376},
    {0x3B0, 0x3DF},
    {0x60, 0x64},
    {0x510, 0x511},
    {0xCF8, 0xCFF},
    {0xC000, 0xC00F},
    {0xB000, 0xB03F},
    {0xAFE0, 0xAFE3},
    {0x402, 0x402},
    {0x20, 0x21},
    {0x70, 0x71},
    {0x3F8, 0x3FF},
    {0x92, 0x92},
    {0, 0xFFFF}
  };

  private static final class Store implements BlockStore {
    private final SplittableRandom random;
    private final long bytes;

    Store(final long bytes, final SplittableRandom random) {
      this.bytes = bytes;
      this.random = random;
    }

    @Override
    public long bytes() {
      return bytes;
    }

    @Override
    public boolean isWritable() {
      return random.nextInt(10) != 0;
    }

    private boolean inside(final long offset, final byte[] array, final int at, final int length) {
      assertTrue(offset >= 0 && length > 0 && offset <= bytes - length, offset + " " + length);
      assertTrue(at >= 0 && at <= array.length - length);
      return random.nextInt(20) != 0;
    }

    @Override
    public boolean read(final long offset, final byte[] to, final int at, final int length) {
      return inside(offset, to, at, length);
    }

    @Override
    public boolean write(final long offset, final byte[] from, final int at, final int length) {
      return inside(offset, from, at, length);
    }

    @Override
    public boolean flush() {
      return random.nextInt(20) != 0;
    }
  }

  private static final class Nobody implements PlatformEvents {
    @Override
    public void powerOff() {}

    @Override
    public void reset(final String source) {}

    @Override
    public void debugExit(final int status) {}
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5})
  void shouldSurviveAnything(final long seed) {
    final SplittableRandom random = new SplittableRandom(seed);
    final ManualTime time = new ManualTime();
    try (GuestMemory memory = GuestMemory.builder().ram(0, RAM).build()) {
      final RecordedDma dma = new RecordedDma(memory);
      dma.tell((gpa, from, at, length) -> assertTrue(gpa >= 0 && gpa <= RAM - length));
      final PcPlatform platform =
          new PcPlatform(
              time,
              time.timers(),
              new PcPlatform.Options(0, RAM, 0, 1, value -> {}, value -> {}, false),
              new Nobody(),
              new Peripherals(
                  Optional.of(new Peripherals.Firmware(Map.of("a", new byte[100]), value -> {})),
                  List.of(new Store(512 * 1000, random.split()), new Store(512, random.split())),
                  Optional.of(new Store(2048 * 50, random.split())),
                  Optional.of((cells, columns, rows, cursor) -> screen(columns, rows, cursor))),
              dma);
      place(platform);
      final byte[] string = new byte[512];
      for (int i = 0; i < ACCESSES; i++) {
        final int[] range = PORTS[random.nextInt(PORTS.length)];
        final int port = random.nextInt(range[0], range[1] + 1);
        final int size = 1 << random.nextInt(3);
        switch (random.nextInt(16)) {
          case 0, 1, 2, 3 -> platform.ports().read(port, size);
          case 4 -> platform.ports().readString(port, size, 1 + random.nextInt(512 / size), string);
          case 5 -> platform.memory().write(0xA_0000 + random.nextInt(0x2_0000), size, i);
          case 6 -> platform.memory().read(0xA_0000 + random.nextInt(0x2_0000), size);
          case 7 -> time.advance(random.nextInt(1_000_000));
          case 8 -> command(platform, random);
          case 9 -> bytes(memory, random);
          default -> platform.ports().write(port, size, random.nextInt());
        }
      }
    }
  }

  private static void screen(final int columns, final int rows, final int cursor) {
    assertTrue(columns > 0 && rows > 0 && cursor >= -1 && cursor < columns * rows);
  }

  private static void place(final PcPlatform platform) {
    platform.ports().write(0xCF8, 4, 0x8000_0920);
    platform.ports().write(0xCFC, 4, 0xC000);
    platform.ports().write(0xCF8, 4, 0x8000_0904);
    platform.ports().write(0xCFC, 2, 5);
  }

  /** A command that a drive knows, to a place that may be on it, and its bus master started. */
  private static void command(final PcPlatform platform, final SplittableRandom random) {
    final int base = random.nextBoolean() ? 0x1F0 : 0x170;
    final int[] commands = {
      0x20, 0x24, 0x29, 0x30, 0x34, 0x39, 0xC4, 0xC5, 0xC6, 0xC8, 0xCA, 0x25, 0x35, 0xA0, 0xA1,
      0xEC, 0xEF, 0x91, 0x90, 0x08, 0xE7, 0x40, 0x27, 0xF8
    };
    platform.ports().write(base + 2, 1, random.nextInt(5));
    platform.ports().write(base + 3, 1, random.nextInt(256));
    platform.ports().write(base + 4, 1, random.nextInt(4));
    platform.ports().write(base + 5, 1, 0);
    platform.ports().write(base + 6, 1, 0xE0 | random.nextInt(2) << 4);
    platform.ports().write(base + 7, 1, commands[random.nextInt(commands.length)]);
    if (random.nextBoolean()) {
      platform.ports().write(0xC004 + (base == 0x170 ? 8 : 0), 4, random.nextInt((int) RAM));
      platform.ports().write(0xC000 + (base == 0x170 ? 8 : 0), 1, 1 | random.nextInt(2) << 3);
    } else {
      for (int i = 0; i < 6; i++) {
        platform.ports().write(base, 2, random.nextBoolean() ? 0x28 : random.nextInt());
      }
    }
  }

  private static void bytes(final GuestMemory memory, final SplittableRandom random) {
    final long at = random.nextInt((int) RAM / 8) * 8L;
    memory.write32(at, random.nextInt((int) RAM * 2));
    memory.write32(at + 4, random.nextInt() & 0x8000_0FFF);
  }
}
