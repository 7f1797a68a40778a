package dev.vmexit.cli;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * Makes a disk and a CD that a BIOS boots: GRUB with a menu of a 64-bit and a 32-bit Debian kernel.
 * Needs the host's programs of Debian's packages grub-common, grub-pc-bin, e2fsprogs and, for the
 * CD, xorriso and mtools. An image stays in the cache until something that it was made of changes.
 */
final class GuestDisk {
  /** What {@code --disk} and {@code guest fetch} know the disk by. */
  static final String DISK = "debian-12-disk";

  /** What {@code --cdrom} and {@code guest fetch} know the CD by. */
  static final String CD = "debian-12-cd";

  private static final String GUEST_64 = "debian-12-cloud";
  private static final String GUEST_32 = "debian-12-686";
  private static final Path GRUB = Path.of("/usr/lib/grub/i386-pc");

  private static final String MENU =
      """
      serial --unit=0 --speed=115200
      terminal_input console serial
      terminal_output console serial
      set timeout=5
      set default=0
      menuentry "Debian 12, 64-bit" --hotkey=6 {
        linux /boot/vmlinuz-64 OPTIONS-64
        initrd /boot/initrd-64.gz
      }
      menuentry "Debian 12, 32-bit" --hotkey=3 {
        linux /boot/vmlinuz-32 OPTIONS-32
        initrd /boot/initrd-32.gz
      }
      menuentry "Debian 12, 64-bit, on the display" --hotkey=d {
        linux /boot/vmlinuz-64 console=tty0 tsc=reliable panic=-1
        initrd /boot/initrd-64.gz
      }
      menuentry "Power off" --hotkey=p {
        halt
      }
      """;

  /** Beside the kernels: their sums and those of the initrds. */
  private static final String CHECKSUMS = "md5sums";

  private static final int SECTOR = 512;

  /** Where the partition begins, as partitioning programs have it. */
  private static final int FIRST_SECTOR = 2048;

  private static final int PARTITION_TABLE = 446;
  private static final int DISK_SIGNATURE = 440;
  private static final int LINUX_PARTITION = 0x83;
  private static final int ACTIVE = 0x80;

  /** Room in the filesystem beside the files. */
  private static final long SPARE = 8L << 20;

  private static final long MIB = 1 << 20;

  private final GuestStore store;
  private final Map<String, String> environment;
  private final GuestProgress progress;

  /**
   * @param store where the kernels come from and the images are kept
   * @param environment of this process
   */
  GuestDisk(
      final GuestStore store, final Map<String, String> environment, final GuestProgress progress) {
    this.store = store;
    this.environment = new HashMap<>(environment);
    // Where mke2fs is, which not every user's path has.
    this.environment.merge("PATH", "/usr/sbin:/sbin", (own, more) -> own + ":" + more);
    this.progress = progress;
  }

  /** One for this process, which reports to standard error. */
  static GuestDisk ofProcess() {
    return new GuestDisk(
        GuestStore.ofProcess(), System.getenv(), new GuestProgress(System.err, false));
  }

  /** Whether a name is that of an image made here. */
  static boolean knows(final String name) {
    return DISK.equals(name) || CD.equals(name);
  }

  /**
   * The image of a name, made first where it is not in the cache or out of date.
   *
   * @throws GuestException where it cannot be made
   */
  Path require(final String name) {
    final boolean cd = CD.equals(name);
    final GuestStore.Guest wide = store.require(GUEST_64);
    final GuestStore.Guest narrow = store.require(GUEST_32);
    final Path home = store.directory().resolve(name);
    final Path image = home.resolve(cd ? "cd.iso" : "disk.img");
    final Path madeOf = home.resolve("made-of");
    try {
      final String key = key(wide, narrow);
      if (Files.exists(image)
          && Files.exists(madeOf)
          && Files.readString(madeOf, StandardCharsets.UTF_8).equals(key)) {
        return image;
      }
      Files.createDirectories(home);
      final Path scratch = Files.createTempDirectory(store.directory(), "." + name + "-");
      try {
        progress.line("making " + name);
        final Path root = fill(scratch, wide, narrow);
        final GuestTools tools = new GuestTools(environment, scratch);
        final Path made = cd ? makeCd(tools, scratch, root) : makeDisk(tools, scratch, root);
        Files.deleteIfExists(madeOf);
        Files.move(made, image, StandardCopyOption.REPLACE_EXISTING);
        Files.writeString(madeOf, key, StandardCharsets.UTF_8);
      } finally {
        delete(scratch);
      }
      return image;
    } catch (final IOException e) {
      throw new GuestException("cannot make " + name + " in " + home + " (" + e + ")", e);
    }
  }

