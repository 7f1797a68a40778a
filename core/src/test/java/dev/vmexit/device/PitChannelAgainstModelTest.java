package dev.vmexit.device;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Random;
import java.util.function.Supplier;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The closed formulas of {@link PitChannel} against a model that is clocked pulse by pulse,
 * straight from the datasheet's description of each mode, through random counts, gates and
 * rewrites.
 */
final class PitChannelAgainstModelTest {
  private static final int RUNS = 200;
  private static final int TICKS = 300;

  /** An 8254 counter with a clock input. */
  private static final class Model {
    private final int mode;
    private final int modulus;
    private boolean gate;
    private boolean out;
    private int register;
    private int element;
    private boolean load;
    private boolean trigger;
    private boolean counts;
    private boolean armed;

    Model(final int mode, final int modulus, final boolean gate) {
      this.mode = mode;
      this.modulus = modulus;
      this.gate = gate;
      this.out = mode != 0;
    }

    void write(final int count) {
      register = count;
      switch (mode) {
        case 0 -> {
          out = false;
          load = true;
        }
        case 4 -> load = true;
        case 1, 5 -> {
          // Waits for the gate.
        }
        default -> load = load || !counts;
      }
    }

    void gate(final boolean level) {
      if (level && !gate) {
        trigger = true;
      }
      gate = level;
      if (!level && (mode == 2 || mode == 3)) {
        out = true;
      }
    }

    void clock() {
      switch (mode) {
        case 0 -> {
          if (load) {
            start();
          } else if (gate && counts) {
            down(1);
            if (armed && element == 0) {
              armed = false;
              out = true;
            }
          }
        }
        case 4 -> {
          out = true;
          if (load) {
            start();
          } else if (gate && counts) {
            down(1);
            strobe();
          }
        }
        case 1 -> {
          if (trigger && register != 0) {
            start();
            out = false;
          } else if (counts) {
            down(1);
            if (armed && element == 0) {
              armed = false;
              out = true;
            }
          }
        }
        case 5 -> {
          out = true;
          if (trigger && register != 0) {
            start();
          } else if (counts) {
            down(1);
            strobe();
          }
        }
        case 2 -> {
          if (gate && register != 0 && (load || trigger)) {
            start();
            out = true;
          } else if (gate && counts) {
            if (value() == 1) {
              start();
              out = true;
            } else {
              down(1);
              out = value() != 1;
            }
          }
        }
        default -> square();
      }
      trigger = false;
    }

    private void square() {
      if (gate && register != 0 && (load || trigger)) {
        out = true;
        startHalf();
      } else if (gate && counts) {
        // An odd count spends one pulse more at zero in its high half.
        final boolean odd = armed;
        if (value() == 0 || (value() == 2 && (!odd || !out))) {
          out = !out;
          startHalf();
        } else {
          element -= 2;
        }
      }
    }

    private void startHalf() {
      start();
      armed = (register & 1) != 0;
      element = armed ? register - 1 : register;
    }

    private void start() {
      element = register;
      load = false;
      counts = true;
      armed = true;
    }

    private void down(final int by) {
      element = Math.floorMod(element - by, modulus);
    }

    private void strobe() {
      if (armed && element == 0) {
        armed = false;
        out = false;
      }
    }

    int value() {
      return element % modulus;
    }

    boolean shows() {
      return counts && !load && (gate || mode == 0 || mode == 4 || mode == 1 || mode == 5);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2, 3, 4, 5})
  void shouldFollowAModelClockedPulseByPulse(final int mode) {
    final Random random = new Random(8254 + mode);
    for (int run = 0; run < RUNS; run++) {
      final boolean bcd = random.nextBoolean();
      final boolean gate = random.nextBoolean();
      final PitChannel channel = new PitChannel(gate);
      final Model model = new Model(mode, bcd ? 10_000 : 0x1_0000, gate);
      long tick = random.nextInt(5);
      channel.writeControl(0x30 | mode << 1 | (bcd ? 1 : 0), tick);
      final StringBuilder history = new StringBuilder("mode " + mode + " bcd " + bcd);
      history.append(" gate ").append(gate);
      boolean before = model.out;
      long rise = channel.nextRise(tick);
      final int calm = 1 + random.nextInt(20);
      for (int i = 0; i < TICKS; i++) {
        switch (random.nextInt(2 * calm)) {
          case 0 -> {
            final int count = 2 + random.nextInt(12);
            history.append("\nwrite ").append(count).append(" at ").append(tick);
            final int digits = bcd ? (count / 10 * 6) + count : count;
            channel.writeData(digits, tick);
            channel.writeData(0, tick);
            model.write(count);
            rise = channel.nextRise(tick);
          }
          case 1 -> {
            history.append("\ngate ").append(!model.gate).append(" at ").append(tick);
            channel.setGate(!model.gate, tick);
            model.gate(!model.gate);
            rise = channel.nextRise(tick);
          }
          default -> {
            // Just another pulse.
          }
        }
        final long at = tick;
        final Supplier<String> where = () -> history + "\nat " + at + ": ";
        assertEquals(model.out, channel.outAt(tick), () -> where.get() + "OUT");
        if (model.shows()) {
          channel.latchCount(tick);
          final int read = channel.readData(tick) | channel.readData(tick) << 8;
          final int value = model.value();
          final int shown = bcd ? Integer.parseInt(Integer.toString(value), 16) : value;
          assertEquals(shown, read, () -> where.get() + "count");
        }
        before = model.out;
        model.clock();
        tick++;
        final boolean rises = !before && model.out;
        final long expected = rise;
        final long now = tick;
        assertEquals(rises, now == expected, () -> where.get() + "next rise " + expected);
        if (rises) {
          rise = channel.nextRise(tick);
        }
      }
    }
  }
}
