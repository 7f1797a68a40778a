package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.decode.Mnemonic;
import java.util.BitSet;
import java.util.Locale;

/**
 * A form of an instruction as the decoder tells it apart from others: opcode, kinds and sizes of
 * its operands, in one code size. Its bytes up to ModRM are given, what follows is drawn.
 */
final class UserForm {
  final String name;
  final Mnemonic mnemonic;
  final int codeSize;

  /** For the report: integer, x87, mmx, sse, avx, ... */
  final String group;

  /** Prefixes and opcode, without ModRM; VEX forms: C4 and two bytes of payload. */
  final byte[] head;

  final boolean vex;
  final boolean hasModrm;
  final boolean memory;

  /** ModRM bytes that are of this form; for memory the reg field alone counts. */
  final BitSet modrms = new BitSet(256);

  /** Bytes behind ModRM and displacement. */
  final int immediateBytes;

  UserForm(
      final String name,
      final Mnemonic mnemonic,
      final int codeSize,
      final String group,
      final byte[] head,
      final boolean vex,
      final boolean hasModrm,
      final boolean memory,
      final int immediateBytes) {
    this.name = name;
    this.mnemonic = mnemonic;
    this.codeSize = codeSize;
    this.group = group;
    this.head = head;
    this.vex = vex;
    this.hasModrm = hasModrm;
    this.memory = memory;
    this.immediateBytes = immediateBytes;
  }

  /** ModRM byte of this form, by a number that is any. */
  int modrm(final int any) {
    int at = modrms.nextSetBit(any & 0xFF);
    if (at < 0) {
      at = modrms.nextSetBit(0);
    }
    return at;
  }

  @Override
  public String toString() {
    return String.format(Locale.ROOT, "%d-bit %s", codeSize * 8, name);
  }
}
