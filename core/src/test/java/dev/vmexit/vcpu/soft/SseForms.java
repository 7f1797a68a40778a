package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Operand;
import dev.vmexit.x86.encode.Register;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.Consumer;

/**
 * SSE, SSE2 and MMX instructions. RCPPS, RCPSS, RSQRTPS and RSQRTSS are left out: the manual gives
 * a bound on their error only, and processors differ.
 */
final class SseForms {
  private static final int FX_CONTROL = 0;
  private static final int FX_STATUS = 2;
  private static final int FX_TAGS = 4;
  private static final int FX_MXCSR = 24;
  private static final int FX_ST = 32;
  private static final int FX_XMM = 160;

  private static final int MXCSR_MASKS = 0x1F80;
  private static final int MXCSR_STICKY = 0x3F;
  private static final int MXCSR_ROUNDING_SHIFT = 13;
  private static final int MXCSR_FTZ = 0x8000;
  private static final int MXCSR_DAZ = 0x40;

  private final List<OracleForm> forms = new ArrayList<>();

  private SseForms() {}

  static List<OracleForm> all() {
    final SseForms table = new SseForms();
    table.floating();
    table.conversions();
    table.moves();
    table.integer("xmm", 0x66, 16);
    table.integer("mmx", 0, 8);
    table.shuffles();
    table.state();
    return List.copyOf(table.forms);
  }

  private void add(final String name, final Consumer<OracleCase> generator) {
    forms.add(
        new OracleForm(
            name,
            c -> {
              state(c);
              generator.accept(c);
              return true;
            }));
  }

  /** Random x87 and SSE state, and floating-point numbers in memory. */
  static void state(final OracleCase c) {
    final byte[] fx = new byte[HostProcessor.FX_SIZE];
    FloatValues.put(fx, FX_CONTROL, 2, 0x37F);
    FloatValues.put(fx, FX_STATUS, 2, (long) c.below(8) << 11);
    fx[FX_TAGS] = (byte) c.below(256);
    final int extra = c.chance(8) ? c.pick(MXCSR_FTZ, MXCSR_DAZ, MXCSR_FTZ | MXCSR_DAZ) : 0;
    FloatValues.put(
        fx,
        FX_MXCSR,
        4,
        MXCSR_MASKS
            | (c.chance(2) ? 0 : c.below(MXCSR_STICKY + 1))
            | (c.chance(2) ? 0 : c.below(4) << MXCSR_ROUNDING_SHIFT)
            | extra);
    for (int i = 0; i < 8; i++) {
      FloatValues.extended(c.random, fx, FX_ST + 16 * i);
    }
    for (int i = 0; i < 16; i++) {
      lanes(c, fx, FX_XMM + 16 * i);
    }
    for (int i = 0; i < OracleCase.MEMORY_BYTES; i += 16) {
      lanes(c, c.memory, i);
    }
    c.fx = fx;
  }

  private static void lanes(final OracleCase c, final byte[] into, final int at) {
    if (c.chance(3)) {
      for (int i = 0; i < 16; i += 8) {
        FloatValues.put(into, at + i, 8, c.value());
      }
    } else if (c.chance(2)) {
      for (int i = 0; i < 16; i += 4) {
        FloatValues.put(into, at + i, 4, FloatValues.single(c.random));
      }
    } else {
      for (int i = 0; i < 16; i += 8) {
        FloatValues.put(into, at + i, 8, FloatValues.twice(c.random));
      }
    }
  }

  private static Register xmm(final OracleCase c) {
    return Register.xmm(c.below(16));
  }

  private static Register mm(final OracleCase c) {
    return Register.values()[Register.MM0.ordinal() + c.below(8)];
  }

  private static Operand xmmOrMemory(final OracleCase c, final int size, final int alignment) {
    return c.chance(2) ? xmm(c) : c.memory(size, alignment);
  }

  private static Operand mmOrMemory(final OracleCase c, final int size) {
    return c.chance(2) ? mm(c) : c.memory(size, 1);
  }

  /** Bytes of a scalar or packed operand by its prefix. */
  private static int width(final int prefix) {
    return switch (prefix) {
      case 0xF3 -> 4;
      case 0xF2 -> 8;
      default -> 16;
    };
  }

  private static int alignment(final int prefix) {
    return prefix == 0 || prefix == 0x66 ? 16 : 1;
  }

  private void sse(final String name, final int prefix, final int opcode) {
    sse(name, prefix, opcode, width(prefix), alignment(prefix));
  }

  private void sse(
      final String name, final int prefix, final int opcode, final int size, final int alignment) {
    add(name, c -> c.a.modrm(prefix, 0, 0x0F00 | opcode, xmm(c), xmmOrMemory(c, size, alignment)));
  }

