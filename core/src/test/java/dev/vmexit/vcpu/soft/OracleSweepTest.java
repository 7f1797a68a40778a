package dev.vmexit.vcpu.soft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Every instruction form of user code, of 64, 32 and 16 bits, against the host's own processor:
 * registers, flags, x87, SSE and AVX state, memory, and the exception with its error code, address
 * and frame, but for what the manual leaves undefined ({@link UndefinedState}).
 *
 * <p>Seeded; {@code -Dvmexit.sweep.cases=N} and {@code -Dvmexit.sweep.seed=N} make longer and other
 * runs, and {@code -Dvmexit.sweep.report=true} prints cases and differences of each group.
 */
final class OracleSweepTest {
  private static final long SEED = Long.getLong("vmexit.sweep.seed", 2006);
  private static final int CASES = Integer.getInteger("vmexit.sweep.cases", 12);
  private static final boolean REPORT = Boolean.getBoolean("vmexit.sweep.report");
  private static final String ONLY = System.getProperty("vmexit.sweep.only", "");
  private static final int MOST_REPORTED = 100;
  private static final int PAGE_FAULT = 14;
  private static final int PAGE_FAULT_WRITE = 2;
  private static final int STACK_FAULT = 12;
  private static final int GENERAL_PROTECTION = 13;
  private static final int SIMD_ERROR = 19;
  private static final int FX_MXCSR = 24;
  private static final int FX_X87_END = 160;
  private static final HexFormat HEX = HexFormat.of();

  private final UserContext before = new UserContext();
  private final UserContext host = new UserContext();
  private final UserContext soft = new UserContext();
  private final StringBuilder text = new StringBuilder();

  /** Cases, faults among them, differences. */
  private final Map<String, long[]> groups = new TreeMap<>();

  @ParameterizedTest
  @ValueSource(ints = {8, 4, 2})
  void shouldAgreeWithHostOnEveryFormWhenCodeSizeIs(final int codeSize) {
    assumeTrue(HostUser.isSupported(), "SKIPPED: the host is not x86-64 Linux");
    assumeTrue(
        HostProcessor.hasFlags("avx2", "bmi1", "bmi2", "fma", "f16c", "vaes", "vpclmulqdq"),
        "SKIPPED: the host's processor is below x86-64-v3, or has no VAES");
    final List<UserForm> forms = UserForms.of(CpuModel.max(), codeSize);
    final List<String> differences = new ArrayList<>();
    final List<String> empty = new ArrayList<>();
    try (HostUser native1 = new HostUser();
        SoftUser emulated = new SoftUser(native1.base(), CpuModel.max())) {
      for (final UserForm form : forms) {
        if (!form.name.contains(ONLY)) {
          continue;
        }
        sweep(form, native1, emulated, differences, empty);
      }
    }
    report(codeSize, forms.size(), empty);
    assertEquals(
        "", String.join("\n", differences.subList(0, Math.min(MOST_REPORTED, differences.size()))));
    assertTrue(ONLY.length() > 0 || forms.size() > 1000, "too few forms: " + forms.size());
  }

  private void sweep(
      final UserForm form,
      final HostUser native1,
      final SoftUser emulated,
      final List<String> differences,
      final List<String> empty) {
    // A seed of its own: a form's cases do not change when another form is added.
    final SplittableRandom random = new SplittableRandom(SEED ^ form.toString().hashCode());
    final UserCases cases = new UserCases(random, native1.base());
    final long[] counts = groups.computeIfAbsent(form.group, g -> new long[3]);
    int done = 0;
    int wrong = 0;
    String first = null;
    for (int attempt = 0; attempt < CASES * 6 && done < CASES; attempt++) {
      if (!cases.draw(form, before) || UndefinedState.result(cases.insn, before)) {
        continue;
      }
      done++;
      emulated.demand(attempt % 4 == 0);
      final String difference = run(cases, native1, emulated);
      counts[0]++;
      counts[1] += host.vector >= 0 ? 1 : 0;
      if (difference != null) {
        counts[2]++;
        wrong++;
        first = first == null ? difference : first;
        native1.clearData();
        emulated.clearData();
      }
    }
    if (done == 0) {
      empty.add(form.name);
    } else if (first != null) {
      differences.add(form + " (" + wrong + " of " + done + "): " + first);
    }
  }

  /** What differs after the same state went through both, or null. */
  private String run(final UserCases cases, final HostUser native1, final SoftUser emulated) {
    host.copyFrom(before);
    soft.copyFrom(before);
    native1.run(host);
    text.setLength(0);
    try {
      emulated.run(soft);
      compare(cases.insn);
    } catch (final IllegalStateException e) {
      text.append(' ').append(e.getMessage());
    }
    return text.isEmpty() ? null : describe() + text;
  }

