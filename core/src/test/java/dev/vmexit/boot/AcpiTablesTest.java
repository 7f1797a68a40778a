package dev.vmexit.boot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.GuestMemory;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class AcpiTablesTest {
  private final GuestMemory memory = GuestMemory.builder().ramWithHole(2 << 20).build();

  @AfterEach
  void close() {
    memory.close();
  }

  private String signature(final long gpa) {
    final byte[] bytes = new byte[4];
    memory.read(gpa, bytes, 0, 4);
    return new String(bytes, StandardCharsets.US_ASCII);
  }

  private int sum(final long gpa, final int length) {
    int sum = 0;
    for (int i = 0; i < length; i++) {
      sum += memory.read8(gpa + i);
    }
    return sum & 0xFF;
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 255})
  void shouldBeReachableFromTheRsdp(final int vcpus) {
    final long rsdp = AcpiTables.build(vcpus).writeTo(memory);

    assertEquals(0, rsdp & 15, "found on 16-byte boundaries");
    assertEquals("RSD ", signature(rsdp));
    assertEquals(0, sum(rsdp, 20));
    assertEquals(0, sum(rsdp, 36));
    final long xsdt = memory.read64(rsdp + 24);
    assertEquals("XSDT", signature(xsdt));
    assertEquals(36 + 16, memory.read32(xsdt + 4));
    final long fadt = memory.read64(xsdt + 36);
    final long madt = memory.read64(xsdt + 44);
    assertEquals("FACP", signature(fadt));
    assertEquals("APIC", signature(madt));
    assertEquals("FACS", signature(memory.read32(fadt + 36)));
    assertEquals(0, memory.read32(fadt + 36) & 63, "FACS is 64-byte aligned");
    final long dsdt = memory.read64(fadt + 140);
    assertEquals("DSDT", signature(dsdt));
    for (final long table : new long[] {xsdt, fadt, madt, dsdt}) {
      assertEquals(0, sum(table, memory.read32(table + 4)), signature(table));
    }
  }

  @Test
  void shouldStayInsideItsAreaAndNotOverlap() {
    long end = 0;
    for (final AcpiTables.Table table :
        AcpiTables.build(AcpiTables.MOST_VCPUS).tables().stream()
            .sorted(Comparator.comparingLong(AcpiTables.Table::gpa))
            .toList()) {
      assertTrue(table.gpa() >= Math.max(0xE_0000, end), table.signature());
      end = table.gpa() + table.bytes().length;
    }
    assertTrue(end <= 0x10_0000);
  }

  @Test
  void shouldNameTheFixedHardware() {
    final long rsdp = AcpiTables.build(1).writeTo(memory);
    final long fadt = memory.read64(memory.read64(rsdp + 24) + 36);

    assertEquals(9, memory.read16(fadt + 46));
    assertEquals(0, memory.read32(fadt + 48), "no SMI command port");
    assertEquals(0x600, memory.read32(fadt + 56));
    assertEquals(0x604, memory.read32(fadt + 64));
    assertEquals(0x608, memory.read32(fadt + 76));
    assertEquals(0b111, memory.read16(fadt + 109), "8042, no VGA");
    assertEquals(0xCF9, memory.read64(fadt + 120));
    assertEquals(6, memory.read8(fadt + 128));
    assertEquals(1 << 10, memory.read32(fadt + 112) & 1 << 10, "RESET_REG_SUP");
    assertEquals(0, memory.read32(fadt + 112) & 1 << 20, "not hardware-reduced");
  }

  @Test
  void shouldNameEveryProcessor() {
    final long rsdp = AcpiTables.build(3).writeTo(memory);
    final long madt = memory.read64(memory.read64(rsdp + 24) + 44);
    final int end = memory.read32(madt + 4);
    int processors = 0;
    int at = 44;
    while (at < end) {
      final int type = memory.read8(madt + at);
      if (type == 0) {
        assertEquals(processors, memory.read8(madt + at + 3), "APIC id");
        processors++;
      } else if (type == 1) {
        assertEquals(0xFEC0_0000, memory.read32(madt + at + 4));
      }
      at += memory.read8(madt + at + 1);
    }
    assertEquals(end, at);
    assertEquals(3, processors);
  }

  @ParameterizedTest
  @ValueSource(ints = {0, -1, 256})
  void shouldRefuseProcessorCountsThatApicIdsCannotName(final int vcpus) {
    final IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> AcpiTables.build(vcpus));
    assertEquals("vcpus=" + vcpus + ", allowed: 1 to 255", e.getMessage());
  }

  @Test
  void shouldSayThatMemoryIsTooSmallWhenItEndsBelowTheTables() {
    try (GuestMemory small = GuestMemory.builder().ram(0, 0x1_0000).build()) {
      assertThrows(BootException.class, () -> AcpiTables.build(1).writeTo(small));
    }
  }

  /** The reference compiler reads each table, and gives the same bytes back from what it read. */
  @Test
  void shouldSurviveIasl(@TempDir final Path folder) throws Exception {
    Assumptions.assumeTrue(
        iasl(folder, "-v") != null,
        "SKIPPED: iasl (Debian package acpica-tools) is not installed, tables are unchecked");
    for (final AcpiTables.Table table : AcpiTables.build(2).tables()) {
      if ("RSDP".equals(table.signature())) {
        continue; // not a table of its own to iasl
      }
      final Path binary = folder.resolve(table.signature() + ".dat");
      Files.write(binary, table.bytes());
      final String read = iasl(folder, "-d", binary.toString());
      final Path source = folder.resolve(table.signature() + ".dsl");
      assertTrue(Files.exists(source), read);
      assertFalse(read.contains("Error") || read.contains("Warning"), read);
      // -oa: no optimizations, so that AML comes back as it was.
      final String written =
          iasl(folder, "-oa", "-p", folder.resolve("again").toString(), source.toString());
      assertTrue(written.contains("0 Errors, 0 Warnings, 0 Remarks"), written);
      final byte[] again = Files.readAllBytes(folder.resolve("again.aml"));
      assertEquals(describe(table.bytes()), describe(again), table.signature());
    }
  }

  /** All bytes but the checksum and the compiler's name, which iasl replaces by its own. */
  private static String describe(final byte[] table) {
    final byte[] bytes = table.clone();
    if (bytes[0] != 'F' || bytes[3] != 'S') { // FACS has no such header
      bytes[9] = 0;
      Arrays.fill(bytes, 28, 36, (byte) 0);
    }
    return HexFormat.ofDelimiter(" ").formatHex(bytes);
  }

  /** Output of iasl, or null where it is not installed. */
  private static String iasl(final Path folder, final String... arguments)
      throws InterruptedException {
    final List<String> command = new ArrayList<>();
    command.add("iasl");
    command.addAll(List.of(arguments));
    try {
      final Process process =
          new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true).start();
      final String output =
          new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      process.waitFor();
      return output;
    } catch (final IOException e) {
      return null;
    }
  }
}
