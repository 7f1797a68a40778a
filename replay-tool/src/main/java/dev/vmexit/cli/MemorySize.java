package dev.vmexit.cli;

import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Sizes as users write them: {@code 512M}, {@code 2G}, {@code 65536K}, plain bytes. */
final class MemorySize {
  private static final Pattern FORM = Pattern.compile("(\\d{1,15})\\s*([KMGT]?)(?:I?B)?");
  private static final long PAGE = 4096;
  private static final long MIN = 1L << 20;

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
    if (number > Long.MAX_VALUE >> shift) {
      throw new UserException("--memory " + text + " is more than any machine can map");
    }
    final long bytes = number << shift;
    if (bytes < MIN || bytes % PAGE != 0) {
      throw new UserException(
          "--memory " + text + " is " + bytes + " bytes; at least 1M, in whole pages of 4 KiB");
    }
    return bytes;
  }
}