  private void compare(final Instruction insn) {
    if (UndefinedState.processorsDiffer(insn, host.vector, soft.vector)) {
      return;
    }
    final boolean anyFault = anyOfSeveralFaults(insn);
    if (!anyFault) {
      differ("vector", host.vector, soft.vector);
    }
    if (host.vector >= 0 && host.vector == soft.vector) {
      differ("rip", host.rip, soft.rip);
      if (SoftUser.hasErrorCode(host.vector)) {
        final long write = insn.mnemonic == Mnemonic.ARPL ? PAGE_FAULT_WRITE : 0;
        differ("error", host.errorCode & ~write, soft.errorCode & ~write);
      }
      if (host.vector == PAGE_FAULT && !anyFault) {
        differ("cr2", host.address, soft.address);
      }
    }
    final long mask = ~UndefinedState.flags(insn, before);
    differ("flags", host.flags & mask, soft.flags & mask);
    final boolean destinationUndefined =
        UndefinedState.destinationIfZero(insn) && (host.flags & Flags.ZF) != 0;
    for (int i = 0; i < Gpr.COUNT; i++) {
      if (host.gprs[i] != soft.gprs[i]
          && !(anyFault && insn.mnemonic == Mnemonic.POPA)
          && !(destinationUndefined && insn.operandRegister[0] == i)
          && ((host.gprs[i] ^ soft.gprs[i]) & ~UndefinedState.bits(insn, i)) != 0
          && (before.codeSize == 8 || (int) host.gprs[i] != (int) soft.gprs[i])) {
        differ("r" + i, host.gprs[i], soft.gprs[i]);
      }
    }
    differ("ds", visible(host.ds), visible(soft.ds));
    differ("es", visible(host.es), visible(soft.es));
    differ("ss", host.ss, soft.ss);
    final int at = Arrays.mismatch(host.memory, soft.memory);
    if (at >= 0 && !(host.vector >= 0 && UndefinedState.orderOfAccesses(insn))) {
      differ("memory+" + at, host.memory[at], soft.memory[at]);
    }
    if (host.vector >= 0 && touchesMmx(insn)) {
      // Whether the x87 turned into MMX before the fault is the processor's choice.
      System.arraycopy(host.fx, 0, soft.fx, 0, FX_X87_END);
    }
    if (host.vector == SIMD_ERROR && UndefinedState.manySteps(insn)) {
      System.arraycopy(host.fx, FX_MXCSR, soft.fx, FX_MXCSR, 2);
    }
    FxComparison.compare(host.fx, soft.fx, UndefinedState.status(insn), text);
    if (!Arrays.equals(host.high, soft.high)) {
      text.append(" upper halves host ").append(HEX.formatHex(host.high));
      text.append(" soft ").append(HEX.formatHex(soft.high)).append(';');
    }
  }

  /** Both faulted, and the manual does not say which of two reasons comes first. */
  private boolean anyOfSeveralFaults(final Instruction insn) {
    if (host.vector < STACK_FAULT || soft.vector < STACK_FAULT) {
      return false;
    }
    // A wide operand can be both misaligned, which is #GP, and beyond the stack's limit.
    return UndefinedState.orderOfAccesses(insn)
        || insn.memorySize >= 16
            && host.vector <= GENERAL_PROTECTION
            && soft.vector <= GENERAL_PROTECTION;
  }

  /** The return from the kernel makes null selectors plain zeros (SDM Vol. 2A, IRET). */
  private static int visible(final int selector) {
    return (selector & ~3) == 0 ? 0 : selector;
  }

  private static boolean touchesMmx(final Instruction insn) {
    return insn.operandKind[0] == Instruction.MMX || insn.operandKind[1] == Instruction.MMX;
  }

  private void differ(final String what, final long first, final long second) {
    if (first != second) {
      SoftVcpuOracleTest.differ(text, what, first, second);
    }
  }

  private String describe() {
    final StringBuilder state = new StringBuilder(HEX.formatHex(before.code));
    state.append(
        String.format(
            Locale.ROOT,
            " at %x, window %x, flags %x, ds %x es %x ss %x",
            before.codeOffset,
            before.windowOffset,
            before.flags,
            before.ds,
            before.es,
            before.ss));
    for (int i = 0; i < Gpr.COUNT; i++) {
      if (before.gprs[i] != 0) {
        state.append(String.format(Locale.ROOT, " r%d=%x", i, before.gprs[i]));
      }
    }
    state.append(" fx ").append(HEX.formatHex(before.fx, 0, 32));
    return state.append(" ->").toString();
  }

  private void report(final int codeSize, final int forms, final List<String> empty) {
    if (!REPORT) {
      return;
    }
    final StringBuilder out = new StringBuilder();
    out.append(
        String.format(
            Locale.ROOT,
            "%d-bit code, %d forms (%d held elsewhere), seed %d%n%-10s %12s %12s %12s%n",
            codeSize * 8,
            forms,
            empty.size(),
            SEED,
            "group",
            "cases",
            "faults",
            "differences"));
    final long[] sum = new long[3];
    groups.forEach(
        (name, counts) -> {
          line(out, name, counts);
          for (int i = 0; i < 3; i++) {
            sum[i] += counts[i];
          }
        });
    line(out, "all", sum);
    out.append("held elsewhere: ").append(String.join("; ", empty)).append('\n');
    System.out.print(out);
  }

  private static void line(final StringBuilder out, final String name, final long[] counts) {
    out.append(
        String.format(
            Locale.ROOT, "%-10s %12d %12d %12d%n", name, counts[0], counts[1], counts[2]));
  }
}
