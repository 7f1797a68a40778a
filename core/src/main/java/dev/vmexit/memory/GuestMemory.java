package dev.vmexit.memory;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Objects;
import java.util.function.LongConsumer;

/**
 * The guest's physical memory: slots of host memory at guest-physical addresses, holes between
 * them. Pages are reserved, and cost nothing until somebody touches them.
 *
 * <p>The vCPU and the MMU ask for {@link #hostAddress} and go by raw addresses from there. Loaders
 * and devices use the checked accessors: whatever address a guest hands to a device, an access that
 * leaves the slots throws {@link GuestAddressException} before a byte has moved. Accessor writes
 * mark the dirty log and are told to every {@link WriteListener}; the vCPU marks its own stores by
 * {@link #markDirty} when it fills a writable TLB entry.
 *
 * <p>Values are little-endian and need no alignment. Lookups and accesses may come from any thread;
 * building, listeners, starting and stopping the dirty log and closing belong to the machine's
 * owner. Host addresses die with {@link #close}.
 */
public final class GuestMemory implements AutoCloseable {
  public static final int PAGE_SHIFT = 12;
  public static final int PAGE_SIZE = 1 << PAGE_SHIFT;

  /** Guest-physical addresses end here: the CPU model offers 40 bits. */
  public static final long MAX_GPA = 1L << 40;

  /** By address, for the outside. */
  private final List<Slot> slots;

  /** A second view of each slot, in their order; empty where there are none. */
  private List<SecondView> views;

  private final long ramBytes;

  // The same slots, largest first: nearly every lookup hits the first one.
  private long[] base;
  private long[] size;
  private long[] host;
  private boolean[] readOnly;
  private DirtyLog[] dirty;
  private volatile boolean logging;

  private WriteListener[] listeners = {};

  private GuestMemory(final List<Slot> slots, final List<SecondView> views) {
    this.slots = List.copyOf(slots);
    this.views = List.copyOf(views);
    this.ramBytes = slots.stream().filter(s -> !s.readOnly()).mapToLong(Slot::bytes).sum();
    final List<Slot> bySize = new ArrayList<>(slots);
    bySize.sort(Comparator.comparingLong(Slot::bytes).reversed());
    final int n = bySize.size();
    base = new long[n];
    size = new long[n];
    host = new long[n];
    readOnly = new boolean[n];
    dirty = new DirtyLog[n];
    for (int i = 0; i < n; i++) {
      base[i] = bySize.get(i).gpa();
      size[i] = bySize.get(i).bytes();
      host[i] = bySize.get(i).host();
      readOnly[i] = bySize.get(i).readOnly();
    }
  }

  /** Starts describing a memory. */
  public static Builder builder() {
    return new Builder();
  }

  // ---- lookup ----

  private int indexOf(final long gpa) {
    final long[] bases = base;
    final long[] sizes = size;
    for (int i = 0; i < bases.length; i++) {
      if (Long.compareUnsigned(gpa - bases[i], sizes[i]) < 0) {
        return i;
      }
    }
    return -1;
  }

  /** Address in this process of a guest-physical byte, or 0 where there is no slot. */
  public long hostAddress(final long gpa) {
    final int i = indexOf(gpa);
    return i < 0 ? 0 : host[i] + (gpa - base[i]);
  }

  /** Whether a slot, of either kind, holds this byte. */
  public boolean isBacked(final long gpa) {
    return indexOf(gpa) >= 0;
  }

  /** Whether writable memory holds this byte. */
  public boolean isRam(final long gpa) {
    final int i = indexOf(gpa);
    return i >= 0 && !readOnly[i];
  }

  /** Whether a read-only slot holds this byte. */
  public boolean isReadOnly(final long gpa) {
    final int i = indexOf(gpa);
    return i >= 0 && readOnly[i];
  }

