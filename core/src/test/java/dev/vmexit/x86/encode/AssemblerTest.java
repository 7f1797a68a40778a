package dev.vmexit.x86.encode;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HexFormat;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** Fixed bytes (SDM Vol. 2), layout of labels, and what the assembler refuses. */
final class AssemblerTest {
  private static void assertBytes(
      final String hex, final int codeSize, final Consumer<Assembler> code) {
    final Assembler assembler = new Assembler(codeSize, 0x1000);
    code.accept(assembler);
    assertEquals(hex.replace(" ", ""), HexFormat.of().formatHex(assembler.assemble()));
  }

  private static String refused(final int codeSize, final Consumer<Assembler> code) {
    final Assembler assembler = new Assembler(codeSize, 0);
    return assertThrows(IllegalArgumentException.class, () -> code.accept(assembler)).getMessage();
  }

  @Test
  void shouldPlacePrefixesByCodeSizeWhenOperandsDiffer() {
    assertBytes("01d8", 2, a -> a.add(Register.AX, Register.BX));
    assertBytes("6601d8", 2, a -> a.add(Register.EAX, Register.EBX));
    assertBytes("01d8", 4, a -> a.add(Register.EAX, Register.EBX));
    assertBytes("6601d8", 4, a -> a.add(Register.AX, Register.BX));
    assertBytes("4801d8", 8, a -> a.add(Register.RAX, Register.RBX));
    assertBytes("4d01c8", 8, a -> a.add(Register.R8, Register.R9));
    assertBytes("4000f7", 8, a -> a.add(Register.DIL, Register.SIL));
    assertBytes("00e7", 8, a -> a.add(Register.BH, Register.AH));
  }

  @Test
  void shouldEncodeAddressesWhenFormsAreSpecial() {
    assertBytes("8b4500", 4, a -> a.mov(Register.EAX, Memory.at(Register.EBP)));
    assertBytes("8b0424", 4, a -> a.mov(Register.EAX, Memory.at(Register.ESP)));
    assertBytes("418b4500", 8, a -> a.mov(Register.EAX, Memory.at(Register.R13)));
    assertBytes("418b0424", 8, a -> a.mov(Register.EAX, Memory.at(Register.R12)));
    assertBytes("8b042578563412", 8, a -> a.mov(Register.EAX, Memory.absolute(0x12345678)));
    assertBytes("8b0578563412", 4, a -> a.mov(Register.EAX, Memory.absolute(0x12345678)));
    assertBytes("8b4600", 2, a -> a.mov(Register.AX, Memory.at(Register.BP)));
    assertBytes(
        "67668b0408", 2, a -> a.mov(Register.EAX, Memory.at(Register.EAX, Register.ECX, 1, 0)));
    assertBytes(
        "65488b042500000000", 8, a -> a.mov(Register.RAX, Memory.absolute(0).in(Register.GS)));
    assertBytes("678b00", 8, a -> a.mov(Register.EAX, Memory.at(Register.EAX)));
    assertBytes("0f20c0", 8, a -> a.mov(Register.RAX, Register.CR0));
    assertBytes("440f22c0", 8, a -> a.mov(Register.CR8, Register.RAX));
    assertBytes("8ed8", 8, a -> a.mov(Register.DS, Register.EAX));
  }

  @Test
  void shouldCountTrailingImmediateWhenOperandIsRipRelative() {
    assertBytes(
        "c70501000000 78563412 90 00",
        8,
        a -> {
          final Label place = a.label();
          a.mov(Memory.rip(place).asDword(), 0x12345678);
          a.nop();
          a.bind(place);
          a.db(0);
        });
  }

  @Test
  void shouldReachOutsideWhenLabelHasAnAddress() {
    assertBytes(
        "8b05fa0f0000 eb78",
        8,
        a -> {
          a.mov(Register.EAX, Memory.rip(a.labelAt(0x2000)));
          a.jmp(a.labelAt(0x1080));
        });
  }

  @Test
  void shouldChooseShortBranchWhenItReaches() {
    final Assembler a = new Assembler(8, 0);
    final Label end = a.label();
    a.jmp(end);
    for (int i = 0; i < 127; i++) {
      a.nop();
    }
    a.bind(end);
    final byte[] code = a.assemble();
    assertEquals(129, code.length);
    assertEquals((byte) 0xEB, code[0]);
    assertEquals(127, code[1]);
  }

  @Test
  void shouldLengthenBranchesInTurnWhenOneMovesAnother() {
    final Assembler a = new Assembler(4, 0);
    final Label end = a.label();
    final Label far = a.label();
    // The first jump reaches only as long as the second one between them stays short.
    a.jmp(end);
    a.jcc(Condition.E, far);
    for (int i = 0; i < 125; i++) {
      a.nop();
    }
    a.bind(end);
    for (int i = 0; i < 10; i++) {
      a.nop();
    }
    a.bind(far);
    final byte[] code = a.assemble();
    assertEquals((byte) 0xE9, code[0]);
    assertEquals(6 + 125, code[1] & 0xFF);
    assertEquals(0x0F, code[5]);
    assertEquals(5 + 6 + 125, a.addressOf(end));
    assertArrayEquals(code, a.assemble());
  }

