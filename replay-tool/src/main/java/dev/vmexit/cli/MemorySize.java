package dev.vmexit.cli;

import dev.vmexit.memory.GuestMemory;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Sizes as users write them: {@code 512M}, {@code 2G}, {@code 65536K}, plain bytes. */
final class MemorySize {
  private static final Pattern FORM = Pattern.compile("(\\d{1,15})\\s*([KMGT]?)(?:I?B)?");
  private static final long PAGE = 4096;
  private static final long MIN = 1L << 20;

  /** What there are addresses for: a PC leaves 1 GiB below 4 GiB to devices. */
  private static final long MAX = GuestMemory.MAX_GPA - (1L << 30);

  private MemorySize() {}

  /** Bytes of the guest's memory. */
  static long parse(final String text) {
    final Matcher matcher = FORM.matcher(text.trim().toUpperCase(Locale.ROOT));
    if (!matcher.matches()) {
      throw new UserException("--memory " + text + " is not a size; write it like 512M or 2G");
    }
    final int shift =
        switch (matcher.group(2)) {
          case "K" -> 10;
          case "M" -> 20;
          case "G" -> 30;
          case "T" -> 40;
          default -> 0;
        };
    final long number = Long.parseLong(matcher.group(1));
    if (number > MAX >> shift) {
      throw new UserException(
          "--memory " + text + " is more than a guest can have, at most " + (MAX >> 30) + "G");
    }
    final long bytes = number << shift;
    if (bytes < MIN || bytes % PAGE != 0) {
      throw new UserException(
          "--memory " + text + " is " + bytes + " bytes; at least 1M, in whole pages of 4 KiB");
    }
    return bytes;
  }

  /** As a user would write it. */
  static String format(final long bytes) {
    if (bytes % (1L << 30) == 0) {
      return (bytes >> 30) + "G";
    }
    return bytes % (1L << 20) == 0 ? (bytes >> 20) + "M" : (bytes >> 10) + "K";
  }
}
