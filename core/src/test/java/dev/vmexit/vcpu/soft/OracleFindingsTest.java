package dev.vmexit.vcpu.soft;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.vmexit.x86.Gpr;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What {@link OracleSweepTest} found wrong, case by case; needs no oracle any more. */
final class OracleFindingsTest {
  private static final HexFormat HEX = HexFormat.of();
  private static final long BASE = 0x2000_0000L;
  private static final int FX_MXCSR = 24;
  private static final int FX_STATUS = 2;
  private static final int FX_TAGS = 4;
  private static final int FX_ST = 32;
  private static final int FX_XMM = 160;

  static List<String> vectors() {
    try (InputStream in = OracleFindingsTest.class.getResourceAsStream("oracle-findings.txt")) {
      return new String(in.readAllBytes(), StandardCharsets.US_ASCII)
          .lines()
          .filter(line -> !line.isEmpty() && line.charAt(0) != '#')
          .toList();
    } catch (final IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @ParameterizedTest
  @MethodSource("vectors")
  void shouldDoAsTheHostDid(final String vector) {
    final String[] parts = vector.split(" \\| ", -1);
    final UserContext c = new UserContext();
    c.codeSize = Integer.parseInt(parts[0]) / 8;
    c.code = HEX.parseHex(parts[1].replace(" ", ""));
    c.cleanFpu();
    final int flat = c.codeSize == 2 ? UserContext.DATA16 : UserContext.DATA32;
    c.ds = flat;
    c.es = flat;
    c.ss = flat;
    for (final String token : parts[2].split(" ", -1)) {
      set(c, token.substring(0, token.indexOf('=')), token.substring(token.indexOf('=') + 1));
    }
    try (SoftUser soft = new SoftUser(BASE, CpuModel.max())) {
      soft.run(c);
    }
    for (final String token : parts[3].split(" ", -1)) {
      final String name = token.substring(0, token.indexOf('='));
      assertEquals(token.substring(token.indexOf('=') + 1), get(c, name), name);
    }
  }

  private static int number(final String name) {
    return Integer.parseInt(name.replaceAll("\\D", ""));
  }

  private static void set(final UserContext c, final String name, final String text) {
    switch (name) {
      case "flags" -> c.flags = Long.parseUnsignedLong(text, 16);
      case "ds" -> c.ds = Integer.parseInt(text, 16);
      case "es" -> c.es = Integer.parseInt(text, 16);
      case "ss" -> c.ss = Integer.parseInt(text, 16);
      case "mxcsr" -> FloatValues.put(c.fx, FX_MXCSR, 4, Long.parseLong(text, 16));
      case "fcw" -> FloatValues.put(c.fx, 0, 2, Long.parseLong(text, 16));
      case "ftw" -> FloatValues.put(c.fx, FX_TAGS, 1, Long.parseLong(text, 16));
      default -> {
        if (name.charAt(0) == 'r') {
          c.gprs[number(name)] = Long.parseUnsignedLong(text, 16);
        } else if (name.startsWith("st")) {
          System.arraycopy(HEX.parseHex(text), 0, c.fx, FX_ST + 16 * number(name), 10);
        } else if (name.startsWith("xmm")) {
          System.arraycopy(HEX.parseHex(text), 0, c.fx, FX_XMM + 16 * number(name), 16);
        } else {
          throw new IllegalArgumentException("state=" + name);
        }
      }
    }
  }

  private static String word(final UserContext c, final int at) {
    return String.format(Locale.ROOT, "%x", c.fx[at] & 0xFF | (c.fx[at + 1] & 0xFF) << 8);
  }

  private static String get(final UserContext c, final String name) {
    return switch (name) {
      case "vector" -> c.vector < 0 ? "-" : Integer.toHexString(c.vector);
      case "error" -> Long.toHexString(c.errorCode);
      case "mxcsr" -> word(c, FX_MXCSR);
      case "fsw" -> word(c, FX_STATUS);
      default -> {
        if (name.charAt(0) == 'r' && number(name) < Gpr.COUNT) {
          yield Long.toHexString(c.gprs[number(name)]);
        }
        throw new IllegalArgumentException("state=" + name);
      }
    };
  }
}
