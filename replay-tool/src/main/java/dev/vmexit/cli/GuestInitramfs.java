package dev.vmexit.cli;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.zip.CRC32C;
import java.util.zip.GZIPOutputStream;

/**
 * The root file system of a catalogue guest: one static busybox, an {@code /init} and the scripts
 * that a kernel command line may ask for by {@code vmexit.run=NAME}.
 *
 * <p>The texts below are written for busybox's ash. They print lines that start with {@code
 * vmexit:} for programs that watch the console ({@code --exit-on}).
 */
final class GuestInitramfs {
  /** Printed when {@code /init} runs: the kernel has reached userspace. */
  static final String USERSPACE_BANNER = "vmexit: userspace";

  /** Last line of {@code vmexit.run=selftest} when every check passed. */
  static final String SELFTEST_DONE = "vmexit: selftest done";

  /** Last line of {@code vmexit.run=disks} when every check passed. */
  static final String DISKS_DONE = "vmexit: disks done";

  static final String INIT =
      """
      #!/bin/busybox sh
      /bin/busybox echo "vmexit: userspace"
      export PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/root TERM=${TERM:-linux}
      /bin/busybox mount -t proc proc /proc
      /bin/busybox mount -t sysfs sysfs /sys
      /bin/busybox mount -t devtmpfs devtmpfs /dev
      /bin/busybox --install -s
      mkdir -p /dev/pts
      mount -t devpts devpts /dev/pts
      hostname vmexit
      cd /root
      for module in /lib/vmexit/*.ko; do
        [ -f "$module" ] && insmod "$module"
      done

      name=
      for word in $(cat /proc/cmdline); do
        case $word in
          vmexit.run=* | vmexit.script=*) name=${word#*=} ;;
        esac
      done
      if [ -n "$name" ]; then
        if [ -f "/etc/vmexit/$name" ]; then
          sh "/etc/vmexit/$name"
        else
          echo "vmexit: no script $name, there are:" $(ls /etc/vmexit)
        fi
      fi

      echo "vmexit: exit or poweroff -f ends the machine"
      setsid cttyhack sh -l
      poweroff -f
      """;

  /** Sets the prompt of the login shell. */
  static final String PROFILE =
      """
      export PS1='vmexit:\\w# '
      alias ll='ls -l'
      """;

  /**
   * Work whose results are known, for checks of a machine: each wrong answer is named, and only a
   * run without one ends with {@link #SELFTEST_DONE}. Powers the machine off in either case.
   */
  static final String SELFTEST =
      """
      failures=0
      check() {
        if [ "$2" = "$3" ]; then
          echo "vmexit: $1 ok"
        else
          echo "vmexit: $1 WRONG: $2 instead of $3"
          failures=$((failures + 1))
        fi
      }

      uname -a
      cat /proc/cpuinfo
      check md5sum "$(dd if=/dev/zero bs=1M count=8 2>/dev/null | md5sum)" \
      "96995b58d4cbf6aaa9041b4f00c7f6ae  -"
      seq 1 20000 >/tmp/numbers
      check gzip "$(gzip -c /tmp/numbers | gzip -dc | md5sum)" "$(md5sum </tmp/numbers)"
      i=0
      sum=0
      while [ $i -lt 20000 ]; do
        i=$((i + 1))
        sum=$((sum + i))
      done
      check loop $sum 200010000
      forks=
      for n in 0 1 2 3 4 5 6 7 8 9; do
        forks=$forks$(/bin/busybox echo $n)
      done
      check fork $forks 0123456789
      check awk "$(awk 'BEGIN { for (i = 1; i < 99; i++) s += 1 / i; printf "%.9f", s }')" 5.167276508
      if [ $failures = 0 ]; then
        echo "vmexit: selftest done"
      else
        echo "vmexit: selftest FAILED: $failures"
      fi
      poweroff -f
      """;

