package dev.vmexit.exit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class ExitConditionTest {
  private static ExitEvent exit(
      final ExitKind kind, final long address, final long value, final long handler) {
    final ExitEvent event = new ExitEvent();
    event.kind = kind;
    event.address = address;
    event.value = value;
    event.handlerTime = handler;
    event.rip = 0xFFFF_FFFF_8100_0000L + address;
    return event;
  }

  private static List<ExitEvent> exits() {
    return List.of(
        exit(ExitKind.PIO, 0x3F8, 0x41, 100),
        exit(ExitKind.PIO, 0x3FD, 0x60, 200_000),
        exit(ExitKind.MMIO, 0xFEE0_0300L, 1, 300),
        exit(ExitKind.PAGE_FAULT, 0x3F8, 0xFEE0_0300L, 400),
        exit(ExitKind.INJECT, 0xEC, -1, 0),
        exit(ExitKind.MSR, 0x10, 5, 500),
        exit(ExitKind.PIO, 0x3F8, 0x42, 600));
  }

  @ParameterizedTest
  @CsvSource({
    "port=0x3f8, 0",
    "port=1016 and count=2, 6",
    "port=0x3f9-0x3ff, 1",
    "kind=mmio, 2",
    "'kind=msr,inject', 4",
    "gpa=0xfee00000-0xfee00fff, 2",
    "gpa=0xfee00300 and kind=page_fault, 3",
    "gva=0x3f8, 3",
    "vector=0xec, 4",
    "msr=0x10, 5",
    "handler>100us, 1",
    "handler>199999ns && kind=pio, 1",
    "handler>200us, -1",
    "rip=0xffffffff81000300-0xffffffff810003f8 and kind=page-fault, 3",
    "count=7, 6",
    "count=8, -1",
  })
  void shouldBeMetByTheFirstThatAllIsTrueOf(final String text, final int first) {
    final ExitCondition condition = ExitCondition.parse(text);
    final List<Integer> met = new ArrayList<>();
    final List<ExitEvent> exits = exits();
    for (int i = 0; i < exits.size(); i++) {
      if (condition.isMet(exits.get(i))) {
        met.add(i);
      }
    }
    assertEquals(first < 0 ? List.of() : List.of(first), met);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "port",
        "port=",
        "port=abc",
        "port>3",
        "port=9-3",
        "port=0x10000000000000000",
        "colour=red",
        "kind=colour",
        "kind=pio and",
        "kind=pio or kind=mmio",
        "handler=100us",
        "handler>100",
        "handler>999999999999999s",
        "count=0",
        "kind=mmio and port=0x3f8",
        "port=0x3f8 and vector=3",
      })
  void shouldSayInOneLineWhatIsWrong(final String text) {
    final String message =
        assertThrows(IllegalArgumentException.class, () -> ExitCondition.parse(text)).getMessage();
    assertEquals(1, message.lines().count());
    assertTrue(message.contains("kind=pio,mmio") && message.startsWith("'"), message);
  }

  @Test
  void shouldPassAllOnAndDoOneThing() {
    final List<ExitEvent> written = new ArrayList<>();
    final List<ExitEvent> met = new ArrayList<>();
    final ExitSink sink =
        new ExitSink() {
          @Override
          public boolean wants(final ExitKind kind) {
            return false;
          }

          @Override
          public void write(final ExitEvent event) {
            written.add(event);
          }

          @Override
          public void close() {}
        };
    try (TriggerSink trigger = new TriggerSink(sink, ExitCondition.parse("kind=pio"), met::add)) {
      exits().forEach(trigger::write);
      assertTrue(trigger.wants(ExitKind.CPUID));
    }
    assertEquals(exits().size(), written.size());
    assertEquals(List.of(written.getFirst()), met);
  }
}
