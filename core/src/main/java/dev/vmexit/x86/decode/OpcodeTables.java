package dev.vmexit.x86.decode;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The decision trees of one mode, built from the textual tables.
 *
 * <p>A line is {@code opcode condition… mnemonic [operands] [attribute…]}; {@code map n} and {@code
 * vex n} start a map (0: one byte, 1: 0F, 2: 0F 38, 3: 0F 3A). The first line whose conditions hold
 * wins. Conditions: {@code /n} ModRM.reg, {@code mem} and {@code reg} ModRM.mod, {@code rm=n},
 * {@code np 66 f3 f2} mandatory prefix ({@code np} none; several with a bar), {@code o16 o32 o64}
 * operand size, {@code w0 w1 l0 l1 b1} bits of REX or VEX, {@code r1} W in 64-bit mode, {@code m32
 * m64} outside or in 64-bit mode. {@code +r} after the opcode makes eight lines of it. Operands:
 * see {@link Operands}. Attributes: {@code lock} lockable, {@code vex} and {@code vex0} also as a
 * VEX form (with L = 0), {@code vsib} a vector as index, {@code suffix} 3DNow!, the others how the
 * operand size is found.
 */
final class OpcodeTables {
  static final int LEGACY = 0;
  static final int LONG_MODE = 1;

  /** Values that a {@code BY_} group chooses from. */
  private static final int[] CHOICES = {2, 4, 8, 2, 8, 3, 2, 2, 2, 2};

  /** Legacy maps; an opcode that is none has {@link Form#INVALID}. */
  final Form[][] maps = new Form[4][];

  /** VEX maps; map 0 is empty. */
  final Form[][] vexMaps = new Form[4][];

  /** Conditions of a line, per group kind a bit set of the values that it accepts; [0] modes. */
  private static final class Rule {
    final int[] accepts;
    final Form form;

    Rule(final int[] accepts, final Form form) {
      this.accepts = accepts;
      this.form = form;
    }
  }

  private OpcodeTables(final List<List<Rule>> rules, final int mode) {
    for (int map = 0; map < 4; map++) {
      maps[map] = new Form[256];
      vexMaps[map] = new Form[256];
      for (int opcode = 0; opcode < 256; opcode++) {
        maps[map][opcode] = tree(inMode(rules.get(map << 8 | opcode), mode), 1);
        vexMaps[map][opcode] = tree(inMode(rules.get(map + 4 << 8 | opcode), mode), 1);
      }
    }
    addPrefixes(maps[0], mode == LONG_MODE);
    maps[1][0x38] = new Form(Form.ESCAPE, 2);
    maps[1][0x3A] = new Form(Form.ESCAPE, 3);
  }

  /** Reads the tables and builds both modes': [{@link #LEGACY}], [{@link #LONG_MODE}]. */
  static OpcodeTables[] build() {
    final List<List<Rule>> rules = new ArrayList<>();
    for (int i = 0; i < 8 << 8; i++) {
      rules.add(List.of());
    }
    read(IntegerOpcodes.TABLE, rules);
    read(X87Opcodes.TABLE, rules);
    read(SimdOpcodes.TABLE, rules);
    read(VexOpcodes.TABLE, rules);
    return new OpcodeTables[] {new OpcodeTables(rules, LEGACY), new OpcodeTables(rules, LONG_MODE)};
  }

  private static List<Rule> inMode(final List<Rule> rules, final int mode) {
    return accepting(rules, 0, mode);
  }

  private static List<Rule> accepting(final List<Rule> rules, final int kind, final int value) {
    boolean all = true;
    for (int i = 0; i < rules.size(); i++) {
      all &= (rules.get(i).accepts[kind] >> value & 1) != 0;
    }
    if (all) {
      return rules;
    }
    final List<Rule> result = new ArrayList<>(rules.size());
    for (int i = 0; i < rules.size(); i++) {
      if ((rules.get(i).accepts[kind] >> value & 1) != 0) {
        result.add(rules.get(i));
      }
    }
    return result;
  }