  /** Whether slots hold all of a range; false for a negative or overflowing one. */
  public boolean isBacked(final long gpa, final long length) {
    return length >= 0 && covered(gpa, length, false);
  }

  /** Whether writable memory holds all of a range; false for a negative or overflowing one. */
  public boolean isRam(final long gpa, final long length) {
    return length >= 0 && covered(gpa, length, true);
  }

  /** Bytes of writable memory. */
  public long ramBytes() {
    return ramBytes;
  }

  /** All slots in ascending order. */
  public List<Slot> slots() {
    return slots;
  }

  /** Whether the memory was built with {@link Builder#secondView}. */
  public boolean hasSecondView() {
    return !views.isEmpty();
  }

  /**
   * Where a hypervisor is to find what is at a host address of ours: at the second view of it where
   * there is one.
   */
  public long hypervisorAddress(final long hostAddress) {
    for (int i = 0; i < views.size(); i++) {
      final long offset = hostAddress - slots.get(i).host();
      if (Long.compareUnsigned(offset, slots.get(i).bytes()) < 0) {
        return views.get(i).host() + offset;
      }
    }
    return hostAddress;
  }

  private boolean covered(final long gpa, final long length, final boolean writable) {
    long at = gpa;
    long left = length;
    while (left > 0) {
      final int i = indexOf(at);
      if (i < 0 || (writable && readOnly[i])) {
        return false;
      }
      final long here = size[i] - (at - base[i]);
      if (here >= left) {
        return true;
      }
      left -= here;
      at += here;
    }
    return true;
  }

  // ---- checked access ----

  /** Host address of a scalar, or 0 where it crosses slots (the caller then goes bytewise). */
  private long scalar(final long gpa, final int length, final boolean write) {
    final int i = indexOf(gpa);
    if (i >= 0 && size[i] - (gpa - base[i]) >= length && !(write && readOnly[i])) {
      return host[i] + (gpa - base[i]);
    }
    check(gpa, length, write);
    return 0;
  }

  private void check(final long gpa, final long length, final boolean write) {
    if (length < 0) {
      throw new GuestAddressException("negative length", gpa, length);
    }
    if (!covered(gpa, length, write)) {
      final boolean rom = write && covered(gpa, length, false);
      throw new GuestAddressException(
          rom ? "write to read-only guest memory" : "access outside guest memory", gpa, length);
    }
  }

  /** Reads one byte, zero-extended. */
  public int read8(final long gpa) {
    return HostMemory.getByte(scalar(gpa, 1, false));
  }

  /** Reads two bytes, zero-extended. */
  public int read16(final long gpa) {
    return (int) read(gpa, 2);
  }

  /** Reads four bytes. */
  public int read32(final long gpa) {
    return (int) read(gpa, 4);
  }

  /** Reads eight bytes. */
  public long read64(final long gpa) {
    return read(gpa, 8);
  }

  /** Reads {@code bytes} (1, 2, 4 or 8), zero-extended. */
  public long read(final long gpa, final int bytes) {
    final long address = scalar(gpa, bytes, false);
    if (address != 0) {
      return HostMemory.get(address, bytes);
    }
    long value = 0;
    for (int i = 0; i < bytes; i++) {
      value |= (long) HostMemory.getByte(hostAddress(gpa + i)) << (8 * i);
    }
    return value;
  }

  /** Writes the low byte of a value. */
  public void write8(final long gpa, final int value) {
    write(gpa, 1, value);
  }

  /** Writes the low two bytes of a value. */
  public void write16(final long gpa, final int value) {
    write(gpa, 2, value);
  }

  /** Writes four bytes. */
  public void write32(final long gpa, final int value) {
    write(gpa, 4, value);
  }

  /** Writes eight bytes. */
  public void write64(final long gpa, final long value) {
    write(gpa, 8, value);
  }