  /** All that an image depends on. */
  private static String key(final GuestStore.Guest wide, final GuestStore.Guest narrow)
      throws IOException {
    final StringBuilder key = new StringBuilder(menu(wide, narrow));
    for (final GuestStore.Guest guest : List.of(wide, narrow)) {
      for (final Path file :
          List.of(guest.kernel(), guest.initrd().orElseThrow(), guest.modules().orElseThrow())) {
        key.append(guest.version()).append(' ').append(Files.size(file)).append(' ');
        key.append(Files.getLastModifiedTime(file)).append('\n');
      }
    }
    return key.toString();
  }

  private static String menu(final GuestStore.Guest wide, final GuestStore.Guest narrow) {
    return MENU.replace("OPTIONS-64", wide.commandLine())
        .replace("OPTIONS-32", narrow.commandLine());
  }

  private static Path fill(
      final Path scratch, final GuestStore.Guest wide, final GuestStore.Guest narrow)
      throws IOException {
    final Path root = scratch.resolve("root");
    final Path boot = root.resolve("boot");
    Files.createDirectories(boot.resolve("grub"));
    Files.copy(wide.kernel(), boot.resolve("vmlinuz-64"));
    initrd(wide, boot.resolve("initrd-64.gz"));
    Files.copy(narrow.kernel(), boot.resolve("vmlinuz-32"));
    initrd(narrow, boot.resolve("initrd-32.gz"));
    Files.writeString(
        boot.resolve("grub").resolve("grub.cfg"), menu(wide, narrow), StandardCharsets.US_ASCII);
    checksums(boot);
    return root;
  }

  /** The guest's root file system, and behind it the drivers of what it lies on. */
  private static void initrd(final GuestStore.Guest guest, final Path to) throws IOException {
    Files.copy(guest.initrd().orElseThrow(), to);
    Files.write(to, Files.readAllBytes(guest.modules().orElseThrow()), StandardOpenOption.APPEND);
  }

  /** What {@code md5sum -c} in the guest compares the files with that it reads. */
  private static void checksums(final Path boot) throws IOException {
    final StringBuilder sums = new StringBuilder();
    try (Stream<Path> files = Files.list(boot)) {
      for (final Path file : files.filter(Files::isRegularFile).sorted().toList()) {
        sums.append(md5(Files.readAllBytes(file))).append("  ");
        sums.append(file.getFileName()).append('\n');
      }
    }
    Files.writeString(boot.resolve(CHECKSUMS), sums, StandardCharsets.US_ASCII);
  }

