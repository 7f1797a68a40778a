package dev.vmexit.cli;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * What the host's kernel says of its processor.
 *
 * @param model its name
 * @param flags its features, as {@code /proc/cpuinfo} names them
 */
record HostCpu(String model, Set<String> flags) {
  private static final Path CPUINFO = Path.of("/proc/cpuinfo");

  static HostCpu read() {
    try {
      return parse(Files.readAllLines(CPUINFO, StandardCharsets.UTF_8));
    } catch (final IOException e) {
      return new HostCpu("unknown processor", Set.of());
    }
  }

  static HostCpu parse(final List<String> lines) {
    return new HostCpu(
        value(lines, "model name").orElse("unknown processor"),
        Set.of(value(lines, "flags").orElse("").split(" ", -1)));
  }

  private static Optional<String> value(final List<String> lines, final String key) {
    return lines.stream()
        .filter(line -> line.startsWith(key) && line.contains(":"))
        .map(line -> line.substring(line.indexOf(':') + 1).trim())
        .findFirst();
  }

  /** The extension that KVM would use: VMX, SVM or none. */
  Optional<String> virtualization() {
    if (flags.contains("vmx")) {
      return Optional.of("VMX");
    }
    return flags.contains("svm") ? Optional.of("SVM") : Optional.empty();
  }
}
