package dev.vmexit.analysis;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import java.util.List;
import org.junit.jupiter.api.Test;

final class ExitStatisticsTest {
  private static ExitEvent exit(
      final ExitKind kind, final long address, final long handler, final long guest) {
    final ExitEvent event = new ExitEvent();
    event.kind = kind;
    event.address = address;
    event.handlerTime = handler;
    event.guestTime = guest;
    event.rip = 0xFFFF_FFFF_8100_0000L + address;
    return event;
  }

  private static ExitStatistics known(final Dimension dimension) {
    final ExitStatistics statistics = new ExitStatistics(dimension);
    for (int i = 1; i <= 1000; i++) {
      statistics.add(exit(ExitKind.PIO, 0x3F8 + i % 2, i, 10L * i));
    }
    for (int i = 1; i <= 10; i++) {
      statistics.add(exit(ExitKind.MMIO, 0xFEE0_0000L, 1_000_000, 7));
    }
    final ExitEvent reflected = exit(ExitKind.PAGE_FAULT, 0x1234, 5, 5);
    reflected.detail = ExitEvent.PF_REFLECTED;
    statistics.add(reflected);
    final ExitEvent filled = exit(ExitKind.PAGE_FAULT, 0x1234, 5, 5);
    filled.detail = ExitEvent.PF_FILLED;
    filled.value = 0x7FFF;
    statistics.add(filled);
    statistics.add(exit(ExitKind.INJECT, 0xEC, 0, 0));
    statistics.add(exit(ExitKind.GAP, 0, 0, 0));
    return statistics;
  }

  @Test
  void shouldCountByKind() {
    final ExitStatistics statistics = known(Dimension.KIND);
    final List<ExitStatistics.Row> rows = statistics.rows(ExitStatistics.Order.COUNT);
    assertEquals(
        List.of("PIO", "MMIO", "PAGE_FAULT", "INJECT"),
        rows.stream().map(ExitStatistics.Row::key).toList());
    final ExitStatistics.Row pio = rows.get(0);
    assertEquals(1000, pio.count());
    assertEquals(1000.0 / 1013, pio.share());
    assertEquals(500_500, pio.handler().total());
    assertEquals(500, pio.handler().mean());
    assertEquals(500, pio.handler().p50());
    assertEquals(990, pio.handler().p99());
    assertEquals(999, pio.handler().p999());
    assertEquals(1000, pio.handler().max());
    assertEquals(10_000, pio.guest().max());
    assertEquals(5_005_000, pio.guest().total());
    // Three digits.
    assertTrue(Math.abs(pio.guest().p50() - 5000) <= 5);
    assertEquals(1013, statistics.total().count());
    assertEquals("MMIO", statistics.rows(ExitStatistics.Order.TOTAL).get(0).key());
  }

  @Test
  void shouldTellInjectionLatencyByVector() {
    final ExitStatistics statistics = new ExitStatistics(Dimension.VECTOR);
    for (int i = 1; i <= 20; i++) {
      final ExitEvent timer = exit(ExitKind.INJECT, 0xEC, 0, 0);
      timer.value = 100L * i;
      statistics.add(timer);
    }
    final ExitEvent pageFault = exit(ExitKind.INJECT, 14, 0, 0);
    pageFault.value = -1;
    statistics.add(pageFault);
    final ExitStatistics.Row row = statistics.rows(ExitStatistics.Order.COUNT).get(0);
    assertEquals("0xec", row.key());
    assertEquals(20, row.injections());
    assertEquals(1000, row.injection().p50());
    assertEquals(2000, row.injection().max());
    assertEquals(20, statistics.total().injections());
    final String table = StatisticsTable.format(statistics, ExitStatistics.Order.COUNT, 10);
    assertTrue(table.startsWith("Time from an interrupt's request to its injection\n"), table);
    assertTrue(table.lines().allMatch(line -> line.length() <= StatisticsTable.WIDTH), table);
    assertEquals(4, table.lines().count(), table);
  }