  private void floating() {
    final int[] prefixes = {0, 0x66, 0xF3, 0xF2};
    final String[] suffixes = {"ps", "pd", "ss", "sd"};
    final int[] opcodes = {0x51, 0x58, 0x59, 0x5C, 0x5D, 0x5E, 0x5F};
    final String[] names = {"sqrt", "add", "mul", "sub", "min", "div", "max"};
    for (int i = 0; i < prefixes.length; i++) {
      final int prefix = prefixes[i];
      for (int j = 0; j < opcodes.length; j++) {
        sse(names[j] + suffixes[i], prefix, opcodes[j]);
      }
      add(
          "cmp" + suffixes[i],
          c ->
              c.a.modrm(
                  prefix,
                  0,
                  0x0FC2,
                  xmm(c),
                  xmmOrMemory(c, width(prefix), alignment(prefix)),
                  c.below(8)));
    }
    for (int i = 0; i < 2; i++) {
      final int prefix = prefixes[i];
      final String suffix = suffixes[i];
      sse("and" + suffix, prefix, 0x54);
      sse("andn" + suffix, prefix, 0x55);
      sse("or" + suffix, prefix, 0x56);
      sse("xor" + suffix, prefix, 0x57);
      sse("unpckl" + suffix, prefix, 0x14);
      sse("unpckh" + suffix, prefix, 0x15);
      sse("ucomi" + suffixes[i + 2], prefix, 0x2E, i == 0 ? 4 : 8, 1);
      sse("comi" + suffixes[i + 2], prefix, 0x2F, i == 0 ? 4 : 8, 1);
      add(
          "movmsk" + suffix,
          c -> c.a.modrm(prefix, 0, 0x0F50, Register.gpr(c.number(), 4), xmm(c)));
      add(
          "shuf" + suffix,
          c -> c.a.modrm(prefix, 0, 0x0FC6, xmm(c), xmmOrMemory(c, 16, 16), c.below(256)));
    }
  }

  private void conversions() {
    sse("cvtps2pd", 0, 0x5A, 8, 1);
    sse("cvtpd2ps", 0x66, 0x5A);
    sse("cvtss2sd", 0xF3, 0x5A);
    sse("cvtsd2ss", 0xF2, 0x5A);
    sse("cvtdq2ps", 0, 0x5B);
    sse("cvtps2dq", 0x66, 0x5B);
    sse("cvttps2dq", 0xF3, 0x5B, 16, 16);
    sse("cvttpd2dq", 0x66, 0xE6);
    sse("cvtdq2pd", 0xF3, 0xE6, 8, 1);
    sse("cvtpd2dq", 0xF2, 0xE6, 16, 16);
    for (final int prefix : new int[] {0xF3, 0xF2}) {
      final String suffix = prefix == 0xF3 ? "ss" : "sd";
      for (final int size : new int[] {4, 8}) {
        final int rex = size == 8 ? 8 : 0;
        add("cvtsi2" + suffix + size * 8, c -> c.a.modrm(prefix, rex, 0x0F2A, xmm(c), c.rm(size)));
        for (int i = 0; i < 2; i++) {
          final int opcode = 0x0F2C + i;
          add(
              (i == 0 ? "cvtt" : "cvt") + suffix + "2si" + size * 8,
              c ->
                  c.a.modrm(
                      prefix,
                      rex,
                      opcode,
                      Register.gpr(c.number(), size),
                      xmmOrMemory(c, width(prefix), 1)));
        }
      }
    }
    for (final int prefix : new int[] {0, 0x66}) {
      final String suffix = prefix == 0 ? "ps" : "pd";
      add("cvtpi2" + suffix, c -> c.a.modrm(prefix, 0, 0x0F2A, xmm(c), mmOrMemory(c, 8)));
      for (int i = 0; i < 2; i++) {
        final int opcode = 0x0F2C + i;
        add(
            (i == 0 ? "cvtt" : "cvt") + suffix + "2pi",
            c ->
                c.a.modrm(
                    prefix,
                    0,
                    opcode,
                    mm(c),
                    xmmOrMemory(c, prefix == 0 ? 8 : 16, prefix == 0 ? 1 : 16)));
      }
    }
  }

