package dev.vmexit;

import static com.tngtech.archunit.base.DescribedPredicate.describe;
import static com.tngtech.archunit.core.domain.JavaAccess.Predicates.target;
import static com.tngtech.archunit.core.domain.properties.HasName.Predicates.name;
import static com.tngtech.archunit.core.domain.properties.HasName.Predicates.nameMatching;
import static com.tngtech.archunit.core.domain.properties.HasOwner.Predicates.With.owner;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.Dependency;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.lang.ArchCondition;
import com.tngtech.archunit.lang.ArchRule;
import com.tngtech.archunit.lang.ConditionEvents;
import com.tngtech.archunit.lang.SimpleConditionEvent;
import com.tngtech.archunit.library.GeneralCodingRules;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The rules that hold in every module, for its architecture test. */
public final class HouseRules {
  private static final String ROOT = "dev.vmexit.";

  /** Codecs that the SBE tool writes: not ours to style. */
  private static final String GENERATED = "dev.vmexit.exit.sbe";

  /** The floors, the ground last. A room's subpackages are part of it unless named here. */
  private static final Map<String, Integer> FLOORS =
      Map.ofEntries(
          Map.entry("bench", 6),
          Map.entry("cli", 5),
          Map.entry("replay", 4),
          Map.entry("analysis", 4),
          Map.entry("vm", 4),
          Map.entry("vcpu", 3),
          Map.entry("irq", 3),
          Map.entry("trace", 3),
          Map.entry("x86.decode", 2),
          Map.entry("x86.encode", 2),
          Map.entry("mmu", 2),
          Map.entry("device", 2),
          Map.entry("boot", 2),
          Map.entry("exit", 2),
          Map.entry("x86", 1),
          Map.entry("memory", 1));

  /** Neighbours that may be known: the built-in guest is written with the assembler. */
  private static final Set<String> NEIGHBOURS = Set.of("boot -> x86.encode");

  private HouseRules() {}

  /** The classes of the modules, tests apart, that these classes come from. */
  public static JavaClasses modulesOf(final Class<?>... samples) {
    return new ClassFileImporter()
        .importUrls(
            Arrays.stream(samples)
                .map(sample -> sample.getProtectionDomain().getCodeSource().getLocation())
                .distinct()
                .toList());
  }

  /** Picks classes that are in none of these packages. */
  public static DescribedPredicate<JavaClass> outsideOf(final String... packages) {
    return describe(
        "outside of " + String.join(", ", packages),
        c -> !Arrays.asList(packages).contains(c.getPackageName()));
  }

  /** A room knows only rooms on lower floors. */
  public static ArchRule floors() {
    return classes()
        .should(
            new ArchCondition<>("know only rooms on lower floors") {
              @Override
              public void check(final JavaClass item, final ConditionEvents events) {
                final String from = room(item);
                for (final Dependency dependency : item.getDirectDependenciesFromSelf()) {
                  final JavaClass target = dependency.getTargetClass().getBaseComponentType();
                  if (!target.getPackageName().startsWith(ROOT)) {
                    continue;
                  }
                  final String to = room(target);
                  final boolean allowed =
                      to.equals(from)
                          || FLOORS.get(to) < FLOORS.get(from)
                          || NEIGHBOURS.contains(from + " -> " + to);
                  if (!allowed) {
                    events.add(SimpleConditionEvent.violated(item, dependency.getDescription()));
                  }
                }
              }
            });
  }

  private static String room(final JavaClass javaClass) {
    String room =
        javaClass.getPackageName().startsWith(ROOT)
            ? javaClass.getPackageName().substring(ROOT.length())
            : "";
    while (!FLOORS.containsKey(room)) {
      final int dot = room.lastIndexOf('.');
      if (dot < 0) {
        throw new AssertionError(javaClass.getName() + " is in a package that has no floor");
      }
      room = room.substring(0, dot);
    }
    return room;
  }

