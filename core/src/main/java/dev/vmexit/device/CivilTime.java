package dev.vmexit.device;

import java.time.LocalDateTime;
import java.time.ZoneOffset;

/** The MC146818's ten time-of-day registers as numbers, and their conversion to seconds. */
record CivilTime(int year, int month, int day, int hour, int minute, int second) {

  /** Splits seconds since 1970-01-01T00:00:00Z. */
  static CivilTime ofEpochSecond(final long seconds) {
    final LocalDateTime time = LocalDateTime.ofEpochSecond(seconds, 0, ZoneOffset.UTC);
    return new CivilTime(
        time.getYear(),
        time.getMonthValue(),
        time.getDayOfMonth(),
        time.getHour(),
        time.getMinute(),
        time.getSecond());
  }

  /**
   * Seconds since 1970. A guest may write any number into a register: what is out of range carries
   * over (the 31st of February is the 3rd of March).
   */
  long epochSecond() {
    return LocalDateTime.of(year, 1, 1, 0, 0)
        .plusMonths(month - 1L)
        .plusDays(day - 1L)
        .plusHours(hour)
        .plusMinutes(minute)
        .plusSeconds(second)
        .toEpochSecond(ZoneOffset.UTC);
  }

  /** 1 is Sunday. */
  static int dayOfWeek(final long seconds) {
    return (int) Math.floorMod(Math.floorDiv(seconds, 86_400L) + 4, 7L) + 1;
  }
}