  /** Writes the low {@code bytes} (1, 2, 4 or 8) of a value. */
  public void write(final long gpa, final int bytes, final long value) {
    final long address = scalar(gpa, bytes, true);
    if (address != 0) {
      HostMemory.put(address, bytes, value);
    } else {
      for (int i = 0; i < bytes; i++) {
        HostMemory.putByte(hostAddress(gpa + i), (int) (value >>> (8 * i)));
      }
    }
    written(gpa, bytes);
  }

  /** Reads into an array. */
  public void read(final long gpa, final byte[] to, final int offset, final int length) {
    Objects.checkFromIndexSize(offset, length, to.length);
    check(gpa, length, false);
    int done = 0;
    while (done < length) {
      final int n = (int) Math.min(length - done, leftInSlot(gpa + done));
      HostMemory.copyOut(hostAddress(gpa + done), to, offset + done, n);
      done += n;
    }
  }

  /** Writes from an array. */
  public void write(final long gpa, final byte[] from, final int offset, final int length) {
    Objects.checkFromIndexSize(offset, length, from.length);
    check(gpa, length, true);
    int done = 0;
    while (done < length) {
      final int n = (int) Math.min(length - done, leftInSlot(gpa + done));
      HostMemory.copyIn(from, offset + done, hostAddress(gpa + done), n);
      done += n;
    }
    written(gpa, length);
  }

  /** Fills a range with one byte value. */
  public void fill(final long gpa, final long length, final int value) {
    check(gpa, length, true);
    long done = 0;
    while (done < length) {
      final long n = Math.min(length - done, leftInSlot(gpa + done));
      HostMemory.fill(hostAddress(gpa + done), n, value);
      done += n;
    }
    written(gpa, length);
  }

  private long leftInSlot(final long gpa) {
    final int i = indexOf(gpa);
    return size[i] - (gpa - base[i]);
  }

  private void written(final long gpa, final long length) {
    if (length == 0) {
      return;
    }
    if (logging) {
      for (long page = gpa & -PAGE_SIZE; page - (gpa + length) < 0; page += PAGE_SIZE) {
        markDirty(page);
      }
    }
    for (final WriteListener listener : listeners) {
      listener.memoryWritten(gpa, length);
    }
  }

  /** Adds a listener for writes by the accessors of this class. */
  public void addWriteListener(final WriteListener listener) {
    final WriteListener[] more = Arrays.copyOf(listeners, listeners.length + 1);
    more[listeners.length] = Objects.requireNonNull(listener, "listener");
    listeners = more;
  }

  /** Removes a listener; does nothing where it was never added. */
  public void removeWriteListener(final WriteListener listener) {
    final List<WriteListener> rest = new ArrayList<>(List.of(listeners));
    rest.remove(listener);
    listeners = rest.toArray(new WriteListener[0]);
  }

  // ---- dirty log ----

  /**
   * Starts logging with all pages clean. TLB entries that were made writable before must be flushed
   * by the caller, and again after each harvest: a store through one leaves no mark.
   */
  public void startDirtyLog() {
    for (int i = 0; i < dirty.length; i++) {
      dirty[i] = readOnly[i] ? null : new DirtyLog(base[i] >>> PAGE_SHIFT, size[i] >>> PAGE_SHIFT);
    }
    logging = true;
  }

  /** Stops logging and forgets the marks. */
  public void stopDirtyLog() {
    logging = false;
    Arrays.fill(dirty, null);
  }

  /** Whether marks are kept. */
  public boolean isDirtyLogging() {
    return logging;
  }

  /** Marks the page of this address; does nothing while not logging or outside RAM. */
  public void markDirty(final long gpa) {
    if (logging) {
      final int i = indexOf(gpa);
      final DirtyLog log = i < 0 ? null : dirty[i];
      if (log != null) {
        log.mark((gpa - base[i]) >>> PAGE_SHIFT);
      }
    }
  }

