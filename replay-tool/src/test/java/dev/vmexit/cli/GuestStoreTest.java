package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The store against shell scripts that answer as apt does. */
class GuestStoreTest {
  private static final String NAME = "debian-12-cloud";
  private static final byte[] KERNEL = "the kernel".getBytes(StandardCharsets.US_ASCII);
  private static final byte[] BUSYBOX = "the busybox".getBytes(StandardCharsets.US_ASCII);

  @TempDir private Path folder;

  private Path tools;
  private Path calls;
  private final List<Long> pauses = new ArrayList<>();
  private final ByteArrayOutputStream said = new ByteArrayOutputStream();

  @BeforeEach
  void makeTools() throws IOException {
    tools = Files.createDirectory(folder.resolve("tools"));
    calls = Files.createFile(folder.resolve("calls"));
    tar("linux-image-6.1.0-9-cloud-amd64", "./boot/vmlinuz-6.1.0-9-cloud-amd64", KERNEL);
    tar("busybox-static", "./bin/busybox", BUSYBOX);
    tool(
        "apt-cache",
        """
        case "$*" in
          "depends linux-image-cloud-amd64")
            echo linux-image-cloud-amd64
            echo "  Depends: linux-image-6.1.0-9-cloud-amd64" ;;
          "show --no-all-versions linux-image-6.1.0-9-cloud-amd64")
            printf 'Package: x\\nVersion: 6.1.9-1\\nInstalled-Size: 1\\nSize: 26713492\\n' ;;
          "show --no-all-versions busybox-static")
            printf 'Package: x\\nVersion: 1:1.35\\nSize: 900000\\n' ;;
          *) echo "E: No packages found" >&2; exit 100 ;;
        esac
        """);
    tool("apt-get", "name=${7%%=*}\ncp $STUB/$name.tar ./${name}_1_amd64.deb\n");
    tool("dpkg-deb", "[ \"$1\" = --fsys-tarfile ] && cat \"$2\"\n");
  }

  private void tar(final String name, final String path, final byte[] content) throws IOException {
    final ByteArrayOutputStream out = new ByteArrayOutputStream();
    GuestTarTest.entry(out, "./usr/share/doc", '0', new byte[1000]);
    GuestTarTest.entry(out, path, '0', content);
    Files.write(folder.resolve(name + ".tar"), out.toByteArray());
  }

  private void tool(final String name, final String body) throws IOException {
    final Path script = tools.resolve(name);
    Files.writeString(
        script, "#!/bin/sh\necho \"${0##*/} $*\" >>" + calls + "\nPATH=/usr/bin:/bin\n" + body);
    Files.setPosixFilePermissions(script, PosixFilePermissions.fromString("rwxr-xr-x"));
  }

  private GuestStore store() {
    return store(Map.of("VMEXIT_CACHE", folder.resolve("cache").toString()));
  }

  private GuestStore store(final Map<String, String> more) {
    final Map<String, String> environment = new HashMap<>(more);
    environment.put("PATH", tools.toString());
    environment.put("STUB", folder.toString());
    final PrintStream out = new PrintStream(said, true, StandardCharsets.UTF_8);
    return new GuestStore(environment, new GuestProgress(out, false), pauses::add);
  }

  private List<String> calls(final String program) throws IOException {
    return Files.readAllLines(calls).stream().filter(c -> c.startsWith(program + " ")).toList();
  }

  private String complaint(final GuestStore store) {
    final GuestException e = assertThrows(GuestException.class, () -> store.require(NAME));
    assertFalse(e.getMessage().contains("\n"), e.getMessage());
    return e.getMessage();
  }

  @Test
  void shouldMakeTheGuestFromThePackages() throws IOException {
    final GuestStore.Guest guest = store().require(NAME);

    assertArrayEquals(KERNEL, Files.readAllBytes(guest.kernel()));
    final ByteArrayOutputStream initrd = new ByteArrayOutputStream();
    GuestInitramfs.write(initrd, BUSYBOX);
    assertArrayEquals(initrd.toByteArray(), Files.readAllBytes(guest.initrd().orElseThrow()));
    assertEquals("6.1.9-1", guest.version());
    assertEquals(512 << 20, guest.memoryBytes());
    assertTrue(guest.commandLine().contains("console=ttyS0"));
    final String properties = Files.readString(guest.kernel().resolveSibling("guest.properties"));
    assertTrue(
        properties.contains(
            "vmlinuz.sha256=7c2f712a5b31004cd31b6fe611e12219b02a73755049a698be58fdfa32a856cf"),
        properties);
    assertTrue(
        said.toString(StandardCharsets.UTF_8)
            .contains("fetching linux-image-6.1.0-9-cloud-amd64 6.1.9-1 (26.7 MB)"));
  }