  private void moves() {
    for (final int prefix : new int[] {0, 0x66, 0xF3, 0xF2}) {
      final int size = width(prefix);
      add(
          "movu 10 prefix " + prefix,
          c -> c.a.modrm(prefix, 0, 0x0F10, xmm(c), xmmOrMemory(c, size, 1)));
      add(
          "movu 11 prefix " + prefix,
          c -> c.a.modrm(prefix, 0, 0x0F11, xmm(c), xmmOrMemory(c, size, 1)));
    }
    for (final int prefix : new int[] {0, 0x66}) {
      add(
          "movl 12 prefix " + prefix,
          c ->
              c.a.modrm(
                  prefix, 0, 0x0F12, xmm(c), prefix == 0 && c.chance(2) ? xmm(c) : c.memory(8, 1)));
      add(
          "movh 16 prefix " + prefix,
          c ->
              c.a.modrm(
                  prefix, 0, 0x0F16, xmm(c), prefix == 0 && c.chance(2) ? xmm(c) : c.memory(8, 1)));
      add("movl 13 prefix " + prefix, c -> c.a.modrm(prefix, 0, 0x0F13, xmm(c), c.memory(8, 1)));
      add("movh 17 prefix " + prefix, c -> c.a.modrm(prefix, 0, 0x0F17, xmm(c), c.memory(8, 1)));
      sse("mova 28 prefix " + prefix, prefix, 0x28);
      sse("mova 29 prefix " + prefix, prefix, 0x29);
      add("movnt 2B prefix " + prefix, c -> c.a.modrm(prefix, 0, 0x0F2B, xmm(c), c.memory(16, 16)));
    }
    sse("movdqa load", 0x66, 0x6F);
    sse("movdqa store", 0x66, 0x7F);
    sse("movdqu load", 0xF3, 0x6F, 16, 1);
    sse("movdqu store", 0xF3, 0x7F, 16, 1);
    sse("movq load", 0xF3, 0x7E, 8, 1);
    sse("movq store", 0x66, 0xD6, 8, 1);
    add("movntdq", c -> c.a.modrm(0x66, 0, 0x0FE7, xmm(c), c.memory(16, 16)));
    add("movntq", c -> c.a.modrm(0, 0, 0x0FE7, mm(c), c.memory(8, 1)));
    add("movq2dq", c -> c.a.modrm(0xF3, 0, 0x0FD6, xmm(c), mm(c)));
    add("movdq2q", c -> c.a.modrm(0xF2, 0, 0x0FD6, mm(c), xmm(c)));
    add("movq mm load", c -> c.a.modrm(0, 0, 0x0F6F, mm(c), mmOrMemory(c, 8)));
    add("movq mm store", c -> c.a.modrm(0, 0, 0x0F7F, mm(c), mmOrMemory(c, 8)));
    for (final int size : new int[] {4, 8}) {
      final int rex = size == 8 ? 8 : 0;
      add("movnti" + size, c -> c.a.modrm(0, size, 0x0FC3, gpr(c, size), c.memory(size, 1)));
      for (final int prefix : new int[] {0, 0x66}) {
        add(
            "movd load " + size + " prefix " + prefix,
            c -> c.a.modrm(prefix, rex, 0x0F6E, prefix == 0 ? mm(c) : xmm(c), c.rm(size)));
        add(
            "movd store " + size + " prefix " + prefix,
            c -> c.a.modrm(prefix, rex, 0x0F7E, prefix == 0 ? mm(c) : xmm(c), c.rm(size)));
      }
    }
    for (final int prefix : new int[] {0, 0x66}) {
      add(
          "maskmov prefix " + prefix,
          c -> {
            c.gprs[Gpr.RDI] = c.memoryAddress + 64 + c.below(64);
            if (prefix == 0) {
              c.a.modrm(0, 0, 0x0FF7, mm(c), mm(c));
            } else {
              c.a.modrm(prefix, 0, 0x0FF7, xmm(c), xmm(c));
            }
          });
    }
  }

  private static Register gpr(final OracleCase c, final int size) {
    return Register.gpr(c.number(), size);
  }

