package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** What a host offers, in words. */
final class DoctorCommandTest {
  @Test
  void shouldNameEachThingWithinEightyColumns() {
    final Tool.Outcome doctor = Tool.run("doctor");
    assertEquals(ExitStatus.OK, doctor.status(), doctor.err());
    assertEquals("", doctor.err());
    final List<String> lines = doctor.out().lines().toList();
    // Long lines are wrapped, at a place that hangs on what stands before it.
    final String words = doctor.out().replaceAll("\\s+", " ");
    for (final String expected :
        List.of(
            "JDK " + Runtime.version(),
            "/dev/kvm",
            "huge pages",
            "core",
            "tracefs",
            "userfaultfd",
            "disk for traces",
            "By default run takes backend ")) {
      assertTrue(words.contains(expected), () -> expected + " expected in " + doctor.out());
    }
    for (int i = 0; i < lines.size(); i++) {
      final String line = lines.get(i);
      assertTrue(line.length() <= 80 || !line.trim().contains(" "), line);
      if (line.startsWith("missing ")) {
        final String rest = String.join("\n", lines.subList(i, lines.size()));
        assertTrue(rest.contains("costs: ") && rest.contains("get it: "), rest);
      }
    }
  }

  @Test
  void shouldTellTheExtensionOfTheProcessor() {
    assertEquals(Optional.of("VMX"), cpu("fpu vmx sse").virtualization());
    assertEquals(Optional.of("SVM"), cpu("fpu svm sse").virtualization());
    assertEquals(Optional.empty(), cpu("fpu svme sse").virtualization());
    assertEquals("Some processor", cpu("fpu").model());
    assertEquals("unknown processor", HostCpu.parse(List.of("processor : 0")).model());
  }

  private static HostCpu cpu(final String flags) {
    return HostCpu.parse(
        List.of("processor\t: 0", "model name\t: Some processor", "flags\t\t: " + flags));
  }
}
