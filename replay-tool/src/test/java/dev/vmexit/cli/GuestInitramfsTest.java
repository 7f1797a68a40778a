package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class GuestInitramfsTest {
  private static byte[] archive() throws IOException {
    final ByteArrayOutputStream out = new ByteArrayOutputStream();
    GuestInitramfs.write(out, "BUSYBOX".getBytes(StandardCharsets.US_ASCII));
    return out.toByteArray();
  }

  @Test
  void shouldHoldBusyboxAndTheScripts() throws IOException {
    final byte[] cpio = new GZIPInputStream(new ByteArrayInputStream(archive())).readAllBytes();
    final String text = new String(cpio, StandardCharsets.ISO_8859_1);

    for (final String part :
        new String[] {
          "bin/busybox\0",
          "BUSYBOX",
          "dev/console\0",
          "init\0",
          "#!/bin/busybox sh\n",
          "etc/vmexit/selftest\0"
        }) {
      assertTrue(text.contains(part), part);
    }
  }

  @Test
  void shouldGiveTheSameBytesEveryTime() throws IOException {
    assertArrayEquals(archive(), archive());
  }

  @Test
  void shouldPrintTheLinesThatProgramsWaitFor() {
    assertTrue(GuestInitramfs.INIT.contains("echo \"" + GuestInitramfs.USERSPACE_BANNER + "\""));
    assertTrue(GuestInitramfs.SELFTEST.contains("echo \"" + GuestInitramfs.SELFTEST_DONE + "\""));
    assertTrue(GuestInitramfs.DISKS.contains("echo \"" + GuestInitramfs.DISKS_DONE + "\""));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        GuestInitramfs.INIT,
        GuestInitramfs.PROFILE,
        GuestInitramfs.SELFTEST,
        GuestInitramfs.DISKS
      })
  void shouldBeScriptsThatAShellParses(final String script) throws Exception {
    final Process process = new ProcessBuilder("/bin/sh", "-n").redirectErrorStream(true).start();
    process.getOutputStream().write(script.getBytes(StandardCharsets.UTF_8));
    process.getOutputStream().close();
    assertEquals("", new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8));
    assertEquals(0, process.waitFor());
  }
}
