package dev.vmexit.analysis;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import java.util.EnumSet;
import org.junit.jupiter.api.Test;

final class TraceComparisonTest {
  private final TraceComparison comparison =
      new TraceComparison(EnumSet.of(ExitKind.PIO, ExitKind.HLT, ExitKind.INJECT));

  private static ExitEvent exit(final ExitKind kind, final int vcpu, final long value) {
    final ExitEvent event = new ExitEvent();
    event.kind = kind;
    event.vcpu = vcpu;
    event.value = value;
    return event;
  }

  @Test
  void shouldFindNothingWhenTimesAndOtherKindsDiffer() {
    for (int i = 0; i < 1_000; i++) {
      final ExitEvent a = exit(ExitKind.PIO, i % 2, i);
      final ExitEvent b = exit(ExitKind.PIO, i % 2, i);
      a.hostTime = i;
      b.hostTime = 2L * i;
      b.retired = 7;
      comparison.first(a);
      comparison.first(exit(ExitKind.CPUID, 0, i));
      comparison.second(b);
    }
    comparison.first(exit(ExitKind.INJECT, 0, 1_000));
    comparison.second(exit(ExitKind.INJECT, 0, 2_000));
    assertTrue(comparison.isSame());
    assertEquals(1_001, comparison.inStep());
    assertEquals(1_000, comparison.same(ExitKind.PIO));
    assertEquals(-1, comparison.differingVcpu());
  }

  @Test
  void shouldAlignEachVcpuByItselfWhenTheyInterleaveOtherwise() {
    for (int i = 0; i < 10; i++) {
      comparison.first(exit(ExitKind.PIO, 0, i));
    }
    for (int i = 0; i < 10; i++) {
      comparison.first(exit(ExitKind.PIO, 1, -i));
    }
    for (int i = 0; i < 10; i++) {
      comparison.second(exit(ExitKind.PIO, 1, -i));
      comparison.second(exit(ExitKind.PIO, 0, i));
    }
    assertTrue(comparison.isSame());
    assertEquals(20, comparison.inStep());
  }

  @Test
  void shouldNameTheFirstPairAndGoOnWithinTheKindsWhenOneExitIsTooMuch() {
    for (int i = 0; i < 10; i++) {
      comparison.first(exit(ExitKind.PIO, 0, i));
      comparison.second(exit(ExitKind.PIO, 0, i));
      if (i == 4) {
        comparison.second(exit(ExitKind.HLT, 0, 0));
      }
    }
    assertFalse(comparison.isSame());
    assertEquals(0, comparison.differingVcpu());
    assertEquals(5, comparison.differingOrdinal());
    assertEquals(10, comparison.same(ExitKind.PIO));
    assertEquals(0, comparison.same(ExitKind.HLT));
    assertEquals(0, comparison.firstCount(ExitKind.HLT));
    assertEquals(1, comparison.secondCount(ExitKind.HLT));
  }

  @Test
  void shouldTakeEachElementOfAWrittenStringForAnExit() {
    final ExitEvent string = exit(ExitKind.PIO, 0, 0x1211);
    string.write = true;
    string.size = 2;
    string.dataLength = 6;
    for (int i = 0; i < 6; i++) {
      string.data[i] = (byte) (0x11 + i);
    }
    comparison.first(string);
    for (final int value : new int[] {0x1211, 0x1413, 0x1615}) {
      final ExitEvent element = exit(ExitKind.PIO, 0, value);
      element.write = true;
      element.size = 2;
      comparison.second(element);
    }
    assertTrue(comparison.isSame());
    assertEquals(3, comparison.inStep());
    string.data[5] ^= 1;
    comparison.first(string);
    comparison.second(string);
    string.data[3] ^= 1;
    comparison.first(string);
    string.data[3] ^= 1;
    comparison.second(string);
    assertFalse(comparison.isSame());
    assertEquals(7, comparison.differingOrdinal());
  }

  @Test
  void shouldDifferWhenOneEndsEarlier() {
    comparison.first(exit(ExitKind.PIO, 0, 1));
    comparison.first(exit(ExitKind.PIO, 0, 2));
    comparison.second(exit(ExitKind.PIO, 0, 1));
    assertFalse(comparison.isSame());
    assertEquals(-1, comparison.differingVcpu());
    assertEquals(1, comparison.inStep());
  }

  @Test
  void shouldNameTheFieldThatDiffers() {
    final ExitEvent a = exit(ExitKind.PIO, 0, 1);
    final ExitEvent b = exit(ExitKind.PIO, 0, 1);
    assertEquals("", TraceComparison.difference(a, b));
    b.value = 2;
    assertEquals("value", TraceComparison.difference(a, b));
    b.address = 3;
    assertEquals("address", TraceComparison.difference(a, b));
    b.rip = 4;
    assertEquals("rip", TraceComparison.difference(a, b));
    b.kind = ExitKind.HLT;
    assertEquals("kind", TraceComparison.difference(a, b));
  }
}
