package dev.vmexit.x86.decode;

import java.util.Locale;

/** What Capstone 4 calls an instruction that the decoder has named. */
final class CapstoneNames {
  private static final String[] BY_SIZE = {"", "b", "w", "", "d", "", "", "", "q"};
  private static final String[] PLAIN = plain();

  private CapstoneNames() {}

  private static String[] plain() {
    final Mnemonic[] values = Mnemonic.values();
    final String[] names = new String[values.length];
    for (int i = 0; i < names.length; i++) {
      names[i] = values[i].name().toLowerCase(Locale.ROOT);
    }
    return names;
  }

  /** The name that Capstone gives, without the prefixes that it writes before it. */
  static String expected(final Instruction insn) {
    final String plain = PLAIN[insn.mnemonic.ordinal()];
    return switch (insn.mnemonic) {
      case MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS -> plain + BY_SIZE[insn.operandSize];
      case PUSHF, POPF, IRET -> insn.operandSize == 2 ? plain : plain + BY_SIZE[insn.operandSize];
      case PUSHA, POPA -> plain + (insn.operandSize == 2 ? "aw" : "al").substring(1);
      case JRCXZ -> insn.addressSize == 8 ? plain : insn.addressSize == 4 ? "jecxz" : "jcxz";
      case FXSAVE, FXRSTOR, XSAVE, XSAVEC, XSAVEOPT, XSAVES, XRSTOR, XRSTORS ->
          insn.operandSize == 8 ? plain + "64" : plain;
      case JMPF -> "ljmp";
      case CALLF -> "lcall";
      case XLAT -> "xlatb";
      case FWAIT -> "wait";
      default -> plain;
    };
  }

  /** CMPEQPS and the like are CMPPS with an immediate of their own. */
  static String plainComparison(final String name) {
    if (name.startsWith("cmp") && name.length() > 6 || name.startsWith("vcmp")) {
      final String kind = name.substring(name.length() - 2);
      switch (kind) {
        case "ps", "pd", "ss", "sd" -> {
          return name.substring(0, name.indexOf('p') + 1) + kind;
        }
        default -> {}
      }
    }
    if (name.startsWith("pclmul") || name.startsWith("vpclmul")) {
      return name.substring(0, name.indexOf('l') + 1).replace("pcl", "pclmulqdq");
    }
    // An X tells the 128-bit source of a narrowing conversion.
    return name.startsWith("vcvt") && name.endsWith("x")
        ? name.substring(0, name.length() - 1)
        : name;
  }

  /** Without "lock ", "rep " and the like. */
  static String stripPrefixes(final String name) {
    final int space = name.lastIndexOf(' ');
    return plainComparison(space < 0 ? name : name.substring(space + 1));
  }
}