  @Test
  void shouldCountOnlyWhatADimensionCovers() {
    assertEquals(1000, known(Dimension.PORT).count());
    assertEquals(11, known(Dimension.GPA).count());
    assertEquals(1, known(Dimension.VECTOR).count());
    assertEquals(1013, known(Dimension.RIP).count());
    assertEquals(
        List.of("0x3f8", "0x3f9"),
        known(Dimension.PORT).rows(ExitStatistics.Order.COUNT).stream()
            .map(ExitStatistics.Row::key)
            .toList());
    assertEquals(
        List.of("0xfee00000", "0x7000"),
        known(Dimension.GPA).rows(ExitStatistics.Order.COUNT).stream()
            .map(ExitStatistics.Row::key)
            .toList());
    assertEquals(
        "ffffffff810003f8", known(Dimension.RIP).rows(ExitStatistics.Order.COUNT).get(0).key());
  }

  @Test
  void shouldBeExactWhenThereAreFew() {
    final Durations durations = new Durations();
    for (int i = 1; i <= 5; i++) {
      durations.add(i * 1_000_001L);
    }
    assertEquals(3_000_003, durations.percentile(50));
    assertEquals(5_000_005, durations.percentile(99.9));
  }

  @Test
  void shouldFitInEightyColumns() {
    final ExitStatistics statistics = known(Dimension.RIP);
    final ExitEvent huge = exit(ExitKind.HLT, 0, 0, 0);
    huge.handlerTime = 1_234_567_890_123L;
    huge.guestTime = 99_999_999L;
    statistics.add(huge);
    final String text = StatisticsTable.format(statistics, ExitStatistics.Order.TOTAL, 3);
    int tables = 0;
    for (final String line : text.lines().toList()) {
      assertTrue(line.length() <= StatisticsTable.WIDTH, line);
      tables += line.length() == StatisticsTable.WIDTH ? 1 : 0;
    }
    assertEquals(13, tables, text);
    assertTrue(text.contains("and 3 more"), text);
  }

  @Test
  void shouldShowThreeDigitsOfADuration() {
    assertEquals("0ns", StatisticsTable.duration(0));
    assertEquals("999ns", StatisticsTable.duration(999));
    assertEquals("1.00us", StatisticsTable.duration(1000));
    assertEquals("9.99us", StatisticsTable.duration(9_994));
    assertEquals("10.0us", StatisticsTable.duration(9_996));
    assertEquals("100us", StatisticsTable.duration(99_960));
    assertEquals("1.00ms", StatisticsTable.duration(999_600));
    assertEquals("12.3s", StatisticsTable.duration(12_345_678_901L));
    assertEquals("1235s", StatisticsTable.duration(1_234_567_890_123L));
  }

  @Test
  void shouldWriteJson() {
    final ExitStatistics statistics = new ExitStatistics(Dimension.PORT);
    statistics.add(exit(ExitKind.PIO, 0x3F8, 100, 200));
    assertEquals(
        "{\"guest\":\"a"
            + " \\\"b\\\"\\u000a\",\"times\":\"none\",\"by\":\"port\",\"missing\":3,\"rows\":[{\"key\":\"0x3f8\","
            + "\"count\":1,\"share\":1.000000,\"handler\":{\"total\":100,\"mean\":100,\"p50\":100,"
            + "\"p99\":100,\"p99.9\":100,\"max\":100},\"guest\":{\"total\":200,\"mean\":200,"
            + "\"p50\":200,\"p99\":200,\"p99.9\":200,\"max\":200}}],\"total\":{\"key\":\"all\","
            + "\"count\":1,\"share\":1.000000,\"handler\":{\"total\":100,\"mean\":100,\"p50\":100,"
            + "\"p99\":100,\"p99.9\":100,\"max\":100},\"guest\":{\"total\":200,\"mean\":200,"
            + "\"p50\":200,\"p99\":200,\"p99.9\":200,\"max\":200}}}",
        StatisticsJson.format(statistics, ExitStatistics.Order.COUNT, "a \"b\"\n", "none", 3));
  }
}
