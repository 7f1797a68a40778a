package dev.vmexit.x86.decode;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

final class DecoderTest {
  private final Decoder decoder = new Decoder();
  private final Instruction insn = new Instruction();

  private static List<String> vectors() throws IOException {
    try (BufferedReader reader =
        new BufferedReader(
            new InputStreamReader(
                DecoderTest.class.getResourceAsStream("decoder-vectors.txt"),
                StandardCharsets.UTF_8))) {
      return reader.lines().filter(line -> !line.isEmpty() && line.charAt(0) != '#').toList();
    }
  }

  private static byte[] bytes(final String hex) {
    return HexFormat.of().parseHex(hex.replace(" ", ""));
  }

  private void decode(final int codeSize, final String hex) {
    final byte[] code = bytes(hex);
    assertEquals(Decoder.STATUS_OK, decoder.decode(code, 0, code.length, codeSize, insn), hex);
    assertEquals(code.length, insn.length, hex);
  }

  @ParameterizedTest
  @MethodSource("vectors")
  void shouldDecodeAndFormatWhenBytesAreKnown(final String vector) {
    final String[] columns = vector.split("\\|", -1);
    final byte[] code = bytes(columns[1]);
    final int status =
        decoder.decode(code, 0, code.length, Integer.parseInt(columns[0].trim()) / 8, insn);
    final StringBuilder text = new StringBuilder();
    switch (status) {
      case Decoder.STATUS_OK -> Disassembler.format(insn, 0, text);
      case Decoder.STATUS_INVALID -> text.append("(bad)");
      case Decoder.STATUS_TOO_LONG -> text.append("(long)");
      case Decoder.STATUS_TRUNCATED -> text.append("(short)");
      default -> text.append("status=").append(status);
    }
    assertEquals(columns[2].trim(), text.toString());
    if (status == Decoder.STATUS_OK) {
      assertEquals(code.length, insn.length);
    }
  }

  private static Stream<String> validVectors() throws IOException {
    return vectors().stream()
        .filter(vector -> vector.indexOf('(', 3) < 0 || vector.contains("st("));
  }

  @ParameterizedTest
  @MethodSource("validVectors")
  void shouldAskForMoreBytesWhenAvailableEndsEarly(final String vector) {
    final String[] columns = vector.split("\\|", -1);
    final byte[] code = bytes(columns[1]);
    final int codeSize = Integer.parseInt(columns[0].trim()) / 8;
    for (int available = 0; available < code.length; available++) {
      // Not a copy: what lies behind the available bytes must not matter.
      assertEquals(
          Decoder.STATUS_TRUNCATED,
          decoder.decode(code, 0, available, codeSize, insn),
          "available=" + available);
      assertEquals(available, insn.length);
    }
  }

  @Test
  void shouldNameEveryPartOfAnAddressWhenSibIsUsed() {
    decode(8, "64 43 8b 84 e5 f0 ff ff ff"); // mov eax,fs:[r13+r12*8-0x10]
    assertTrue(insn.hasMemory);
    assertEquals(Gpr.R13, insn.base);
    assertEquals(Gpr.R12, insn.index);
    assertEquals(3, insn.scaleShift);
    assertEquals(-16, insn.displacement);
    assertEquals(Seg.FS, insn.segment);
    assertEquals(4, insn.memorySize);
    assertEquals(8, insn.addressSize);
    assertEquals(0x84, insn.modrm);
    assertEquals(0x8B, insn.opcode);
  }

  @ParameterizedTest
  @CsvSource({
    "8, 8b 04 24, 2", // [rsp]
    "8, 8b 45 00, 2", // [rbp]
    "8, 41 8b 45 00, 3", // [r13]
    "8, 8b 04 2d 00 00 00 00, 3", // [rbp*1]
    "2, 8b 02, 2", // [bp+si]
    "2, 8b 06 00 00, 3", // [0]
    "2, 8b 07, 3", // [bx]
    "4, 3e 8b 04 24, 3", // ds:[esp]
    "4, 65 8b 04 24, 5", // gs:[esp]
  })
  void shouldDefaultToStackSegmentWhenBaseIsStackOrFramePointer(
      final int codeSize, final String hex, final int segment) {
    decode(codeSize, hex);
    assertEquals(segment, insn.segment);
  }

  @ParameterizedTest
  @CsvSource({
    "8, 48 83 c0 80, -128",
    "8, 3c 80, -128",
    "8, 05 00 00 00 80, -2147483648",
    "8, 48 b8 00 00 00 00 00 00 00 80, -9223372036854775808",
    "8, b8 00 00 00 80, -2147483648",
    "2, 05 00 80, -32768",
    "8, c1 e0 ff, 255",
    "8, e4 ff, 255",
    "8, cd ff, 255",
    "8, c2 00 80, 32768",
    "8, 6a 80, -128",
    "8, eb 80, -128",
    "2, e9 00 80, -32768",
    "8, d1 e0, 1",
  })
  void shouldExtendImmediateWhenOperationUsesItSo(
      final int codeSize, final String hex, final long immediate) {
    decode(codeSize, hex);
    assertEquals(immediate, insn.immediate);
  }

  @Test
  void shouldKeepBothImmediatesWhenInstructionHasTwo() {
    decode(8, "c8 00 80 1f");
    assertEquals(0x8000, insn.immediate);
    assertEquals(0x1F, insn.immediate2);
    assertEquals(2, insn.operandCount);
    decode(4, "ea 00 00 00 80 08 80");
    assertEquals(0x8000_0000L, insn.immediate);
    assertEquals(0x8008, insn.immediate2);
    assertEquals(Instruction.FAR_POINTER, insn.operandKind[0]);
  }

