package dev.vmexit.vcpu.soft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.vmexit.x86.Gpr;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The software vCPU against the host's own processor: the same instructions on the same state must
 * leave the same registers, flags, x87/SSE state and memory, but for what the manual leaves
 * undefined.
 *
 * <p>Seeded; {@code -Dvmexit.oracle.cases=N} and {@code -Dvmexit.oracle.seed=N} make longer and
 * other runs.
 */
final class SoftVcpuOracleTest {
  private static final long SEED = Long.getLong("vmexit.oracle.seed", 2006);
  private static final int CASES = Integer.getInteger("vmexit.oracle.cases", 160);
  private static final int MOST_REPORTED = 200;
  private static final HexFormat HEX = HexFormat.of();

  /** Where in the host's memory the cases have theirs: across a page boundary. */
  private static final int WINDOW = 4096 - OracleCase.MEMORY_BYTES / 2;

  private HostProcessor host;
  private SoftProcessor soft;

  @BeforeEach
  void open() {
    assumeTrue(HostProcessor.isSupported(), "SKIPPED: the host is not x86-64 Linux");
    host = new HostProcessor();
  }

  private void open(final SoftProcessor.Backing backing) {
    soft = new SoftProcessor(host.codeAddress(), host.memoryAddress() + WINDOW, backing);
  }

  @AfterEach
  void close() {
    if (soft != null) {
      soft.close();
    }
    if (host != null) {
      host.close();
    }
  }

  @ParameterizedTest
  @EnumSource(SoftProcessor.Backing.class)
  void shouldAgreeWithHostWhenInstructionsAreInteger(final SoftProcessor.Backing backing) {
    open(backing);
    compare(IntegerForms.all(), cases(backing));
  }

  @ParameterizedTest
  @EnumSource(SoftProcessor.Backing.class)
  void shouldAgreeWithHostWhenInstructionsAreSse(final SoftProcessor.Backing backing) {
    open(backing);
    compare(SseForms.all(), cases(backing));
  }

  @ParameterizedTest
  @EnumSource(SoftProcessor.Backing.class)
  void shouldAgreeWithHostWhenInstructionsHaveVexPrefixes(final SoftProcessor.Backing backing) {
    assumeTrue(
        HostProcessor.hasFlags("avx2", "bmi1", "bmi2", "fma", "f16c", "vaes", "vpclmulqdq"),
        "SKIPPED: the host's processor is below x86-64-v3, or has no VAES");
    open(backing);
    compare(VexForms.all(), cases(backing));
  }

  @ParameterizedTest
  @EnumSource(SoftProcessor.Backing.class)
  void shouldAgreeWithHostWhenInstructionsAreX87(final SoftProcessor.Backing backing) {
    open(backing);
    compare(X87Forms.all(), cases(backing));
  }

  @ParameterizedTest
  @EnumSource(SoftProcessor.Backing.class)
  void shouldAgreeWithHostWhenInstructionsFollowEachOther(final SoftProcessor.Backing backing) {
    open(backing);
    compare(SequenceForms.all(), cases(backing) * 40);
  }

  /** Where memory makes exits, the memory forms alone are of interest. */
  private static int cases(final SoftProcessor.Backing backing) {
    return backing == SoftProcessor.Backing.RAM ? CASES : CASES / 4;
  }

  @Test
  void shouldNameTheDifferenceWhenCodesAreNotTheSame() {
    open(SoftProcessor.Backing.RAM);
    assertDiffers("r0 ", "4801d8", "4829d8"); // add, sub rax,rbx
    assertDiffers("flags ", "f8", "f9"); // clc, stc
    assertDiffers("memory+0 ", "c604250000000001", "c604250000000002"); // mov byte [abs],1, 2
    assertDiffers("st0 ", "d9e8", "d9eb"); // fld1, fldpi
    assertDiffers("xmm1 ", "0f28ca", "0f57c9"); // movaps xmm1,xmm2; xorps xmm1,xmm1
    assertDiffers("fsw ", "d9e8", "d9e8d9f7"); // fld1; and fincstp
    assertDiffers("left with reason", "90", "0f0b"); // nop, ud2
  }

  private void assertDiffers(final String what, final String hostHex, final String softHex) {
    final OracleCase c =
        new OracleCase(new SplittableRandom(1), host.codeAddress(), host.memoryAddress() + WINDOW);
    c.gprs[Gpr.RBX] = 3;
    c.fx = new byte[HostProcessor.FX_SIZE];
    c.fx[0] = 0x7F;
    c.fx[1] = 3;
    Arrays.fill(c.fx, 160, 416, (byte) 7);
    final String difference =
        run(c, atMemory(hostHex, c.memoryAddress), atMemory(softHex, c.memoryAddress));
    assertTrue(difference != null && difference.contains(what), String.valueOf(difference));
  }

  /** Puts the address of the memory where a MOV to an absolute address has zeros. */
  private static byte[] atMemory(final String hex, final long address) {
    final byte[] code = HEX.parseHex(hex);
    if (code.length == 8 && code[0] == (byte) 0xC6) {
      for (int i = 0; i < 4; i++) {
        code[3 + i] = (byte) (address >>> (8 * i));
      }
    }
    return code;
  }

