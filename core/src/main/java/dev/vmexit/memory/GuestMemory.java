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

  /** As built, by address. */
  private List<Slot> slots;

  /** A dirty log for each slot as built, null where it is ROM or nothing is logged. */
  private DirtyLog[] dirty;

  /** A second view of each slot, in their order; empty where there are none. */
  private List<SecondView> views;

  private final long ramBytes;

  /** What the chipset makes of them. Replaced as a whole: a lookup sees the old one or the new. */
  private Lookup lookup;

  private long mapState = MemoryMap.PLAIN;

  private volatile boolean logging;

  private WriteListener[] listeners = {};

  /** The slots that there are now, largest first: nearly every lookup hits the first one. */
  private static final class Lookup {
    private final List<Slot> slots;

    // Of the largest slot, without the way through three arrays.
    private final long firstBase;
    private final long firstSize;
    private final long firstHost;

    private final long[] base;
    private final long[] size;
    private final long[] host;
    private final boolean[] readOnly;
    private final DirtyLog[] dirty;

    /** Number of a slot's first page in its dirty log. */
    private final long[] firstPage;

    Lookup(final List<Slot> mapped, final List<Slot> built, final DirtyLog[] logs) {
      slots = mapped;
      final List<Slot> bySize = new ArrayList<>(mapped);
      bySize.sort(Comparator.comparingLong(Slot::bytes).reversed());
      final int n = bySize.size();
      base = new long[n];
      size = new long[n];
      host = new long[n];
      readOnly = new boolean[n];
      dirty = new DirtyLog[n];
      firstPage = new long[n];
      for (int i = 0; i < n; i++) {
        base[i] = bySize.get(i).gpa();
        size[i] = bySize.get(i).bytes();
        host[i] = bySize.get(i).host();
        readOnly[i] = bySize.get(i).readOnly();
        for (int b = 0; b < built.size(); b++) {
          final long offset = host[i] - built.get(b).host();
          if (offset >= 0 && offset < built.get(b).bytes()) {
            dirty[i] = logs[b];
            firstPage[i] = offset >>> PAGE_SHIFT;
          }
        }
      }
      firstBase = n > 0 ? base[0] : 0;
      firstSize = n > 0 ? size[0] : 0;
      firstHost = n > 0 ? host[0] : 0;
    }
  }

  private GuestMemory(final List<Slot> slots, final List<SecondView> views) {
    this.slots = List.copyOf(slots);
    this.views = List.copyOf(views);
    this.ramBytes = slots.stream().filter(s -> !s.readOnly()).mapToLong(Slot::bytes).sum();
    this.dirty = new DirtyLog[slots.size()];
    this.lookup = new Lookup(this.slots, this.slots, dirty);
  }

  /** Starts describing a memory. */
  public static Builder builder() {
    return new Builder();
  }

  // ---- lookup ----

  private static int indexOf(final Lookup l, final long gpa) {
    final long[] bases = l.base;
    final long[] sizes = l.size;
    for (int i = 0; i < bases.length; i++) {
      if (Long.compareUnsigned(gpa - bases[i], sizes[i]) < 0) {
        return i;
      }
    }
    return -1;
  }

  /** Address in this process of a guest-physical byte, or 0 where there is no slot. */
  public long hostAddress(final long gpa) {
    final Lookup l = lookup;
    final long offset = gpa - l.firstBase;
    if (Long.compareUnsigned(offset, l.firstSize) < 0) {
      return l.firstHost + offset;
    }
    final int i = indexOf(l, gpa);
    return i < 0 ? 0 : l.host[i] + (gpa - l.base[i]);
  }

  /** Whether a slot, of either kind, holds this byte. */
  public boolean isBacked(final long gpa) {
    return indexOf(lookup, gpa) >= 0;
  }

  /** Whether writable memory holds this byte. */
  public boolean isRam(final long gpa) {
    final Lookup l = lookup;
    final int i = indexOf(l, gpa);
    return i >= 0 && !l.readOnly[i];
  }

  /** Whether a read-only slot holds this byte. */
  public boolean isReadOnly(final long gpa) {
    final Lookup l = lookup;
    final int i = indexOf(l, gpa);
    return i >= 0 && l.readOnly[i];
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

  /** All slots as they were built, in ascending order. */
  public List<Slot> slots() {
    return slots;
  }

  // ---- what the chipset makes of it ----

  /** The slots that there are now, in ascending order; as built unless {@link #map} was called. */
  public List<Slot> mapped() {
    return lookup.slots;
  }

  /** State of {@link MemoryMap} that the slots are in. */
  public long mapState() {
    return mapState;
  }

  /**
   * Puts the slots into a state of {@link MemoryMap}. Who keeps host addresses (TLBs, shadow
   * tables, a hypervisor) must drop them.
   */
  public void map(final long state) {
    mapState = state;
    lookup = new Lookup(MemoryMap.slots(slots, state), slots, dirty);
  }

  /**
   * Writes to RAM that is behind ROM in the present state, as it is where reads alone reach the
   * ROM. Told to the listeners as any write is.
   *
   * @param bytes 1, 2, 4 or 8
   * @return false where no RAM was built: then nothing happens
   */
  public boolean writeBehind(final long gpa, final int bytes, final long value) {
    for (int i = 0; i < slots.size(); i++) {
      final Slot slot = slots.get(i);
      if (!slot.readOnly() && gpa >= slot.gpa() && gpa + bytes <= slot.end()) {
        // Safe: inside the slot, which is mapped until close.
        HostMemory.put(slot.host() + gpa - slot.gpa(), bytes, value);
        if (dirty[i] != null) {
          dirty[i].mark((gpa - slot.gpa()) >>> PAGE_SHIFT);
        }
        for (final WriteListener listener : listeners) {
          listener.memoryWritten(gpa, bytes);
        }
        return true;
      }
    }
    return false;
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
    final Lookup l = lookup;
    long at = gpa;
    long left = length;
    while (left > 0) {
      final int i = indexOf(l, at);
      if (i < 0 || (writable && l.readOnly[i])) {
        return false;
      }
      final long here = l.size[i] - (at - l.base[i]);
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
    final Lookup l = lookup;
    final int i = indexOf(l, gpa);
    if (i >= 0 && l.size[i] - (gpa - l.base[i]) >= length && !(write && l.readOnly[i])) {
      return l.host[i] + (gpa - l.base[i]);
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
    final Lookup l = lookup;
    final int i = indexOf(l, gpa);
    return l.size[i] - (gpa - l.base[i]);
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
      final Slot slot = slots.get(i);
      dirty[i] =
          slot.readOnly()
              ? null
              : new DirtyLog(slot.gpa() >>> PAGE_SHIFT, slot.bytes() >>> PAGE_SHIFT);
    }
    map(mapState);
    logging = true;
  }

  /** Stops logging and forgets the marks. */
  public void stopDirtyLog() {
    logging = false;
    Arrays.fill(dirty, null);
    map(mapState);
  }

  /** Whether marks are kept. */
  public boolean isDirtyLogging() {
    return logging;
  }

  /** Marks the page of this address; does nothing while not logging or outside RAM. */
  public void markDirty(final long gpa) {
    if (logging) {
      final Lookup l = lookup;
      final int i = indexOf(l, gpa);
      final DirtyLog log = i < 0 ? null : l.dirty[i];
      if (log != null) {
        log.mark(l.firstPage[i] + ((gpa - l.base[i]) >>> PAGE_SHIFT));
      }
    }
  }

  /** Whether a frame was written since the last harvest. */
  public boolean isDirty(final long gfn) {
    final Lookup l = lookup;
    final int i = indexOf(l, gfn << PAGE_SHIFT);
    final DirtyLog log = i < 0 ? null : l.dirty[i];
    return log != null && log.isMarked(l.firstPage[i] + gfn - (l.base[i] >>> PAGE_SHIFT));
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
   * Visits, in ascending order, every page as built that holds a byte other than 0; pages that
   * nobody has touched are skipped unseen and stay untouched. The guest must stand still meanwhile.
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
    final List<Slot> mappings = slots;
    slots = List.of();
    dirty = new DirtyLog[0];
    lookup = new Lookup(slots, slots, dirty);
    logging = false;
    for (final Slot slot : mappings) {
      HostMapping.unmap(slot.host(), slot.bytes());
    }
    final List<SecondView> seconds = views;
    views = List.of();
    for (int i = 0; i < seconds.size(); i++) {
      seconds.get(i).close(mappings.get(i).bytes());
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
