package dev.vmexit.vcpu.soft;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.Locale;
import java.util.Set;
import java.util.stream.Stream;

/** Features of the host's processor, as Linux tells them; without Linux on x86 there are none. */
final class HostFeatures {
  private static final Path CPUINFO = Path.of("/proc/cpuinfo");

  private HostFeatures() {}

  /** Those of {@link CpuFeature} that the host has. */
  static EnumSet<CpuFeature> known() {
    try (Stream<String> lines = Files.lines(CPUINFO)) {
      return of(lines.filter(line -> line.startsWith("flags")).findFirst().orElse("flags:"));
    } catch (final IOException e) {
      return EnumSet.noneOf(CpuFeature.class);
    }
  }

  /** The features that a line "flags : fpu vme ..." names. */
  static EnumSet<CpuFeature> of(final String line) {
    final Set<String> names =
        new HashSet<>(Arrays.asList(line.substring(line.indexOf(':') + 1).trim().split(" ", -1)));
    final EnumSet<CpuFeature> known = EnumSet.noneOf(CpuFeature.class);
    for (final CpuFeature feature : CpuFeature.values()) {
      if (names.contains(linuxName(feature))) {
        known.add(feature);
      }
    }
    return known;
  }

  /** Linux's name where it is not the manual's in lower case. */
  private static String linuxName(final CpuFeature feature) {
    return switch (feature) {
      case SSE3 -> "pni";
      case LZCNT -> "abm";
      case LAHF -> "lahf_lm";
      case SHA -> "sha_ni";
      case CLFSH -> "clflush";
      case TSC_DEADLINE -> "tsc_deadline_timer";
      default -> feature.name().toLowerCase(Locale.ROOT);
    };
  }
}