  private void integer(final String kind, final int prefix, final int size) {
    for (int opcode = 0x60; opcode <= 0xFE; opcode++) {
      final int code = opcode;
      if (isPacked(opcode, prefix)) {
        add(
            String.format(Locale.ROOT, "%s 0f %02x", kind, opcode),
            c ->
                c.a.modrm(
                    prefix,
                    0,
                    0x0F00 | code,
                    size == 16 ? xmm(c) : mm(c),
                    size == 16 ? xmmOrMemory(c, 16, 16) : mmOrMemory(c, memorySize(code))));
      }
      if (isShift(opcode)) {
        // Counts in the range of the lanes: random ones nearly always shift everything out.
        add(
            String.format(Locale.ROOT, "%s 0f %02x, small count", kind, opcode),
            c -> {
              final int register = c.below(8);
              final int at = size == 16 ? FX_XMM + 16 * register : FX_ST + 16 * register;
              FloatValues.put(c.fx, FX_STATUS, 2, 0);
              FloatValues.put(c.fx, at, 8, c.below(70));
              c.a.modrm(
                  prefix,
                  0,
                  0x0F00 | code,
                  size == 16 ? xmm(c) : mm(c),
                  Register.values()[
                      (size == 16 ? Register.XMM0 : Register.MM0).ordinal() + register]);
            });
      }
    }
    for (int opcode = 0x71; opcode <= 0x73; opcode++) {
      for (int extension = 2; extension <= 7; extension++) {
        final boolean whole = extension == 3 || extension == 7;
        final boolean exists =
            opcode == 0x73
                ? extension == 2 || extension == 6 || (whole && size == 16)
                : extension == 2 || extension == 4 || extension == 6;
        if (exists) {
          final int group = 0x0F00 | opcode;
          final int which = extension;
          add(
              String.format(Locale.ROOT, "%s 0f %02x /%d", kind, opcode, extension),
              c -> {
                if (prefix != 0) {
                  c.a.db(prefix);
                }
                c.a.modrmExtended(0, group, which, operandOfGroup(c, size));
                c.a.db(c.chance(4) ? c.below(256) : c.below(66));
              });
        }
      }
    }
    add(
        kind + " pinsrw",
        c ->
            c.a.modrm(
                prefix,
                0,
                0x0FC4,
                size == 16 ? xmm(c) : mm(c),
                c.chance(2) ? Register.gpr(c.number(), 4) : c.memory(2, 1),
                c.below(256)));
    add(
        kind + " pextrw",
        c -> c.a.modrm(prefix, 0, 0x0FC5, gpr(c, 4), size == 16 ? xmm(c) : mm(c), c.below(256)));
    add(
        kind + " pmovmskb",
        c -> c.a.modrm(prefix, 0, 0x0FD7, gpr(c, 4), size == 16 ? xmm(c) : mm(c)));
  }

  /** Registers whose number needs no REX prefix: the mandatory prefix stands before by hand. */
  private static Register operandOfGroup(final OracleCase c, final int size) {
    return size == 16 ? Register.xmm(c.below(8)) : mm(c);
  }

  private static int memorySize(final int opcode) {
    return opcode <= 0x62 ? 4 : 8;
  }

  private static boolean isShift(final int opcode) {
    return switch (opcode) {
      case 0xD1, 0xD2, 0xD3, 0xE1, 0xE2, 0xF1, 0xF2, 0xF3 -> true;
      default -> false;
    };
  }

  /** Whether 0F xx is a packed integer operation of two vectors (SDM Vol. 2D, table A-3). */
  private static boolean isPacked(final int opcode, final int prefix) {
    return switch (opcode) {
      case 0x6C, 0x6D -> prefix == 0x66;
      case 0xD0, 0xD6, 0xD7, 0xE6, 0xE7, 0xF0, 0xF7 -> false;
      default ->
          (opcode >= 0x60 && opcode <= 0x6B)
              || (opcode >= 0x74 && opcode <= 0x76)
              || (opcode >= 0xD1 && opcode <= 0xFE);
    };
  }

  private void shuffles() {
    final int[] prefixes = {0x66, 0xF3, 0xF2};
    final String[] names = {"pshufd", "pshufhw", "pshuflw"};
    for (int i = 0; i < prefixes.length; i++) {
      final int prefix = prefixes[i];
      add(
          names[i],
          c -> c.a.modrm(prefix, 0, 0x0F70, xmm(c), xmmOrMemory(c, 16, 16), c.below(256)));
    }
    add("pshufw", c -> c.a.modrm(0, 0, 0x0F70, mm(c), mmOrMemory(c, 8), c.below(256)));
  }

  private void state() {
    add(
        "ldmxcsr",
        c -> {
          final int offset = 100;
          c.putMemory(
              offset, 4, MXCSR_MASKS | c.below(0x40) | (long) c.below(8) << MXCSR_ROUNDING_SHIFT);
          c.a.ldmxcsr(c.memoryAt(4, offset));
        });
    add("stmxcsr", c -> c.a.stmxcsr(c.memory(4, 1)));
    add("emms", c -> c.a.db(0x0F, 0x77));
    add(
        "fences",
        c -> {
          c.a.lfence();
          c.a.mfence();
          c.a.sfence();
        });
    add(
        "ucomisd, setcc",
        c -> {
          c.a.modrm(0x66, 0, 0x0F2E, xmm(c), xmm(c));
          c.a.setcc(Condition.A, Memory.absolute(c.memoryAddress));
        });
  }
}