  @Test
  void shouldUsePackageListsOfItsOwnWhenTheGuestIsOfAnotherArchitecture() throws IOException {
    tar("linux-image-6.1.0-9-686-pae", "./boot/vmlinuz-6.1.0-9-686-pae", KERNEL);
    tool(
        "apt-cache",
        """
        case "$*" in
          "depends linux-image-686-pae -o APT::Architecture=i386 "*)
            echo "  Depends: linux-image-6.1.0-9-686-pae" ;;
          "show --no-all-versions linux-image-6.1.0-9-686-pae -o APT::Architecture=i386 "*)
            printf 'Package: x\\nVersion: 6.1.9-1\\nSize: 1000000\\n' ;;
          "show --no-all-versions busybox-static -o APT::Architecture=i386 "*)
            printf 'Package: x\\nVersion: 1:1.35\\nSize: 900000\\n' ;;
          *) echo "E: No packages found" >&2; exit 100 ;;
        esac
        """);
    tool(
        "apt-get",
        """
        [ "$2" = update ] && exit 0
        name=${7%%=*}
        cp $STUB/$name.tar ./${name}_1_i386.deb
        """);

    final GuestStore.Guest guest = store().require("debian-12-686-pae");

    assertArrayEquals(KERNEL, Files.readAllBytes(guest.kernel()));
    final List<String> updates =
        calls("apt-get").stream().filter(c -> c.startsWith("apt-get -q update ")).toList();
    assertEquals(1, updates.size());
    final String scratch = folder.resolve("cache").resolve("guests").toString();
    assertTrue(updates.getFirst().contains(" -o Dir::State::lists=" + scratch), updates.toString());
    assertTrue(updates.getFirst().contains(" -o Dir::Cache=" + scratch), updates.toString());
    assertTrue(updates.getFirst().contains(" -o Dir::State::status=/dev/null"));
  }

  @Test
  void shouldTakeTheKernelAloneWhenTheGuestHasNoUserspace() throws IOException {
    tar("memtest86+", "./boot/memtest86+x64.bin", KERNEL);
    tool(
        "apt-cache",
        """
        [ "$*" = "show --no-all-versions memtest86+" ] || exit 100
        printf 'Package: x\\nVersion: 6.10-4\\nSize: 122832\\n'
        """);

    final GuestStore.Guest guest = store().require("memtest86");

    assertArrayEquals(KERNEL, Files.readAllBytes(guest.kernel()));
    assertTrue(guest.initrd().isEmpty());
    assertEquals(16 << 20, guest.memoryBytes());
    assertEquals(1, calls("apt-get").size());
    store().require("memtest86");
    assertEquals(1, calls("apt-get").size(), "it is in the cache");
  }

  @Test
  void shouldUseTheCacheWhenTheGuestIsThere() throws IOException {
    store().require(NAME);
    Files.writeString(calls, "");

    final GuestStore.Guest again = store().require(NAME);

    assertEquals("", Files.readString(calls));
    assertEquals(again, store().cached(GuestCatalog.find(NAME)).orElseThrow());
  }

  @Test
  void shouldFetchAgainWhenTold() throws IOException {
    store().require(NAME);

    store().fetch(NAME);

    assertEquals(4, calls("apt-get").size());
  }

  @Test
  void shouldFetchAgainWhenAFileWasCut() throws IOException {
    final GuestStore.Guest guest = store().require(NAME);
    Files.write(guest.kernel(), new byte[] {1});

    store().require(NAME);

    assertArrayEquals(KERNEL, Files.readAllBytes(guest.kernel()));
  }

  @Test
  void shouldMakeTheInitrdAnewWithoutTheNetworkWhenItsScriptsChanged() throws IOException {
    final GuestStore.Guest guest = store().require(NAME);
    final Path properties = guest.kernel().resolveSibling("guest.properties");
    Files.writeString(
        properties,
        Files.readString(properties)
            .replace("initrd.scripts=" + GuestInitramfs.fingerprint(), "initrd.scripts=0"));
    Files.writeString(calls, "");

    final GuestStore.Guest again = store().require(NAME);

    assertEquals("", Files.readString(calls));
    assertEquals("6.1.9-1", again.version());
    assertTrue(Files.readString(properties).contains(GuestInitramfs.fingerprint()));
  }

  @Test
  void shouldTryThreeTimesAndSaySoWhenTheRegistryFails() throws IOException {
    tool("apt-get", "echo 'E: Failed to fetch: 503' >&2\nexit 100\n");

    final String message = complaint(store());

    assertEquals(
        "apt-get download linux-image-6.1.0-9-cloud-amd64 failed 3 times (E: Failed to fetch:"
            + " 503); see to the network and try again, or boot a kernel of yours by --kernel FILE"
            + " --initrd FILE",
        message);
    assertEquals(List.of(2000L, 4000L), pauses);
    assertEquals(3, calls("apt-get").size());
    assertTrue(said.toString(StandardCharsets.UTF_8).contains("attempt 3 of 3 in 4 s"));
    assertEquals(List.of(NAME + ".lock"), filesIn("cache/guests"), "nothing half-made is left");
  }

