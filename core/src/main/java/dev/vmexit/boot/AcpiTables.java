package dev.vmexit.boot;

import dev.vmexit.memory.GuestMemory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/**
 * The ACPI tables of the machine (ACPI specification 6.0, chapter 5): what tells a guest about its
 * processors, its interrupt controllers, its power management ports and its ISA devices.
 *
 * <pre>
 *   RSDP at 0xE0000 -> XSDT -> FADT (FACP) -> FACS, DSDT
 *                           -> MADT (APIC)
 * </pre>
 *
 * <p>They live between 0xE0000 and 0xFFFFF, where a guest without {@code boot_params} searches for
 * the RSDP and which {@link E820} reports as reserved. The machine is never in legacy mode: there
 * is no SMI command port, and PM1a control has SCI_EN set from the start.
 */
public final class AcpiTables {
  /** Guest-physical address of the RSDP. */
  public static final long RSDP = 0xE_0000;

  /** Ports of the ACPI fixed hardware, and the value that resets. */
  public static final int PM1A_EVENT = 0x600;

  public static final int PM1A_CONTROL = 0x604;
  public static final int PM_TIMER = 0x608;
  public static final int RESET_PORT = 0xCF9;
  public static final int RESET_VALUE = 6;

  /** ISA interrupt, and GSI, of the system control interrupt. */
  public static final int SCI = 9;

  /** SLP_TYP of the S5 state, for both PM1 control registers. */
  public static final int S5_SLEEP_TYPE = 5;

  /** Most processors that one-byte APIC ids name; 255 is the broadcast. */
  public static final int MOST_VCPUS = 255;

  private static final long LOCAL_APIC = 0xFEE0_0000L;
  private static final long IO_APIC = 0xFEC0_0000L;

  private static final int HEADER = 36;
  private static final int RSDP_SIZE = 36;
  private static final int FACS_SIZE = 64;
  private static final int FADT_SIZE = 276;
  private static final int FACS_VERSION = 2;

  // FADT IA-PC boot architecture flags
  private static final int LEGACY_DEVICES = 1;
  private static final int HAS_8042 = 1 << 1;
  private static final int VGA_NOT_PRESENT = 1 << 2;

  // FADT fixed feature flags
  private static final int WBINVD = 1;
  private static final int PROC_C1 = 1 << 2;
  private static final int SLP_BUTTON_NOT_FIXED = 1 << 5;
  private static final int RESET_REG_SUP = 1 << 10;

  private static final int NO_C2 = 101; // latency above 100 us: the state is not there
  private static final int NO_C3 = 1001;

  /** One table in place. */
  public static final class Table {
    private final String signature;
    private final long gpa;
    private final byte[] bytes;

    private Table(final String signature, final long gpa, final byte[] bytes) {
      this.signature = signature;
      this.gpa = gpa;
      this.bytes = bytes;
    }

    /** Its signature without padding: RSDP, XSDT, FACP, FACS, DSDT or APIC. */
    public String signature() {
      return signature;
    }

    /** Guest-physical address. */
    public long gpa() {
      return gpa;
    }

    /** Its content; the caller's own copy. */
    public byte[] bytes() {
      return bytes.clone();
    }

    private long end() {
      return gpa + bytes.length;
    }
  }

  private final List<Table> tables = new ArrayList<>();

  private AcpiTables(final int vcpus) {
    // Each table holds the address of those it points to, so the leaves come first.
    final Table facs = add("FACS", alignUp(RSDP + RSDP_SIZE, FACS_SIZE), facs());
    final Table dsdt = add("DSDT", after(facs), dsdt());
    final Table fadt = add("FACP", after(dsdt), fadt(facs.gpa, dsdt.gpa));
    final Table madt = add("APIC", after(fadt), madt(vcpus));
    final Table xsdt = add("XSDT", after(madt), xsdt(fadt.gpa, madt.gpa));
    tables.addFirst(new Table("RSDP", RSDP, rsdp(xsdt.gpa)));
  }