  private static void addPrefixes(final Form[] map, final boolean mode64) {
    map[0x0F] = new Form(Form.ESCAPE, 1);
    final int[] segments = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65};
    for (int i = 0; i < segments.length; i++) {
      map[segments[i]] = new Form(Form.SEGMENT, i);
    }
    map[0x66] = new Form(Form.OPERAND_SIZE, 0);
    map[0x67] = new Form(Form.ADDRESS_SIZE, 0);
    map[0xF0] = new Form(Form.LOCK, 0);
    map[0xF2] = new Form(Form.REPEAT_NE, 0);
    map[0xF3] = new Form(Form.REPEAT, 0);
    if (mode64) {
      for (int rex = 0x40; rex < 0x50; rex++) {
        map[rex] = new Form(Form.REX, rex);
      }
    }
    map[0xC5] = new Form(Form.VEX2, new Form[] {map[0xC5]});
    map[0xC4] = new Form(Form.VEX3, new Form[] {map[0xC4]});
    map[0x62] = new Form(Form.EVEX, new Form[] {map[0x62]});
  }

  /** Chooses by the first kind that some rule asks about, and so on below. */
  private static Form tree(final List<Rule> rules, final int from) {
    if (rules.isEmpty()) {
      return Form.INVALID;
    }
    for (int kind = from; kind < Form.GROUP_KINDS; kind++) {
      final int all = (1 << CHOICES[kind]) - 1;
      boolean asked = false;
      for (int i = 0; i < rules.size(); i++) {
        asked |= rules.get(i).accepts[kind] != all;
      }
      if (asked) {
        final Form[] sub = new Form[CHOICES[kind]];
        for (int value = 0; value < sub.length; value++) {
          sub[value] = tree(accepting(rules, kind, value), kind + 1);
        }
        return new Form(kind, sub);
      }
    }
    return rules.get(0).form;
  }

  private static void read(final String table, final List<List<Rule>> rules) {
    int section = 0;
    int start = 0;
    while (start < table.length()) {
      final int end = table.indexOf('\n', start);
      final String line = table.substring(start, end);
      start = end + 1;
      if (line.startsWith("map ") || line.startsWith("vex ")) {
        section = line.charAt(4) - '0' + (line.charAt(0) == 'v' ? 4 : 0);
      } else if (!line.isEmpty()) {
        readLine(line, section, rules);
      }
    }
  }

  private static void readLine(final String line, final int section, final List<List<Rule>> rules) {
    final String[] tokens = line.split(" ", -1);
    int opcode = Integer.parseInt(tokens[0].substring(0, 2), 16);
    int next = 1;
    final int[] accepts = new int[Form.GROUP_KINDS];
    for (int kind = 0; kind < accepts.length; kind++) {
      accepts[kind] = (1 << CHOICES[kind]) - 1;
    }
    for (; !Character.isUpperCase(tokens[next].charAt(0)); next++) {
      condition(tokens[next], accepts);
    }
    final String mnemonic = tokens[next++];
    String operands = "";
    if (next < tokens.length && isOperands(tokens[next])) {
      operands = tokens[next++];
    }
    final Attributes attributes = new Attributes();
    for (; next < tokens.length; next++) {
      attributes.add(tokens[next]);
    }
    final boolean vexSection = section >= 4;
    final boolean asks = accepts[Form.BY_REG] != 0xFF || accepts[Form.BY_MOD] != 3;
    final int rounds = tokens[0].endsWith("+r") ? 8 : 1;
    for (int i = 0; i < rounds; i++, opcode++) {
      final Form form = leaf(mnemonic, operands, attributes, asks, vexSection);
      add(rules, section << 8 | opcode, new Rule(accepts, form));
    }
    if (attributes.vex) {
      final int[] vexAccepts = accepts.clone();
      if (attributes.vexL0) {
        vexAccepts[Form.BY_L] = 1;
      }
      final Form form = leaf("V".concat(mnemonic), operands, attributes, asks, true);
      add(rules, section + 4 << 8 | opcode - 1, new Rule(vexAccepts, form));
    }
  }

  private static void add(final List<List<Rule>> rules, final int slot, final Rule rule) {
    if (rules.get(slot).isEmpty()) {
      rules.set(slot, new ArrayList<>(4));
    }
    rules.get(slot).add(rule);
  }

  private static boolean isOperands(final String token) {
    return switch (token) {
      case "lock", "d64", "f64", "mode", "max32", "byte", "vex", "vex0", "vsib", "suffix" -> false;
      default -> true;
    };
  }

  private static void condition(final String token, final int[] accepts) {
    switch (token) {
      case "m32" -> accepts[0] = 1 << LEGACY;
      case "m64" -> accepts[0] = 1 << LONG_MODE;
      case "mem" -> accepts[Form.BY_MOD] = 1;
      case "reg" -> accepts[Form.BY_MOD] = 2;
      case "o16" -> accepts[Form.BY_SIZE] = 1;
      case "o32" -> accepts[Form.BY_SIZE] = 2;
      case "o64" -> accepts[Form.BY_SIZE] = 4;
      case "w0" -> accepts[Form.BY_W] = 1;
      case "w1" -> accepts[Form.BY_W] = 2;
      case "r1" -> accepts[Form.BY_W64] = 2;
      case "l0" -> accepts[Form.BY_L] = 1;
      case "l1" -> accepts[Form.BY_L] = 2;
      case "b1" -> accepts[Form.BY_B] = 2;
      case "np" -> accepts[Form.BY_PREFIX] = 1;
      case "66" -> accepts[Form.BY_PREFIX] = 2;
      case "np|66" -> accepts[Form.BY_PREFIX] = 3;
      case "f3" -> accepts[Form.BY_PREFIX] = 4;
      case "f2" -> accepts[Form.BY_PREFIX] = 8;
      default -> {
        if (token.startsWith("/")) {
          accepts[Form.BY_REG] = 1 << token.charAt(1) - '0';
        } else if (token.startsWith("rm=")) {
          accepts[Form.BY_RM] = 1 << token.charAt(3) - '0';
        } else {
          throw new IllegalArgumentException("condition=" + token);
        }
      }
    }
  }

  private static Form leaf(
      final String mnemonic,
      final String operands,
      final Attributes attributes,
      final boolean asksModrm,
      final boolean vex) {
    int flags = attributes.flags | (asksModrm ? Form.HAS_MODRM : 0);
    int sizing = attributes.sizing;
    final String[] texts = operands.isEmpty() ? new String[0] : operands.split(",", -1);
    final int[] codes = new int[texts.length];
    int count = 0;
    for (final String text : texts) {
      final char method = text.charAt(0);
      if (method == 'H' && !vex) {
        continue;
      }
      codes[count++] = Operands.parse(text);
      if (text.length() > 1 && "EGRMPQNVWUKkCDS".indexOf(method) >= 0 && !isFixed(text)) {
        flags |= Form.HAS_MODRM;
      }
      if (method == 'M') {
        flags |= Form.MEMORY_ONLY;
      } else if (method == 'N' || method == 'U' || method == 'R') {
        flags |= Form.REGISTER_ONLY;
      } else if (method == 'H' || method == 'B' || method == 'h') {
        flags |= Form.USES_VVVV;
      }
    }
    if (operands.contains("Cm") || operands.contains("Dm")) {
      flags = flags & ~Form.REGISTER_ONLY | Form.MOD_IGNORED;
    }
    if (sizing == Form.SIZE_NORMAL && isByte(operands)) {
      sizing = Form.SIZE_BYTE;
    }
    return new Form(Mnemonic.valueOf(mnemonic), flags, sizing, Arrays.copyOf(codes, count));
  }

  private static boolean isFixed(final String text) {
    return switch (text) {
      case "ES", "CS", "SS", "DS", "FS", "GS", "CL", "DX" -> true;
      default -> false;
    };
  }

  /** Whether the destination says that this is a byte operation. */
  private static boolean isByte(final String operands) {
    return operands.startsWith("AL")
        || operands.length() > 1
            && operands.charAt(1) == 'b'
            && "EGZXYO".indexOf(operands.charAt(0)) >= 0;
  }

  /** What follows the operands. */
  private static final class Attributes {
    int flags;
    int sizing = Form.SIZE_NORMAL;
    boolean vex;
    boolean vexL0;

    void add(final String token) {
      switch (token) {
        case "lock" -> flags |= Form.LOCKABLE;
        case "d64" -> sizing = Form.SIZE_DEFAULT_64;
        case "f64" -> sizing = Form.SIZE_FORCE_64;
        case "mode" -> sizing = Form.SIZE_MODE;
        case "max32" -> sizing = Form.SIZE_MAX_32;
        case "byte" -> sizing = Form.SIZE_BYTE;
        case "vsib" -> flags |= Form.VECTOR_INDEX;
        case "suffix" -> flags |= Form.SUFFIX_OPCODE;
        case "vex" -> vex = true;
        case "vex0" -> {
          vex = true;
          vexL0 = true;
        }
        default -> throw new IllegalArgumentException("attribute=" + token);
      }
    }
  }
}
