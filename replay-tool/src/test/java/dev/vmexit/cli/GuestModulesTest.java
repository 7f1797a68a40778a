package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.Test;

class GuestModulesTest {
  private static final String FOLDER = "./lib/modules/6.1/kernel/";

  private final ByteArrayOutputStream tar = new ByteArrayOutputStream();

  private void module(final String path, final String depends, final String softly) {
    final String info = "ELF\0license=GPL\0" + softly + "depends=" + depends + "\0retpoline=Y\0";
    GuestTarTest.entry(tar, FOLDER + path, '0', info.getBytes(StandardCharsets.ISO_8859_1));
  }

  /** Names of the files in the archive that is made of the package. */
  private List<String> archive() throws IOException {
    tar.writeBytes(new byte[1024]);
    final ByteArrayOutputStream out = new ByteArrayOutputStream();
    GuestModules.write(
        out,
        GuestTar.find(
            new ByteArrayInputStream(tar.toByteArray()), GuestModules.candidates(), 1000));
    final byte[] cpio =
        new GZIPInputStream(new ByteArrayInputStream(out.toByteArray())).readAllBytes();
    return Pattern.compile("lib/vmexit/([^\0]+)\0")
        .matcher(new String(cpio, StandardCharsets.ISO_8859_1))
        .results()
        .map((MatchResult found) -> found.group(1))
        .toList();
  }

  @Test
  void shouldPutAModuleBehindThoseThatItNeeds() throws IOException {
    module("drivers/ata/ata_piix.ko", "libata", "");
    module("drivers/ata/libata.ko", "scsi_mod,scsi_common", "");
    module("drivers/scsi/scsi_mod.ko", "scsi_common", "");
    module("drivers/scsi/scsi_common.ko", "", "");
    module("drivers/scsi/sd_mod.ko", "scsi_mod,t10-pi", "");
    module("drivers/scsi/sg.ko", "", "");
    module("block/t10-pi.ko", "", "");

    assertEquals(
        List.of(
            "00-scsi_common.ko",
            "01-scsi_mod.ko",
            "02-libata.ko",
            "03-ata_piix.ko",
            "04-t10_pi.ko",
            "05-sd_mod.ko"),
        archive());
  }

  @Test
  void shouldTakeThePlainImplementationOfAnAlgorithm() throws IOException {
    module("fs/ext4/ext4.ko", "jbd2", "softdep=pre: crypto-crc32c\0");
    module("fs/jbd2/jbd2.ko", "", "softdep=pre: crypto-crc32c\0");
    module("crypto/crc32c_generic.ko", "", "");

    assertEquals(List.of("00-crc32c_generic.ko", "01-jbd2.ko", "02-ext4.ko"), archive());
  }

  @Test
  void shouldEndWhereModulesNeedEachOther() throws IOException {
    module("fs/ext4/ext4.ko", "jbd2", "");
    module("fs/jbd2/jbd2.ko", "ext4", "");

    assertEquals(List.of("00-jbd2.ko", "01-ext4.ko"), archive());
  }

  @Test
  void shouldBeEmptyWhereThePackageHasNone() throws IOException {
    module("drivers/net/tun.ko", "", "");

    assertEquals(List.of(), archive());
    assertFalse(GuestModules.candidates().test("boot/vmlinuz-6.1"));
    assertTrue(GuestModules.candidates().test("lib/modules/6.1/kernel/fs/isofs/isofs.ko"));
  }
}