  private static String md5(final byte[] bytes) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("MD5").digest(bytes));
    } catch (final NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java runtime has MD5", e);
    }
  }

  private void run(final GuestTools tools, final String... command) {
    if (!GuestTools.isThere(environment, command[0])) {
      throw new GuestException(
          "no "
              + command[0]
              + " on this host; install Debian's grub-pc-bin, grub-common, e2fsprogs, xorriso and"
              + " mtools, or give an image of yours");
    }
    final GuestTools.Result result = tools.run(() -> {}, command);
    if (result.status() != 0) {
      throw new GuestException(command[0] + " failed: " + result.complaint());
    }
  }

  // ---- the CD ----

  private Path makeCd(final GuestTools tools, final Path scratch, final Path root) {
    final Path image = scratch.resolve("cd.iso");
    run(tools, "grub-mkrescue", "-d", GRUB.toString(), "-o", image.toString(), root.toString());
    return image;
  }

  // ---- the disk ----

  private Path makeDisk(final GuestTools tools, final Path scratch, final Path root)
      throws IOException {
    final Path filesystem = scratch.resolve("filesystem");
    final long mib = (size(root) + SPARE) / MIB + 1;
    run(
        tools,
        "mke2fs",
        "-q",
        "-t",
        "ext2",
        "-L",
        "vmexit",
        "-d",
        root.toString(),
        filesystem.toString(),
        mib + "M");
    final Path core = scratch.resolve("core.img");
    final List<String> command =
        new ArrayList<>(
            List.of(
                "grub-mkimage",
                "-d",
                GRUB.toString(),
                "-O",
                "i386-pc",
                "-p",
                "(hd0,msdos1)/boot/grub",
                "-o",
                core.toString()));
    command.addAll(
        List.of("biosdisk", "part_msdos", "ext2", "normal", "linux", "serial", "terminal"));
    command.addAll(List.of("echo", "test", "minicmd", "reboot", "halt"));
    run(tools, command.toArray(String[]::new));
    return assemble(scratch.resolve("disk.img"), filesystem, Files.readAllBytes(core));
  }

  /** Boot sector, core image behind it as its first sectors say, and one partition. */
  private static Path assemble(final Path image, final Path filesystem, final byte[] core)
      throws IOException {
    final long bytes = Files.size(filesystem);
    final byte[] boot = Files.readAllBytes(GRUB.resolve("boot.img"));
    if (boot.length != SECTOR || core.length > (FIRST_SECTOR - 1) * SECTOR) {
      throw new GuestException(
          GRUB + ": boot.img of " + boot.length + " bytes, core of " + core.length);
    }
    final ByteBuffer sector = ByteBuffer.wrap(boot).order(ByteOrder.LITTLE_ENDIAN);
    // What stands there in a boot sector for diskettes is no partition table.
    sector.put(DISK_SIGNATURE, new byte[SECTOR - DISK_SIGNATURE]);
    sector.put(PARTITION_TABLE, (byte) ACTIVE);
    sector.put(PARTITION_TABLE + 1, new byte[] {(byte) 0xFE, -1, -1});
    sector.put(PARTITION_TABLE + 4, (byte) LINUX_PARTITION);
    sector.put(PARTITION_TABLE + 5, new byte[] {(byte) 0xFE, -1, -1});
    sector.putInt(PARTITION_TABLE + 8, FIRST_SECTOR);
    sector.putInt(PARTITION_TABLE + 12, (int) (bytes / SECTOR));
    sector.putShort(SECTOR - 2, (short) 0xAA55);
    try (FileChannel out =
            FileChannel.open(image, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
        FileChannel in = FileChannel.open(filesystem)) {
      write(out, ByteBuffer.wrap(boot), 0);
      write(out, ByteBuffer.wrap(core), SECTOR);
      long done = 0;
      while (done < bytes) {
        out.position((long) FIRST_SECTOR * SECTOR + done);
        done += in.transferTo(done, bytes - done, out);
      }
    }
    return image;
  }

  private static void write(final FileChannel out, final ByteBuffer bytes, final long at)
      throws IOException {
    while (bytes.hasRemaining()) {
      out.write(bytes, at + bytes.position());
    }
  }

  private static long size(final Path root) throws IOException {
    long size = 0;
    try (Stream<Path> files = Files.walk(root)) {
      for (final Path file : files.filter(Files::isRegularFile).toList()) {
        size += Files.size(file);
      }
    }
    return size;
  }

  private static void delete(final Path root) throws IOException {
    try (Stream<Path> files = Files.walk(root)) {
      for (final Path file : files.sorted(java.util.Comparator.reverseOrder()).toList()) {
        Files.delete(file);
      }
    }
  }
}