  /**
   * Builds the tables.
   *
   * @param vcpus number of processors, whose APIC ids count up from 0
   * @throws IllegalArgumentException where it is not 1 to {@link #MOST_VCPUS}
   */
  public static AcpiTables build(final int vcpus) {
    if (vcpus < 1 || vcpus > MOST_VCPUS) {
      throw new IllegalArgumentException("vcpus=" + vcpus + ", allowed: 1 to " + MOST_VCPUS);
    }
    return new AcpiTables(vcpus);
  }

  /** All tables, the RSDP first. */
  public List<Table> tables() {
    return List.copyOf(tables);
  }

  /**
   * Writes the tables to their places.
   *
   * @return address of the RSDP, for {@link BootOptions}
   * @throws BootException where there is no RAM at their places
   */
  public long writeTo(final GuestMemory memory) {
    for (final Table table : tables) {
      if (!memory.isRam(table.gpa, table.bytes.length)) {
        throw new BootException(
            "memory of "
                + BootException.size(memory.ramBytes())
                + ": no RAM at 0xe0000 for the ACPI tables, give at least --memory 2M");
      }
      memory.write(table.gpa, table.bytes, 0, table.bytes.length);
    }
    return RSDP;
  }

  private Table add(final String signature, final long gpa, final byte[] bytes) {
    final Table table = new Table(signature, gpa, bytes);
    tables.add(table);
    return table;
  }

  private static long after(final Table table) {
    return alignUp(table.end(), 16);
  }

  private static long alignUp(final long address, final int alignment) {
    return (address + alignment - 1) & -alignment;
  }

  private static byte[] rsdp(final long xsdt) {
    final ByteBuffer table = little(RSDP_SIZE);
    table.put(ascii("RSD PTR ")).put((byte) 0).put(ascii("VMEXIT"));
    table.put((byte) 2).putInt(0).putInt(RSDP_SIZE).putLong(xsdt);
    table.put(8, checksum(table, 20)); // the part that ACPI 1.0 knew
    table.put(32, checksum(table, RSDP_SIZE));
    return bytes(table);
  }

  private static byte[] xsdt(final long... pointers) {
    final ByteBuffer table = header("XSDT", 1, HEADER + 8 * pointers.length);
    for (final long pointer : pointers) {
      table.putLong(pointer);
    }
    return seal(table);
  }

  private static byte[] facs() {
    final ByteBuffer table = little(FACS_SIZE);
    table.put(ascii("FACS")).putInt(FACS_SIZE);
    table.put(32, (byte) FACS_VERSION);
    return bytes(table);
  }

  private static byte[] fadt(final long facs, final long dsdt) {
    final ByteBuffer table = header("FACP", 6, FADT_SIZE);
    table.putInt(36, (int) facs);
    table.putInt(40, (int) dsdt);
    table.putShort(46, (short) SCI);
    table.putInt(56, PM1A_EVENT);
    table.putInt(64, PM1A_CONTROL);
    table.putInt(76, PM_TIMER);
    table.put(88, (byte) 4); // PM1 event length
    table.put(89, (byte) 2); // PM1 control length
    table.put(91, (byte) 4); // PM timer length
    table.putShort(96, (short) NO_C2);
    table.putShort(98, (short) NO_C3);
    table.put(108, (byte) 0x32); // RTC's century register
    table.putShort(109, (short) (LEGACY_DEVICES | HAS_8042 | VGA_NOT_PRESENT));
    table.putInt(112, WBINVD | PROC_C1 | SLP_BUTTON_NOT_FIXED | RESET_REG_SUP);
    port(table, 116, RESET_PORT, 8, 1);
    table.put(128, (byte) RESET_VALUE);
    table.putLong(140, dsdt);
    port(table, 148, PM1A_EVENT, 32, 2);
    port(table, 172, PM1A_CONTROL, 16, 2);
    port(table, 208, PM_TIMER, 32, 3);
    table.put(268, ascii("VMEXIT")); // hypervisor vendor identity, padded with zeros
    return seal(table);
  }