  @Test
  void shouldGoOnWhenTheSecondAttemptSucceeds() throws IOException {
    tool(
        "apt-get",
        """
        name=${7%%=*}
        if [ ! -e $STUB/tried ]; then touch $STUB/tried; exit 100; fi
        cp $STUB/$name.tar ./${name}_1_amd64.deb
        """);

    assertArrayEquals(KERNEL, Files.readAllBytes(store().require(NAME).kernel()));
    assertEquals(List.of(2000L), pauses);
  }

  @Test
  void shouldSayHowToBootAnotherKernelWhenThereIsNoApt() throws IOException {
    Files.delete(tools.resolve("apt-get"));

    assertEquals(
        "no apt-get on this host to fetch from; boot a kernel of yours by --kernel FILE --initrd"
            + " FILE",
        complaint(store()));
  }

  @Test
  void shouldSayToUpdateWhenAptDoesNotKnowThePackage() throws IOException {
    tool("apt-cache", "echo 'E: No packages found' >&2\nexit 100\n");

    assertTrue(
        complaint(store())
            .startsWith(
                "apt does not know linux-image-cloud-amd64 (E: No packages found); run apt-get"
                    + " update as root"));
  }

  @Test
  void shouldRefuseAnotherReleasesKernel() throws IOException {
    tool("apt-cache", "echo '  Depends: linux-image-6.12.1-cloud-amd64'\n");

    assertTrue(
        complaint(store())
            .startsWith(
                "apt's linux-image-cloud-amd64 stands for linux-image-6.12.1-cloud-amd64, wanted:"
                    + " linux-image-6.1.*"));
  }

  @Test
  void shouldNameThePackageThatLacksItsFile() throws IOException {
    tar("busybox-static", "./bin/other", BUSYBOX);

    assertEquals("package busybox-static_1_amd64.deb has no bin/busybox", complaint(store()));
  }

  @Test
  void shouldNameTheKnownGuestsWhenTheNameIsUnknown() {
    final GuestException e = assertThrows(GuestException.class, () -> store().require("debian-13"));

    assertEquals(
        "unknown guest debian-13, known: debian-12-cloud, debian-12-amd64, debian-12-686-pae,"
            + " debian-12-686, memtest86, memtest86-ia32, seabios; or give --kernel FILE",
        e.getMessage());
  }

  @Test
  void shouldClearWhatAKilledFetchLeft() throws IOException {
    final Path left = folder.resolve("cache/guests/." + NAME + "-123/guest");
    Files.createDirectories(left);
    Files.writeString(left.resolve("vmlinuz"), "half");

    store().require(NAME);

    assertEquals(List.of(NAME, NAME + ".lock"), filesIn("cache/guests"));
  }

  @Test
  void shouldPlaceTheCacheByTheEnvironment() {
    assertEquals(
        Path.of("/x/guests"), store(Map.of("VMEXIT_CACHE", "/x", "HOME", "/h")).directory());
    assertEquals(
        Path.of("/c/vmexit/guests"),
        store(Map.of("XDG_CACHE_HOME", "/c", "HOME", "/h")).directory());
    assertEquals(
        Path.of("/h/.cache/vmexit/guests"),
        store(Map.of("XDG_CACHE_HOME", "", "HOME", "/h")).directory());
  }

  @Test
  void shouldSayWhichPlaceCannotBeWritten() throws IOException {
    final Path file = Files.writeString(folder.resolve("file"), "");

    assertTrue(
        complaint(store(Map.of("VMEXIT_CACHE", file.toString())))
            .startsWith("cannot make " + file + "/guests"));
  }

  @Test
  void shouldOpenWhenThereIsNoTerminal() {
    assertEquals("guests", GuestStore.ofProcess().directory().getFileName().toString());
  }

  @Test
  void shouldDrawABarOnATerminalOnly() {
    final PrintStream out = new PrintStream(said, true, StandardCharsets.UTF_8);
    new GuestProgress(out, false).bar("x", 1, 2);
    assertEquals("", said.toString(StandardCharsets.UTF_8));

    final GuestProgress progress = new GuestProgress(out, true);
    progress.bar("x", 1_000_000, 2_000_000);
    assertEquals(
        "\rx [" + "#".repeat(15) + " ".repeat(15) + "]  50 % of 2.0 MB",
        said.toString(StandardCharsets.UTF_8));
    said.reset();
    progress.line("done");
    assertEquals("\r" + " ".repeat(50) + "\rdone\n", said.toString(StandardCharsets.UTF_8));
  }

  private List<String> filesIn(final String directory) throws IOException {
    try (Stream<Path> files = Files.list(folder.resolve(directory))) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }
}