  /** Runs each form some times; collects the first difference of each form. */
  private void compare(final List<OracleForm> forms, final int casesPerForm) {
    final List<String> differences = new ArrayList<>();
    int ran = 0;
    for (final OracleForm form : forms) {
      // A seed of its own: a form's cases do not change when another form is added.
      final RandomGenerator random = new SplittableRandom(SEED ^ form.name().hashCode());
      int done = 0;
      String first = null;
      int wrong = 0;
      for (int attempt = 0; attempt < casesPerForm * 4 && done < casesPerForm; attempt++) {
        final OracleCase next =
            new OracleCase(random, host.codeAddress(), host.memoryAddress() + WINDOW);
        if (!draw(form, next)) {
          continue;
        }
        done++;
        final String difference = run(next);
        if (difference != null) {
          wrong++;
          first = first == null ? difference : first;
        }
      }
      ran += done;
      if (done == 0) {
        differences.add(form.name() + ": no case could be drawn");
      } else if (first != null) {
        differences.add(form.name() + " (" + wrong + " of " + done + "): " + first);
      }
    }
    assertTrue(ran >= forms.size() * casesPerForm * 9 / 10, "too few cases: " + ran);
    if (soft.backing() != SoftProcessor.Backing.RAM) {
      assertTrue(soft.exits() > ran / 10, "too few exits: " + soft.exits());
    }
    assertEquals(
        "", String.join("\n", differences.subList(0, Math.min(MOST_REPORTED, differences.size()))));
  }

  private static boolean draw(final OracleForm form, final OracleCase into) {
    try {
      return form.generator().test(into);
    } catch (final IllegalArgumentException notEncodable) {
      // AH to BH met an operand that needs a REX prefix: draw again.
      return false;
    }
  }

  private String run(final OracleCase c) {
    final byte[] code = c.a.assemble();
    return run(c, code, code);
  }

  /** What differs after the same state went through both, or null. */
  private String run(final OracleCase c, final byte[] code, final byte[] softCode) {
    final long[] hostGprs = c.gprs.clone();
    final long[] softGprs = c.gprs.clone();
    final byte[] hostFx = c.fx == null ? null : c.fx.clone();
    final byte[] softFx = c.fx == null ? null : c.fx.clone();
    final byte[] hostHigh = c.high == null ? null : c.high.clone();
    final byte[] softHigh = c.high == null ? null : c.high.clone();
    final byte[] hostMemory = new byte[WINDOW + OracleCase.MEMORY_BYTES];
    System.arraycopy(c.memory, 0, hostMemory, WINDOW, OracleCase.MEMORY_BYTES);
    final byte[] softMemory = c.memory.clone();
    final long hostFlags = host.run(code, hostGprs, c.flags, hostFx, hostHigh, hostMemory);
    final StringBuilder text = new StringBuilder();
    try {
      final long softFlags = soft.run(softCode, softGprs, c.flags, softFx, softHigh, softMemory);
      final long flagsDiffer = (hostFlags ^ softFlags) & ~c.undefinedFlags;
      if (flagsDiffer != 0) {
        differ(text, "flags", hostFlags & ~c.undefinedFlags, softFlags & ~c.undefinedFlags);
      }
      for (int i = 0; i < Gpr.COUNT; i++) {
        if (hostGprs[i] != softGprs[i]) {
          differ(text, "r" + i, hostGprs[i], softGprs[i]);
        }
      }
      final int at =
          Arrays.mismatch(hostMemory, WINDOW, hostMemory.length, softMemory, 0, softMemory.length);
      if (at >= 0) {
        differ(text, "memory+" + at, hostMemory[WINDOW + at], softMemory[at]);
      }
      if (c.fx != null) {
        FxComparison.compare(hostFx, softFx, c.undefinedStatus, text);
      }
      if (c.high != null && !Arrays.equals(hostHigh, softHigh)) {
        text.append(" upper halves host ").append(HEX.formatHex(hostHigh));
        text.append(" soft ").append(HEX.formatHex(softHigh)).append(';');
      }
    } catch (final IllegalStateException | AssertionError e) {
      text.append(' ').append(e.getMessage());
    }
    return text.isEmpty() ? null : describe(c, code) + text;
  }

  static void differ(
      final StringBuilder text, final String what, final long host, final long soft) {
    text.append(String.format(Locale.ROOT, " %s host %x soft %x;", what, host, soft));
  }

  private static String describe(final OracleCase c, final byte[] code) {
    final StringBuilder text = new StringBuilder(HEX.formatHex(code));
    text.append(String.format(Locale.ROOT, " flags %x", c.flags));
    for (int i = 0; i < Gpr.COUNT; i++) {
      if (i != Gpr.RSP) {
        text.append(String.format(Locale.ROOT, " r%d=%x", i, c.gprs[i]));
      }
    }
    if (c.fx != null) {
      text.append(" fx ").append(HEX.formatHex(c.fx, 0, 416));
    }
    return text.append(" ->").toString();
  }
}