  @Test
  void shouldFillAddressesWhenLabelsAreData() {
    assertBytes(
        "90 00000000000000 0810 08100000 0810000000000000 b808100000",
        4,
        a -> {
          a.nop();
          a.align(8, 0);
          final Label table = a.here();
          a.dw(table);
          a.dd(table);
          a.dq(table);
          a.mov(Register.EAX, table);
        });
  }

  @Test
  void shouldSwitchCodeSizeWhenGuestChangesMode() {
    assertBytes(
        "ea051008 00 b878563412",
        2,
        a -> {
          final Label next = a.label();
          a.jmpFar(8, next, 2);
          a.codeSize(4);
          a.bind(next);
          a.mov(Register.EAX, 0x12345678);
        });
  }

  @Test
  void shouldPadWithZerosWhenOrgIsAhead() {
    assertBytes(
        "90 000000 90",
        8,
        a -> {
          a.nop();
          a.org(0x1004);
          a.nop();
        });
    final Assembler behind = new Assembler(8, 0x1000);
    behind.dd(1, 2);
    behind.org(0x1004);
    final String message = assertThrows(IllegalStateException.class, behind::assemble).getMessage();
    assertTrue(message.contains("0x1004") && message.contains("0x1008"), message);
  }

  @Test
  void shouldSayWhatIsWrongWhenLabelsCannotBeResolved() {
    final Assembler unbound = new Assembler(8, 0);
    unbound.jmp(unbound.label("exit"));
    final String name = assertThrows(IllegalStateException.class, unbound::assemble).getMessage();
    assertTrue(name.contains("exit"), name);

    final Assembler far = new Assembler(8, 0);
    final Label end = far.label("end");
    far.loop(end);
    far.bytes(new byte[128]);
    far.bind(end);
    final String range = assertThrows(IllegalStateException.class, far::assemble).getMessage();
    assertTrue(range.contains("end") && range.contains("128"), range);

    final Assembler high = new Assembler(2, 0x12_0000);
    high.dw(high.here());
    final String address = assertThrows(IllegalStateException.class, high::assemble).getMessage();
    assertTrue(address.contains("0x120000"), address);
  }

  @Test
  void shouldRefuseWhenModeCannotEncode() {
    assertTrue(refused(4, a -> a.mov(Register.RAX, 1)).contains("RAX"));
    assertTrue(refused(4, a -> a.mov(Register.AL, Memory.at(Register.RAX))).contains("8"));
    assertTrue(refused(4, a -> a.mov(Register.SIL, 1)).contains("SIL"));
    assertTrue(refused(8, a -> a.mov(Register.AH, Register.SIL)).contains("REX"));
    assertTrue(refused(8, a -> a.mov(Register.AX, Memory.at(Register.BX))).contains("2"));
    assertTrue(refused(8, a -> a.push(Register.EAX)).contains("4"));
    assertTrue(refused(8, a -> a.push(Register.DS)).contains("64-bit"));
    assertTrue(refused(8, a -> a.jmpFar(8, 0, 4)).contains("64-bit"));
    assertTrue(refused(2, Assembler::swapgs).contains("64-bit"));
    assertTrue(
        refused(2, a -> a.mov(Register.AX, Memory.at(Register.CX))).contains("16-bit address"));
  }

  @Test
  void shouldRefuseWhenOperandsAreWrong() {
    assertTrue(refused(8, a -> a.mov(Register.EAX, Register.RBX)).contains("different sizes"));
    assertTrue(refused(8, a -> a.mov(Memory.at(Register.RAX), 1)).contains("size"));
    assertTrue(refused(8, a -> a.add(Register.AL, 0x1FF)).contains("0x1ff"));
    assertTrue(refused(8, a -> a.add(Register.RAX, 0x8000_0000L)).contains("sign-extend"));
    assertTrue(refused(8, a -> a.shl(Register.EAX, Register.DL)).contains("CL"));
    assertTrue(refused(8, a -> a.in(Register.AL, Register.AX)).contains("DX"));
    assertTrue(refused(8, a -> a.mov(Register.CR0, Register.EAX)).contains("8 bytes"));
    assertTrue(refused(8, a -> a.pop(Register.CS)).contains("cs"));
    assertTrue(refused(8, a -> a.bind(new Assembler(8, 0).label())).contains("another"));
    assertThrows(IllegalArgumentException.class, () -> Memory.at(Register.RAX, Register.RSP, 1, 0));
    assertThrows(IllegalArgumentException.class, () -> Memory.at(Register.RAX, Register.ECX, 1, 0));
    assertThrows(IllegalArgumentException.class, () -> Memory.at(Register.AL));
    assertThrows(IllegalArgumentException.class, () -> Memory.indexed(Register.RAX, 3, 0));
  }

  @Test
  void shouldPushAnImmediateOf64BitsByItsShortForms() {
    final Assembler a = new Assembler(8, 0);
    a.pushImmediate(8, 0x12345);
    a.pushImmediate(8, -1);
    assertArrayEquals(new byte[] {0x68, 0x45, 0x23, 1, 0, 0x6A, -1}, a.assemble());
    assertThrows(
        IllegalArgumentException.class, () -> new Assembler(8, 0).pushImmediate(8, 1L << 40));
    assertThrows(IllegalArgumentException.class, () -> new Assembler(4, 0).pushImmediate(8, 1));
  }
}
