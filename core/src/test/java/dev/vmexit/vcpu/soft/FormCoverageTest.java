package dev.vmexit.vcpu.soft;

import static java.util.Map.entry;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.vmexit.x86.decode.Mnemonic;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/**
 * Every instruction form that the decoder knows and the richest model offers is executed by some
 * test: by the draws of {@link OracleSweepTest}, to its end, or by the test that is named here for
 * what a program of CPL 3 cannot execute or the host cannot judge.
 */
final class FormCoverageTest {
  private static final long BASE = 0x2000_0000L;
  private static final int DRAWS = 200;
  private static final int DRAWS_OF_NAMED = 60;
  private static final int DEBUG = 1;
  private static final int BREAKPOINT = 3;
  private static final int OVERFLOW = 4;
  private static final boolean REPORT = Boolean.getBoolean("vmexit.sweep.report");

  /** What needs CPL 0 or the machine's answer, or leads away from the code. */
  private static final Map<Mnemonic, Class<?>> ELSEWHERE =
      Map.ofEntries(
          entry(Mnemonic.MOV, ExitTest.class),
          entry(Mnemonic.JMP, CodeLimitTest.class),
          entry(Mnemonic.JMPF, SegmentTest.class),
          entry(Mnemonic.CALL, CodeLimitTest.class),
          entry(Mnemonic.CALLF, SegmentTest.class),
          entry(Mnemonic.RETF, SegmentTest.class),
          entry(Mnemonic.INT, EventDeliveryTest.class),
          entry(Mnemonic.SYSCALL, FastCallTest.class),
          entry(Mnemonic.SYSRET, FastCallTest.class),
          entry(Mnemonic.SYSENTER, FastCallTest.class),
          entry(Mnemonic.SYSEXIT, FastCallTest.class),
          entry(Mnemonic.INS, ExitTest.class),
          entry(Mnemonic.OUTS, ExitTest.class),
          entry(Mnemonic.IN, ExitTest.class),
          entry(Mnemonic.OUT, ExitTest.class),
          entry(Mnemonic.CLI, InterruptShadowTest.class),
          entry(Mnemonic.STI, InterruptShadowTest.class),
          entry(Mnemonic.CLAC, SystemFeaturesTest.class),
          entry(Mnemonic.STAC, SystemFeaturesTest.class),
          entry(Mnemonic.HLT, ExitTest.class),
          entry(Mnemonic.MONITOR, MonitorTest.class),
          entry(Mnemonic.MWAIT, MonitorTest.class),
          entry(Mnemonic.RDPKRU, ProtectionKeysTest.class),
          entry(Mnemonic.WRPKRU, ProtectionKeysTest.class),
          entry(Mnemonic.LGDT, SegmentTest.class),
          entry(Mnemonic.LIDT, SegmentTest.class),
          entry(Mnemonic.LLDT, SegmentTest.class),
          entry(Mnemonic.LTR, SegmentTest.class),
          entry(Mnemonic.LMSW, SegmentTest.class),
          entry(Mnemonic.CLTS, SegmentTest.class),
          entry(Mnemonic.INVD, SystemFeaturesTest.class),
          entry(Mnemonic.WBINVD, SystemFeaturesTest.class),
          entry(Mnemonic.INVLPG, PagingTest.class),
          entry(Mnemonic.INVPCID, SystemFeaturesTest.class),
          entry(Mnemonic.RDMSR, ExitTest.class),
          entry(Mnemonic.WRMSR, ExitTest.class),
          entry(Mnemonic.RDPMC, SegmentTest.class),
          entry(Mnemonic.RDTSC, ExitTest.class),
          entry(Mnemonic.RDTSCP, ExitTest.class),
          entry(Mnemonic.CPUID, ExitTest.class),
          entry(Mnemonic.SWAPGS, SegmentTest.class),
          entry(Mnemonic.RDRAND, SystemFeaturesTest.class),
          entry(Mnemonic.RDSEED, SystemFeaturesTest.class),
          entry(Mnemonic.XSETBV, SystemFeaturesTest.class));

  private SoftUser soft = new SoftUser(BASE, CpuModel.max());

  @Test
  void shouldExecuteEveryFormThatTheRichestModelOffers() {
    final Map<Mnemonic, List<String>> left = new TreeMap<>();
    for (final int codeSize : new int[] {8, 4, 2}) {
      for (final UserForm form : UserForms.of(CpuModel.max(), codeSize)) {
        if (!isExecuted(form)) {
          left.computeIfAbsent(form.mnemonic, m -> new ArrayList<>()).add(form.toString());
        }
      }
    }
    soft.close();
    if (REPORT) {
      left.forEach((mnemonic, forms) -> System.out.println(mnemonic + ": " + forms));
    }
    final Map<Mnemonic, List<String>> missing = new TreeMap<>(left);
    missing.keySet().removeAll(ELSEWHERE.keySet());
    assertEquals(Map.of(), missing, "executed by no test");
    final List<Mnemonic> stale = new ArrayList<>(ELSEWHERE.keySet());
    stale.removeAll(left.keySet());
    assertEquals(List.of(), stale, "named here, but the sweep executes them");
  }

  private boolean isExecuted(final UserForm form) {
    final UserCases cases = new UserCases(new SplittableRandom(form.toString().hashCode()), BASE);
    cases.everything = true;
    final UserContext c = new UserContext();
    final int draws = ELSEWHERE.containsKey(form.mnemonic) ? DRAWS_OF_NAMED : DRAWS;
    for (int i = 0; i < draws; i++) {
      if (!cases.draw(form, c) || cases.invalid) {
        continue;
      }
      try {
        soft.run(c);
      } catch (final IllegalStateException exit) {
        // It left for the machine to answer: what the vCPU is in the midst of goes with it.
        soft.close();
        soft = new SoftUser(BASE, CpuModel.max());
        return false;
      }
      if (c.vector < 0 || c.vector == DEBUG || c.vector == BREAKPOINT || c.vector == OVERFLOW) {
        return true;
      }
    }
    return false;
  }
}