  /** Nobody writes to the terminal or a log. */
  public static ArchRule silent() {
    return noClasses()
        .should(GeneralCodingRules.ACCESS_STANDARD_STREAMS)
        .orShould()
        .dependOnClassesThat(
            describe(
                "log",
                c ->
                    c.getName().startsWith("java.util.logging.")
                        || c.getName().startsWith("java.lang.System$Logger")
                        || c.getName().startsWith("org.slf4j.")))
        .orShould()
        .accessTargetWhere(target(nameMatching("printStackTrace|getLogger")));
  }

  /** Clocks and randomness are passed in; nobody reads the time by itself, or sleeps. */
  public static ArchRule noHiddenInputs() {
    return noClasses()
        .should()
        .accessTargetWhere(
            target(name("nanoTime"))
                .or(target(name("currentTimeMillis")))
                .and(target(owner(type("java.lang.System")))))
        .orShould()
        .accessTargetWhere(
            target(nameMatching("now|system.*|tick.*"))
                .and(
                    target(
                        owner(describe("java.time", c -> c.getName().startsWith("java.time."))))))
        .orShould()
        .accessTargetWhere(
            target(name("sleep"))
                .and(
                    target(
                        owner(type("java.lang.Thread").or(type("java.util.concurrent.TimeUnit"))))))
        .orShould()
        .accessTargetWhere(target(name("random")).and(target(owner(type("java.lang.Math")))))
        .orShould()
        .accessTargetWhere(target(name("randomUUID")))
        .orShould()
        .callConstructor(java.util.Date.class)
        .orShould()
        .dependOnClassesThat(
            describe(
                "random generators and system clocks",
                c ->
                    c.getName().matches("java\\.util\\.(Random|SplittableRandom)")
                        || c.getName().startsWith("java.util.random.")
                        || c.getName().matches("java\\..*(SecureRandom|ThreadLocalRandom)")
                        || c.getName().matches("org\\.agrona\\.concurrent\\.System\\w*Clock")));
  }

  private static DescribedPredicate<JavaClass> type(final String name) {
    return describe(name, c -> c.getName().equals(name));
  }

  /** What is not meant to be extended says so. */
  public static ArchRule finalUnlessExtended() {
    return classes()
        .that()
        .resideOutsideOfPackage(GENERATED)
        .and()
        .areNotAnonymousClasses()
        .and()
        .areNotEnums()
        .and(describe("have no subclass", javaClass -> javaClass.getSubclasses().isEmpty()))
        .should()
        .haveModifier(JavaModifier.FINAL)
        .orShould()
        .haveModifier(JavaModifier.ABSTRACT);
  }

  /** Who is extended and not abstract was designed for it: nobody outside its package does it. */
  public static ArchRule extendedOnPurpose() {
    return classes()
        .that()
        .resideOutsideOfPackage(GENERATED)
        .should(
            new ArchCondition<>("be abstract where another package extends them") {
              @Override
              public void check(final JavaClass item, final ConditionEvents events) {
                for (final JavaClass sub : item.getSubclasses()) {
                  if (!item.getModifiers().contains(JavaModifier.ABSTRACT)
                      && !sub.getPackageName().equals(item.getPackageName())) {
                    events.add(
                        SimpleConditionEvent.violated(
                            item, sub.getName() + " extends " + item.getName()));
                  }
                }
              }
            });
  }

  /** Packages with sources and no package-info, under {@code src/main/java} of a module. */
  public static List<Path> packagesWithoutDoor(final String module) throws IOException {
    final Path sources = root().resolve(module).resolve("src/main/java");
    try (Stream<Path> files = Files.walk(sources)) {
      return files
          .filter(file -> file.toString().endsWith(".java"))
          .map(Path::getParent)
          .collect(Collectors.toSet())
          .stream()
          .filter(folder -> !Files.exists(folder.resolve("package-info.java")))
          .sorted()
          .toList();
    }
  }

  private static Path root() {
    final String given = System.getProperty("vmexit.root");
    return given == null ? Path.of("..") : Path.of(given);
  }
}
