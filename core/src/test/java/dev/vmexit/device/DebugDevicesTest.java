package dev.vmexit.device;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.ByteArrayOutputStream;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

final class DebugDevicesTest {
  @Test
  void shouldSendWhatIsWrittenToE9() {
    final ByteArrayOutputStream sent = new ByteArrayOutputStream();
    final DebugPort port = new DebugPort(sent::write);
    assertEquals(0xE9, port.readPort(0xE9, 1));
    port.writePort(0xE9, 1, 'x');
    assertArrayEquals(new byte[] {'x'}, sent.toByteArray());
  }

  @Test
  void shouldExitWithAnOddStatus() {
    final List<Integer> statuses = new ArrayList<>();
    final DebugExit exit = new DebugExit(statuses::add);
    exit.writePort(0xF4, 1, 0);
    exit.writePort(0xF4, 4, 0x10);
    assertEquals(List.of(1, 0x21), statuses);
  }

  @Test
  void shouldKeepThePostCode() {
    final PostCodePort port = new PostCodePort();
    port.writePort(0x80, 1, 0xA7);
    assertEquals(0xA7, port.code());
    assertEquals(0xA7, port.readPort(0x80, 1));
  }
}