  @Test
  void shouldZeroExtendOffsetWhenOperandIsMoffs() {
    decode(8, "67 a1 00 00 00 80");
    assertEquals(0x8000_0000L, insn.displacement);
    assertEquals(-1, insn.base);
    assertEquals(-1, insn.index);
    assertEquals(Instruction.MEMORY, insn.operandKind[1]);
    assertTrue(insn.hasMemory);
    decode(2, "a0 00 80");
    assertEquals(0x8000, insn.displacement);
    assertEquals(1, insn.memorySize);
    assertEquals(1, insn.operandSize);
  }

  @ParameterizedTest
  @CsvSource({
    "8, 50, 8",
    "8, 66 50, 2",
    "8, ff d0, 8",
    "8, 66 ff d0, 8",
    "8, c3, 8",
    "8, e8 00 00 00 00, 8",
    "4, 66 c3, 2",
    "8, 88 c0, 1",
    "8, 0f b6 c0, 4",
    "8, 0f 20 c0, 8",
    "2, 0f 20 c0, 4",
    "8, 66 0f 01 10, 8",
    "8, cf, 4",
    "8, 48 cf, 8",
    "8, 48 ed, 4",
    "8, ee, 1",
    "8, 48 a5, 8",
    "8, a4, 1",
    "2, 66 a5, 4",
    "8, 0f 94 c0, 1",
    "8, e3 00, 8",
  })
  void shouldTellOperandSizeWhenPrefixesAndModeDecideIt(
      final int codeSize, final String hex, final int operandSize) {
    decode(codeSize, hex);
    assertEquals(operandSize, insn.operandSize);
  }

  @ParameterizedTest
  @CsvSource({
    "8, 0f 01 10, 10", // lgdt
    "4, 0f 01 10, 6",
    "8, ff 28, 6", // jmp far
    "8, 48 ff 28, 10",
    "2, ff 28, 4",
    "4, 62 00, 8", // bound
    "8, 8d 00, 0", // lea
    "8, 0f 01 38, 0", // invlpg
    "8, 0f ae 00, 512", // fxsave
    "4, d9 20, 28", // fldenv
    "2, d9 20, 14",
    "4, dd 30, 108", // fnsave
    "8, 8c 00, 2", // mov m16,es
    "8, 0f c7 08, 8", // cmpxchg8b
    "8, 48 0f c7 08, 16",
    "8, f2 0f 12 00, 8", // movddup
    "8, 66 0f 3a 14 00 00, 1", // pextrb
    "8, 66 0f 38 22 00, 2", // pmovsxbq
    "8, c5 fd 6f 00, 32", // vmovdqa ymm
  })
  void shouldTellBytesThatMemoryOperandCovers(
      final int codeSize, final String hex, final int memorySize) {
    decode(codeSize, hex);
    assertEquals(memorySize, insn.memorySize);
  }

  @Test
  void shouldForgetTheLastInstructionWhenDecodingAgain() {
    decode(8, "65 48 81 84 cb 78 56 34 12 01 00 00 00");
    decode(8, "90");
    final Instruction fresh = new Instruction();
    decoder.decode(new byte[] {(byte) 0x90}, 0, 1, 8, fresh);
    assertFalse(insn.hasMemory);
    assertEquals(fresh.segment, insn.segment);
    assertEquals(-1, insn.modrm);
    assertEquals(0, insn.immediate);
    assertEquals(0, insn.displacement);
    assertEquals(0, insn.memorySize);
    assertEquals(0, insn.operandCount);
    assertEquals(0, insn.prefixes);
    assertArrayEquals(fresh.operandKind, insn.operandKind);
  }

  @Test
  void shouldKeepPrefixesAsReadWhenTheyAreMandatory() {
    decode(8, "66 f2 48 0f 38 f1 c7");
    assertEquals(
        Instruction.PREFIX_OPERAND_SIZE
            | Instruction.PREFIX_REPNE
            | Instruction.PREFIX_REX
            | Instruction.PREFIX_REX_W,
        insn.prefixes);
    assertEquals(0x2F1, insn.opcode);
    decode(8, "f3 f2 a4");
    assertEquals(Instruction.PREFIX_REPNE, insn.prefixes);
  }

  @Test
  void shouldTellConditionWhenOpcodeHoldsOne() {
    decode(8, "0f 85 00 00 00 00");
    assertEquals(5, insn.condition());
    assertEquals(Mnemonic.JNE, insn.mnemonic);
    decode(8, "0f 4f c0");
    assertEquals(15, insn.condition());
    assertEquals(Mnemonic.CMOVG, insn.mnemonic);
  }

  @Test
  void shouldStandInConditionCodeOrderWhenMnemonicsAreConditional() {
    for (int condition = 0; condition < 16; condition++) {
      decode(8, HexFormat.of().toHexDigits((byte) (0x70 | condition)) + "00");
      assertEquals(Mnemonic.JO.ordinal() + condition, insn.mnemonic.ordinal());
      decode(8, "0f" + HexFormat.of().toHexDigits((byte) (0x90 | condition)) + "c0");
      assertEquals(Mnemonic.SETO.ordinal() + condition, insn.mnemonic.ordinal());
    }
  }

  @Test
  void shouldNotLookBeyondFifteenBytesWhenMoreAreAvailable() {
    final byte[] code = new byte[64];
    Arrays.fill(code, (byte) 0x2E);
    assertEquals(Decoder.STATUS_TOO_LONG, decoder.decode(code, 7, 57, 8, insn));
    assertEquals(Instruction.MAX_LENGTH, insn.length);
    assertEquals(Decoder.STATUS_TRUNCATED, decoder.decode(code, 7, 14, 8, insn));
  }
}
