package dev.vmexit.vm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.boot.AcpiTables;
import dev.vmexit.device.AcpiPm;
import dev.vmexit.device.ManualTime;
import dev.vmexit.device.PortBus;
import dev.vmexit.device.ResetControl;
import dev.vmexit.irq.Irqchip;
import dev.vmexit.irq.LocalApic;
import java.io.ByteArrayOutputStream;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The devices together, as a guest meets them through the buses. */
final class PcPlatformTest {
  private static final long IO_APIC = 0xFEC0_0000L;
  private static final long APIC = LocalApic.BASE;

  private final ManualTime time = new ManualTime();
  private final ByteArrayOutputStream console = new ByteArrayOutputStream();
  private final ByteArrayOutputStream debug = new ByteArrayOutputStream();
  private final List<String> events = new ArrayList<>();
  private final PcPlatform platform = platform(true);
  private final PortBus ports = platform.ports();
  private final Irqchip irqchip = platform.irqchip();

  private PcPlatform platform(final boolean debugExit) {
    return new PcPlatform(
        time,
        time.timers(),
        new PcPlatform.Options(
            1_700_000_000, 256 << 20, 0, 1, console::write, debug::write, debugExit),
        new PlatformEvents() {
          @Override
          public void powerOff() {
            events.add("power off");
          }

          @Override
          public void reset(final String source) {
            events.add("reset by " + source);
          }

          @Override
          public void debugExit(final int status) {
            events.add("exit " + status);
          }
        });
  }

  private void route(final int pin, final int low) {
    platform.memory().write(IO_APIC, 4, 0x11 + 2 * pin);
    platform.memory().write(IO_APIC + 0x10, 4, 0);
    platform.memory().write(IO_APIC, 4, 0x10 + 2 * pin);
    platform.memory().write(IO_APIC + 0x10, 4, low);
  }

  private void enableApic() {
    platform.memory().write(APIC + 0xF0, 4, 0x1FF);
    platform.memory().write(APIC + 0x350, 4, 1 << 16);
  }

  @Test
  void shouldTickThroughTheIoApic() {
    enableApic();
    route(2, 0x30);
    ports.write(0x43, 1, 0x34);
    ports.write(0x40, 1, 4772 & 0xFF);
    ports.write(0x40, 1, 4772 >> 8);
    int ticks = 0;
    for (int i = 0; i < 1000; i++) {
      time.advance(1_000_000);
      while (irqchip.interruptPending(0)) {
        assertEquals(0x30, irqchip.acknowledge(0));
        platform.memory().write(APIC + 0xB0, 4, 0);
        ticks++;
      }
    }
    assertEquals(250, ticks);
  }

  @Test
  void shouldTickThroughThePic() {
    final int[][] words = {
      {0x20, 0x11},
      {0x21, 0x08},
      {0x21, 4},
      {0x21, 1},
      {0x21, 0xFE},
      {0x43, 0x36},
      {0x40, 0},
      {0x40, 0}
    };
    for (final int[] word : words) {
      ports.write(word[0], 1, word[1]);
    }
    int ticks = 0;
    for (int i = 0; i < 1000; i++) {
      time.advance(1_000_000);
      if (irqchip.interruptPending(0)) {
        assertEquals(8, irqchip.acknowledge(0));
        ports.write(0x20, 1, 0x20);
        ticks++;
      }
    }
    assertEquals(18, ticks, 1, "18.2 Hz");
  }

  @Test
  void shouldTalkOnTheConsole() {
    enableApic();
    route(4, 0x34);
    for (final char c : "vm".toCharArray()) {
      ports.write(0x3F8, 1, c);
    }
    assertArrayEquals(new byte[] {'v', 'm'}, console.toByteArray());
    ports.write(0x3F9, 1, 1);
    platform.uart().receive('k');
    assertEquals(0x34, irqchip.acknowledge(0));
    assertEquals('k', ports.read(0x3F8, 1));
    ports.write(0xE9, 1, '!');
    assertArrayEquals(new byte[] {'!'}, debug.toByteArray());
  }

  @Test
  void shouldRaiseTheSciAsALevel() {
    enableApic();
    route(9, 1 << 15 | 0x39);
    ports.write(0x602, 2, 0x100);
    platform.acpiPm().pressPowerButton();
    assertEquals(0x39, irqchip.acknowledge(0));
    platform.memory().write(APIC + 0xB0, 4, 0);
    assertTrue(irqchip.interruptPending(0), "until the status is cleared");
    assertEquals(0x39, irqchip.acknowledge(0));
    ports.write(0x600, 2, 0x100);
    platform.memory().write(APIC + 0xB0, 4, 0);
    assertFalse(irqchip.interruptPending(0));
    assertEquals(0x02, ports.read(0x4D1, 1));
  }

  @Test
  void shouldTellOfPowerOffResetsAndExit() {
    ports.write(0x604, 2, 0x3400);
    ports.write(0xCF8, 4, 0x8000_0000);
    ports.write(0xCF9, 1, 6);
    ports.write(0x64, 1, 0xFE);
    ports.write(0x92, 1, 1);
    ports.write(0xF4, 1, 3);
    assertEquals(
        List.of(
            "power off",
            "reset by reset control register (port 0xcf9)",
            "reset by keyboard controller (port 0x64)",
            "reset by system control port (port 0x92)",
            "exit 7"),
        events);
  }

  @Test
  void shouldHaveNoDebugExitUnlessAsked() {
    final PcPlatform plain = platform(false);
    plain.ports().write(0xF4, 1, 3);
    assertEquals(List.of(), events);
    assertEquals(0xFF, plain.ports().read(0xF4, 1));
  }

  @Test
  void shouldStandWhereTheTablesSay() {
    assertEquals(AcpiTables.PM1A_EVENT, AcpiPm.PM1_EVENT);
    assertEquals(AcpiTables.PM1A_CONTROL, AcpiPm.PM1_CONTROL);
    assertEquals(AcpiTables.PM_TIMER, AcpiPm.PM_TIMER);
    assertEquals(AcpiTables.S5_SLEEP_TYPE, AcpiPm.SLEEP_TYPE_S5);
    assertEquals(AcpiTables.RESET_PORT, ResetControl.PORT);
  }

  @Test
  void shouldClaimNeitherSecondSerialPortNorDisplay() {
    assertEquals(0xFF, ports.read(0x2F8 + 5, 1));
    assertEquals(0xFF, ports.read(0x3DA, 1));
    assertFalse(platform.memory().claims(0xB8000));
    assertEquals(0x14, platform.memory().read(APIC + 0x30, 1));
    assertEquals(0xFFFF_FFFFL, platform.memory().read(0xFED0_0000L, 4), "no HPET");
  }

  @Test
  void shouldKeepPostCodeAndScratchOfDma() {
    ports.write(0x80, 1, 0x42);
    assertEquals(0x42, platform.postCode());
    ports.write(0x87, 1, 0x11);
    ports.write(0xD6, 1, 0xC0);
    assertEquals(0x11, ports.read(0x87, 1));
    assertEquals(0xC0, ports.read(0xD6, 1));
    assertEquals(0, ports.unclaimedWrites());
  }

  @Test
  void shouldSetNoTimersAtPowerOn() {
    assertEquals(Long.MAX_VALUE, time.timers().nextDeadline());
    assertEquals(0, ports.unclaimedReads() + ports.unclaimedWrites());
  }
}
