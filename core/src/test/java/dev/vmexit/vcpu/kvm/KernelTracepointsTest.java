package dev.vmexit.vcpu.kvm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.KernelEvent;
import dev.vmexit.memory.HostMemory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What tracefs says, from a folder that looks like it. */
final class KernelTracepointsTest {
  /** Other numbers and places than this host's. */
  private static final String INSTRUCTION =
      """
      name: kvm_emulate_insn
      ID: 1234
      format:
      \tfield:unsigned short common_type;\toffset:2;\tsize:2;\tsigned:0;

      \tfield:__u8 failed;\toffset:9;\tsize:1;\tsigned:0;
      \tfield:__u64 rip;\toffset:16;\tsize:8;\tsigned:0;
      \tfield:__u32 csbase;\toffset:24;\tsize:4;\tsigned:0;
      \tfield:__u8 len;\toffset:28;\tsize:1;\tsigned:0;
      \tfield:__u8 insn[15];\toffset:29;\tsize:15;\tsigned:0;
      \tfield:__u8 flags;\toffset:44;\tsize:1;\tsigned:0;

      print fmt: "%x", REC->csbase
      """;

  private static final int RAW_SIZE = 48;

  @TempDir private Path tracefs;

  private void write(final String tracepoint, final String format) throws IOException {
    final Path folder = tracefs.resolve("events").resolve(tracepoint);
    Files.createDirectories(folder);
    Files.writeString(folder.resolve("format"), format);
  }

  @Test
  void shouldTakeFieldsFromWhereTheFormatSays() throws IOException {
    write("kvm/kvm_emulate_insn", INSTRUCTION);
    final KernelTracepoints all = KernelTracepoints.read(tracefs);
    assertEquals(1, all.count());
    assertEquals(2, all.typeOffset());
    final Tracepoint tracepoint = all.list().getFirst();
    assertEquals(1234, tracepoint.id());
    final ExitEvent event = new ExitEvent();
    event.mode = 8 | ExitEvent.MODE_PAGING;
    final long raw = HostMemory.allocate(RAW_SIZE);
    try {
      HostMemory.putByte(raw + 9, 1);
      HostMemory.putLong(raw + 16, 0x7C3E);
      HostMemory.putInt(raw + 24, 0xF000_0000);
      HostMemory.putByte(raw + 28, 2);
      HostMemory.putShort(raw + 29, 0x90F3);
      HostMemory.putByte(raw + 44, 5);
      tracepoint.fill(raw, RAW_SIZE, event);
      assertEquals(KernelEvent.EMULATE_INSN.ordinal(), event.detail);
      assertEquals(0x7C3E, event.rip);
      assertEquals(0xF000_0000L, event.csBase);
      assertTrue(event.write, "failed");
      assertEquals(4 | ExitEvent.MODE_PAGING, event.mode);
      assertArrayEquals(
          new byte[] {(byte) 0xF3, (byte) 0x90},
          Arrays.copyOf(event.instruction, event.instructionLength));

      // A length from nowhere, as a broken kernel may have it.
      HostMemory.putByte(raw + 28, 0xFF);
      tracepoint.fill(raw, RAW_SIZE, event);
      assertEquals(ExitEvent.MAX_INSTRUCTION, event.instructionLength);

      // Data that end before the fields do.
      event.clearPayload();
      event.rip = 1;
      tracepoint.fill(raw, 20, event);
      assertEquals(KernelEvent.EMULATE_INSN.ordinal(), event.detail);
      assertEquals(1, event.rip);
      assertEquals(0, event.instructionLength);
    } finally {
      HostMemory.free(raw);
    }
  }

  private String refused() {
    final String message =
        assertThrows(KvmUnavailableException.class, () -> KernelTracepoints.read(tracefs))
            .getMessage();
    assertEquals(1, message.lines().count(), message);
    return message;
  }

  @Test
  void shouldSayWhatIsMissingAndHowToGetIt() throws IOException {
    assertTrue(refused().contains("mount -t tracefs"), refused());
    Files.createDirectories(tracefs.resolve("events/kvm"));
    assertTrue(refused().contains("load the module kvm"), refused());
    write("kvm/kvm_pio", "name: kvm_pio\n");
    assertTrue(refused().contains("kvm_pio") && refused().contains("ID"), refused());
  }

  @Test
  void shouldNameEachEventInAFewCharacters() {
    for (final KernelEvent event : KernelEvent.values()) {
      assertTrue(event.shortName().length() <= 16, event::shortName);
      assertEquals(event, KernelEvent.of(event.ordinal()).orElseThrow());
    }
    assertTrue(KernelEvent.of(KernelEvent.values().length).isEmpty());
  }
}
