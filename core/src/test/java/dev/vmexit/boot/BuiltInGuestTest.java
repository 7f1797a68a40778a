package dev.vmexit.boot;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Register;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The built-in guest's image, and what it does on somebody else's machine. */
final class BuiltInGuestTest {
  private static final int ROM_SIZE = 0x1_0000;
  private static final int ROM_IMAGE = 0x1000;

  @Test
  void shouldFitBelowItsTablesWhenAssembled() {
    final byte[] image = BuiltInGuest.image();
    assertTrue(BuiltInGuest.LOAD_ADDRESS + image.length <= 0x1_0000, "size " + image.length);
    assertEquals((byte) 0xFA, image[0], "starts with CLI");
    assertArrayEquals(image, BuiltInGuest.image());
  }

  @Test
  void shouldRefuseWhenPowerOffCannotBe() {
    assertThrows(IllegalArgumentException.class, () -> BuiltInGuest.image(0x1_0000, 5));
    assertThrows(IllegalArgumentException.class, () -> BuiltInGuest.image(0x604, 8));
  }

  @Test
  void shouldPassItsChecksWhenRunByQemu(@TempDir final Path folder)
      throws IOException, InterruptedException {
    assumeTrue(hasQemu(), "SKIPPED: qemu-system-x86_64 (package qemu-system-x86) is not installed");
    final Path rom = folder.resolve("rom.bin");
    final Path console = folder.resolve("console.txt");
    Files.write(rom, rom());
    final Process process =
        new ProcessBuilder(
                List.of(
                    "qemu-system-x86_64",
                    "-accel",
                    "tcg",
                    "-machine",
                    "pc",
                    "-cpu",
                    "qemu64",
                    "-m",
                    "16",
                    "-nodefaults",
                    "-display",
                    "none",
                    "-no-reboot",
                    "-bios",
                    rom.toString(),
                    "-serial",
                    "file:" + console))
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve("qemu.txt").toFile())
            .start();
    final boolean ended = process.waitFor(60, TimeUnit.SECONDS);
    process.destroyForcibly();
    final String text = Files.readString(console, StandardCharsets.US_ASCII);
    assertTrue(ended, "no power-off; console: " + text);
    assertEquals(0, process.exitValue());
    assertEquals(
        List.of(
            "vmexit built-in guest: real, protected, long mode",
            "cpu: AuthenticAMD",
            "local APIC: id 0, version 14",
            "IOAPIC: highest pin 17",
            "timer: 5 ticks",
            "demand paging: 2 faults",
            "address spaces: 2",
            "sum of 1 to 100000: 12a06b550",
            "CRC-32 of 123456789: cbf43926",
            "CRC-32 of 16 KiB: 8802f2b1",
            BuiltInGuest.SUCCESS,
            "powering off"),
        text.lines().toList());
  }

  /** Firmware of the smallest kind: places the ACPI block, copies the image, starts it. */
  private static byte[] rom() {
    // QEMU's PIIX4 has its PM1a control at 4 from the base, and SLP_TYP 0 for S5.
    final byte[] image = BuiltInGuest.image(BuiltInGuest.PM1A_CONTROL, 0);
    final Assembler a = new Assembler(2, 0);
    final Label start = a.here();
    pciWrite(a, 0x8000_0B40L, 0x601); // device 1, function 3: power-management base
    pciWrite(a, 0x8000_0B80L, 1); // decode it
    a.cld();
    a.xor(Register.AX, Register.AX);
    a.mov(Register.ES, Register.AX);
    a.mov(Register.AX, 0xF000);
    a.mov(Register.DS, Register.AX);
    a.mov(Register.SI, ROM_IMAGE);
    a.mov(Register.DI, BuiltInGuest.LOAD_ADDRESS);
    a.mov(Register.CX, image.length);
    a.rep();
    a.movs(1);
    a.jmpFar(0, BuiltInGuest.LOAD_ADDRESS, 2);
    a.org(ROM_IMAGE);
    a.bytes(image);
    a.org(0xFFF0);
    a.jmp(start);
    a.org(ROM_SIZE);
    return a.assemble();
  }

  private static void pciWrite(final Assembler a, final long address, final long value) {
    a.mov(Register.DX, 0xCF8);
    a.mov(Register.EAX, address);
    a.out(Register.DX, Register.EAX);
    a.mov(Register.DX, 0xCFC);
    a.mov(Register.EAX, value);
    a.out(Register.DX, Register.EAX);
  }

  private static boolean hasQemu() throws InterruptedException {
    try {
      return new ProcessBuilder("qemu-system-x86_64", "--version")
              .redirectOutput(ProcessBuilder.Redirect.DISCARD)
              .redirectError(ProcessBuilder.Redirect.DISCARD)
              .start()
              .waitFor()
          == 0;
    } catch (final IOException absent) {
      return false;
    }
  }
}