  /**
   * Reads what the disk {@code debian-12-disk} and the CD {@code debian-12-cd} hold through the
   * kernel's own drivers, whichever of them is there, and compares it with the sums that lie beside
   * it; writes to the disk, and reads that back from the medium. Only a run without a wrong answer
   * ends with {@link #DISKS_DONE}.
   */
  static final String DISKS =
      """
      failures=0
      check() {
        if [ "$2" = "$3" ]; then
          echo "vmexit: $1 ok"
        else
          echo "vmexit: $1 WRONG: $2 instead of $3"
          failures=$((failures + 1))
        fi
      }
      files() {
        (cd "$1/boot" && md5sum -c md5sums) || echo "vmexit: sums of $1 differ"
      }

      # Disks are looked for behind the drivers' back.
      waits=0
      while [ ! -b /dev/sda1 ] && [ ! -b /dev/sr0 ] && [ $waits -lt 100 ]; do
        waits=$((waits + 1))
        sleep 0.1
      done
      dmesg | grep -E 'ata[0-9.]+: |sd [0-9]|sr [0-9]'
      cat /sys/class/ata_device/*/xfer_mode
      mkdir -p /disk /cd
      if [ -b /dev/sda1 ]; then
        mount /dev/sda1 /disk
        check "files of the disk" "$(files /disk | grep -c ': OK')" 4
        dd if=/dev/urandom of=/tmp/random bs=64k count=32 2>/dev/null
        sum=$(md5sum </tmp/random)
        cp /tmp/random /disk/random
        umount /disk
        # What is read from here on comes from the disk.
        echo 3 >/proc/sys/vm/drop_caches
        mount -o ro /dev/sda1 /disk
        check "written to the disk" "$(md5sum </disk/random)" "$sum"
        umount /disk
        tail=$(($(cat /sys/block/sda/size) - 64))
        dd if=/tmp/random of=/dev/sda bs=512 seek=$tail count=64 conv=fsync 2>/dev/null
        echo 3 >/proc/sys/vm/drop_caches
        check "last sectors" "$(dd if=/dev/sda bs=512 skip=$tail 2>/dev/null | md5sum)" \
        "$(head -c 32768 /tmp/random | md5sum)"
        rm /tmp/random
      fi
      if [ -b /dev/sr0 ]; then
        mount -o ro /dev/sr0 /cd
        check "files of the CD" "$(files /cd | grep -c ': OK')" 4
        umount /cd
      fi
      check "what the drivers complain of" \
      "$(dmesg | grep -cE 'ata[0-9.]+: (lost|exception|failed|SRST|limiting)|I/O error')" 0
      if [ $failures = 0 ]; then
        echo "vmexit: disks done"
      else
        echo "vmexit: disks FAILED: $failures"
      fi
      """;

  private GuestInitramfs() {}

  /**
   * Writes the gzip-compressed archive. The same busybox gives the same bytes.
   *
   * @param busybox a statically linked busybox executable
   */
  static void write(final OutputStream out, final byte[] busybox) throws IOException {
    try (CpioWriter cpio = new CpioWriter(new GZIPOutputStream(out, 1 << 16))) {
      for (final String directory :
          new String[] {
            "bin",
            "dev",
            "etc",
            "etc/vmexit",
            "proc",
            "root",
            "sbin",
            "sys",
            "tmp",
            "usr",
            "usr/bin",
            "usr/sbin"
          }) {
        cpio.directory(directory, 0755);
      }
      cpio.device("dev/console", 0600, 5, 1);
      cpio.file("bin/busybox", 0755, busybox);
      cpio.link("bin/sh", "busybox");
      cpio.file("init", 0755, text(INIT));
      cpio.file("etc/profile", 0644, text(PROFILE));
      cpio.file("etc/vmexit/selftest", 0644, text(SELFTEST));
      cpio.file("etc/vmexit/disks", 0644, text(DISKS));
    }
  }

  /** Changes whenever the scripts do. */
  static String fingerprint() {
    final CRC32C crc = new CRC32C();
    for (final String script : new String[] {INIT, PROFILE, SELFTEST, DISKS}) {
      crc.update(text(script));
    }
    return Long.toHexString(crc.getValue());
  }

  private static byte[] text(final String script) {
    return script.getBytes(StandardCharsets.UTF_8);
  }
}