  /** Writes a generic address structure for a port; access size 1, 2, 3 is 8, 16, 32 bits. */
  private static void port(
      final ByteBuffer table, final int at, final int port, final int bits, final int access) {
    table.put(at, (byte) 1); // system I/O space
    table.put(at + 1, (byte) bits);
    table.put(at + 3, (byte) access);
    table.putLong(at + 4, port);
  }

  private static byte[] madt(final int vcpus) {
    final ByteBuffer table = header("APIC", 3, HEADER + 8 + 8 * vcpus + 12 + 10 + 10 + 6);
    table.putInt((int) LOCAL_APIC).putInt(1); // there is a PIC pair too
    for (int i = 0; i < vcpus; i++) {
      table.put((byte) 0).put((byte) 8).put((byte) i).put((byte) i).putInt(1); // enabled
    }
    table.put((byte) 1).put((byte) 12).put((byte) 0).put((byte) 0);
    table.putInt((int) IO_APIC).putInt(0); // GSIs from 0
    interruptOverride(table, 0, 2, 0); // the PIT is wired to pin 2, as the ISA bus says else
    interruptOverride(table, SCI, SCI, 0b1101); // level-triggered, active high
    table.put((byte) 4).put((byte) 6).put((byte) 0xFF).putShort((short) 0); // all processors
    table.put((byte) 1); // NMI on LINT1
    return seal(table);
  }

  private static void interruptOverride(
      final ByteBuffer table, final int irq, final int gsi, final int flags) {
    table.put((byte) 2).put((byte) 10).put((byte) 0).put((byte) irq);
    table.putInt(gsi).putShort((short) flags);
  }

  private static byte[] dsdt() {
    final AmlWriter aml = new AmlWriter();
    aml.name("\\_S5").integers(S5_SLEEP_TYPE, S5_SLEEP_TYPE, 0, 0);
    aml.scope(
        "\\_SB",
        bus ->
            bus.device("PIC", d -> isa(d, "PNP0000", r -> picPorts(r).irq(2)))
                .device("PIT", d -> isa(d, "PNP0100", r -> r.ports(0x40, 4).irq(0)))
                .device("RTC", d -> isa(d, "PNP0B00", r -> r.ports(0x70, 2).irq(8)))
                .device(
                    "COM1",
                    d -> isa(d, "PNP0501", r -> r.ports(0x3F8, 8).irq(4)).name("_UID").integer(1)));
    final byte[] body = aml.toByteArray();
    final ByteBuffer table = header("DSDT", 2, HEADER + body.length);
    table.put(body);
    return seal(table);
  }

  private static AmlWriter picPorts(final AmlWriter resources) {
    return resources.ports(0x20, 2).ports(0xA0, 2).ports(0x4D0, 2);
  }

  private static AmlWriter isa(
      final AmlWriter device, final String id, final Consumer<AmlWriter> resources) {
    return device.name("_HID").eisaId(id).name("_CRS").resources(resources);
  }

  private static ByteBuffer header(final String signature, final int revision, final int length) {
    final ByteBuffer table = little(length);
    table.put(ascii(signature)).putInt(length).put((byte) revision).put((byte) 0);
    table.put(ascii("VMEXIT")).put(ascii("VMEXITPC")).putInt(1);
    table.put(ascii("VMEX")).putInt(1);
    return table;
  }

  private static byte[] seal(final ByteBuffer table) {
    table.put(9, checksum(table, table.capacity()));
    return bytes(table);
  }

  /** What makes the bytes sum up to 0, when the checksum itself is 0. */
  private static byte checksum(final ByteBuffer table, final int length) {
    int sum = 0;
    for (int i = 0; i < length; i++) {
      sum += table.get(i);
    }
    return (byte) -sum;
  }

  private static byte[] bytes(final ByteBuffer table) {
    final byte[] bytes = new byte[table.capacity()];
    table.get(0, bytes);
    return bytes;
  }

  private static ByteBuffer little(final int length) {
    return ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static byte[] ascii(final String text) {
    return text.getBytes(StandardCharsets.US_ASCII);
  }
}