  /** Whether a frame was written since the last harvest. */
  public boolean isDirty(final long gfn) {
    final int i = indexOf(gfn << PAGE_SHIFT);
    final DirtyLog log = i < 0 ? null : dirty[i];
    return log != null && log.isMarked(gfn - (base[i] >>> PAGE_SHIFT));
  }

  /** Harvests: hands every dirty frame number to the consumer and clears its mark. */
  public void forEachDirty(final LongConsumer consumer) {
    for (final DirtyLog log : dirty) {
      if (log != null) {
        log.harvest(consumer);
      }
    }
  }

  // ---- touched pages ----

  /**
   * Visits, in ascending order, every page that holds a byte other than 0; pages that nobody has
   * touched are skipped unseen and stay untouched. The guest must stand still meanwhile.
   */
  public void forEachTouchedPage(final PageVisitor visitor) {
    try (TouchedPages touched = new TouchedPages()) {
      for (int i = 0; i < slots.size(); i++) {
        if (views.isEmpty()) {
          touched.visit(slots.get(i), visitor);
        } else {
          touched.visitFile(slots.get(i), views.get(i).file(), visitor);
        }
      }
    }
  }

  /** Bytes of the guest's memory that the host has given pages to. */
  public long residentBytes() {
    try (TouchedPages touched = new TouchedPages()) {
      long pages = 0;
      for (int i = 0; i < slots.size(); i++) {
        pages += touched.count(slots.get(i), hypervisorAddress(slots.get(i).host()));
      }
      return pages << PAGE_SHIFT;
    }
  }

  /** Gives the memory back; host addresses are dead from here on. */
  @Override
  public void close() {
    final long[] addresses = host;
    final long[] sizes = size;
    base = new long[0];
    size = new long[0];
    host = new long[0];
    readOnly = new boolean[0];
    dirty = new DirtyLog[0];
    logging = false;
    for (int i = 0; i < addresses.length; i++) {
      HostMapping.unmap(addresses[i], sizes[i]);
    }
    final List<SecondView> seconds = views;
    views = List.of();
    for (int i = 0; i < seconds.size(); i++) {
      seconds.get(i).close(slots.get(i).bytes());
    }
  }

  @Override
  public String toString() {
    return "GuestMemory" + slots;
  }

  /** Describes a memory before it exists; every mistake is named when it is made or built. */
  public static final class Builder {
    private final SlotLayout layout = new SlotLayout();
    private boolean hugePages;
    private boolean secondView;

    private Builder() {}

    /** Adds writable memory; address and length are multiples of the page size. */
    public Builder ram(final long gpa, final long bytes) {
      layout.addRam(gpa, bytes);
      return this;
    }

    /**
     * Adds RAM as a PC has it: from 0 to 3 GiB without the VGA window 0xA0000-0xBFFFF (its 128 KiB
     * are lost, as on a PC), the rest from 4 GiB up. ROMs added by {@link #rom} take the place of
     * this RAM.
     */
    public Builder ramWithHole(final long bytes) {
      layout.addPcRam(bytes);
      return this;
    }

    /** Adds read-only memory; the content is copied and zero-padded to whole pages. */
    public Builder rom(final long gpa, final byte[] content) {
      layout.addRom(gpa, content);
      return this;
    }

    /** Asks for transparent huge pages behind RAM. */
    public Builder hugePages(final boolean wanted) {
      this.hugePages = wanted;
      return this;
    }

    /**
     * Maps all memory twice, so that a hypervisor's faults on it can be watched ({@link
     * #hypervisorAddress}) while our own accesses make none. Without huge pages.
     */
    public Builder secondView(final boolean wanted) {
      this.secondView = wanted;
      return this;
    }

    /**
     * Maps the memory.
     *
     * @throws IllegalArgumentException where nothing was added or regions overlap
     * @throws ErrnoException where the host refuses
     */
    public GuestMemory build() {
      final List<SecondView> views = new ArrayList<>();
      return new GuestMemory(layout.map(hugePages, secondView ? views : null), views);
    }
  }
}
