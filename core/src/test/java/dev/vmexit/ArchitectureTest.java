package dev.vmexit;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.tngtech.archunit.core.domain.JavaClasses;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.vm.VirtualMachine;
import java.io.IOException;
import java.util.List;
import org.agrona.UnsafeApi;
import org.junit.jupiter.api.Test;

/** The rules of the house in core. */
final class ArchitectureTest {
  private static final JavaClasses CORE = HouseRules.modulesOf(VirtualMachine.class);

  @Test
  void shouldKnowOnlyLowerFloors() {
    HouseRules.floors().check(CORE);
  }

  @Test
  void shouldKnowTheVcpuOnlyInTheMachine() {
    noClasses()
        .that()
        .resideOutsideOfPackages("dev.vmexit.vcpu..", "dev.vmexit.vm..")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("dev.vmexit.vcpu..")
        .check(CORE);
  }

  @Test
  void shouldPickTheVcpuInOnePlace() {
    noClasses()
        .that()
        .resideOutsideOfPackage("dev.vmexit.vcpu.soft..")
        .and()
        .areNotAssignableTo(VirtualMachine.class)
        .should()
        .dependOnClassesThat()
        .resideInAPackage("dev.vmexit.vcpu.soft..")
        .check(CORE);
  }

  @Test
  void shouldBeSilent() {
    HouseRules.silent().check(CORE);
  }

  @Test
  void shouldHaveNoInputButWhatIsPassedIn() {
    HouseRules.noHiddenInputs().check(CORE);
  }

  @Test
  void shouldTouchRawMemoryInOnePlace() {
    noClasses()
        .that()
        .areNotAssignableTo(HostMemory.class)
        .should()
        .dependOnClassesThat()
        .areAssignableTo(UnsafeApi.class)
        .orShould()
        .dependOnClassesThat()
        .haveFullyQualifiedName("sun.misc.Unsafe")
        .orShould()
        .dependOnClassesThat()
        .haveFullyQualifiedName("jdk.internal.misc.Unsafe")
        .check(CORE);
  }

  @Test
  void shouldBeFinalUnlessExtended() {
    HouseRules.finalUnlessExtended().check(CORE);
  }

  @Test
  void shouldBeAbstractWhenExtendedFromOutside() {
    HouseRules.extendedOnPurpose().check(CORE);
  }

  @Test
  void shouldHaveADoorToEachPackage() throws IOException {
    assertEquals(List.of(), HouseRules.packagesWithoutDoor("core"));
  }
}
