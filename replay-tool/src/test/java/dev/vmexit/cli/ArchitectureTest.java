package dev.vmexit.cli;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.tngtech.archunit.core.domain.JavaClasses;
import dev.vmexit.HouseRules;
import dev.vmexit.trace.TraceReader;
import dev.vmexit.vm.VirtualMachine;
import java.io.IOException;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The rules of the house over all modules of the tool: core, trace, replay-tool. */
final class ArchitectureTest {
  private static final JavaClasses TOOL =
      HouseRules.modulesOf(VirtualMachine.class, TraceReader.class, Main.class);

  /** Modules follow the floors: core below trace below replay-tool. */
  @Test
  void shouldKnowOnlyLowerFloors() {
    HouseRules.floors().check(TOOL);
  }

  @Test
  void shouldKeepCoreFreeOfTheTrace() {
    noClasses()
        .that()
        .resideOutsideOfPackages(
            "dev.vmexit.trace..",
            "dev.vmexit.replay..",
            "dev.vmexit.analysis..",
            "dev.vmexit.cli..")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(
            "dev.vmexit.trace..",
            "dev.vmexit.replay..",
            "dev.vmexit.analysis..",
            "dev.vmexit.cli..")
        .check(TOOL);
  }

  /** What replay and analysis do can be embedded, and the trace's format is hidden from them. */
  @Test
  void shouldKeepLibrariesInTheirRooms() {
    noClasses()
        .that()
        .resideOutsideOfPackage("dev.vmexit.trace..")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage("net.openhft..")
        .check(TOOL);
    noClasses()
        .that()
        .resideOutsideOfPackage("dev.vmexit.cli..")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage("picocli..", "org.jline..")
        .check(TOOL);
  }

  @Test
  void shouldLeaveTheTerminalToTheCommands() {
    HouseRules.silent().check(TOOL.that(HouseRules.outsideOf("dev.vmexit.cli")));
  }

  /** A trace says the same on every machine, whenever it is asked. */
  @Test
  void shouldAnalyseWithNoInputButTheTrace() {
    HouseRules.noHiddenInputs().check(TOOL.that(HouseRules.outsideOf("dev.vmexit.cli")));
  }

  @Test
  void shouldBeFinalUnlessExtended() {
    HouseRules.finalUnlessExtended().check(TOOL);
  }

  @Test
  void shouldBeAbstractWhenExtendedFromOutside() {
    HouseRules.extendedOnPurpose().check(TOOL);
  }

  @Test
  void shouldHaveADoorToEachPackage() throws IOException {
    for (final String module : List.of("trace", "replay-tool", "bench")) {
      assertEquals(List.of(), HouseRules.packagesWithoutDoor(module), module);
    }
  }
}
