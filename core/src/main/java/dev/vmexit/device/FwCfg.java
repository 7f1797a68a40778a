package dev.vmexit.device;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * The firmware configuration device by which SeaBIOS asks a virtual machine what it is (the
 * interface is documented as "fw_cfg" in QEMU's specifications): a selector of two bytes at 0x510,
 * and at 0x511 the bytes of the item selected, one after another. Items that are not there read as
 * zeros. There is no DMA interface, and nothing can be written.
 *
 * <p>Files are items from 0x20 on, listed in item 0x19: their number, and for each a record of 64
 * bytes with size, item and name, big-endian.
 */
public final class FwCfg implements PortDevice {
  /** Selector. */
  public static final int SELECTOR_PORT = 0x510;

  /** Data. */
  public static final int DATA_PORT = 0x511;

  /** Files can be named in up to 55 characters. */
  public static final int MAX_NAME = 55;

  private static final int SIGNATURE = 0x00;
  private static final int INTERFACE = 0x01;
  private static final int NUMBER_OF_CPUS = 0x05;
  private static final int MAX_CPUS = 0x0F;
  private static final int DIRECTORY = 0x19;
  private static final int FIRST_FILE = 0x20;

  /** Bits of a selector that name the item; the others ask for writing or another architecture. */
  private static final int ITEM = 0x3FFF;

  private static final byte[] NOTHING = {};
  private static final int RECORD = 64;
  private static final int NAME_FIELD = 56;

  private final Map<Integer, byte[]> items = new TreeMap<>();
  private byte[] selected = NOTHING;
  private int offset;

  /**
   * Makes the device.
   *
   * @param vcpus number of processors
   * @param files by the names that firmware looks for
   * @throws IllegalArgumentException where a name is too long
   */
  public FwCfg(final int vcpus, final Map<String, byte[]> files) {
    items.put(SIGNATURE, "QEMU".getBytes(StandardCharsets.US_ASCII));
    items.put(INTERFACE, new byte[] {1, 0, 0, 0});
    items.put(NUMBER_OF_CPUS, new byte[] {(byte) vcpus, 0});
    items.put(MAX_CPUS, new byte[] {(byte) vcpus, 0});
    final List<String> names = new ArrayList<>(new TreeMap<>(files).keySet());
    final ByteBuffer directory = ByteBuffer.allocate(4 + names.size() * RECORD);
    directory.putInt(names.size());
    for (int i = 0; i < names.size(); i++) {
      final byte[] name = names.get(i).getBytes(StandardCharsets.US_ASCII);
      if (name.length > MAX_NAME) {
        throw new IllegalArgumentException(
            "name=" + names.get(i) + ", allowed: at most " + MAX_NAME + " characters");
      }
      final byte[] content = files.get(names.get(i));
      directory.putInt(content.length).putShort((short) (FIRST_FILE + i)).putShort((short) 0);
      directory.put(name).position(directory.position() + NAME_FIELD - name.length);
      items.put(FIRST_FILE + i, content.clone());
    }
    items.put(DIRECTORY, directory.array());
  }

  @Override
  public int readPort(final int port, final int size) {
    if (port != DATA_PORT || size != 1) {
      return port == DATA_PORT ? 0 : -1;
    }
    return offset < selected.length ? selected[offset++] & 0xFF : 0;
  }

  @Override
  public void writePort(final int port, final int size, final int value) {
    if (port == SELECTOR_PORT && size == 2) {
      // Items of an architecture of their own (bit 15) are not there.
      final byte[] item = (value & ~ITEM) == 0 ? items.get(value) : null;
      selected = item == null ? NOTHING : item;
      offset = 0;
    }
  }
}
