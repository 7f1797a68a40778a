package dev.vmexit.exit;

import dev.vmexit.exit.sbe.ExitRecordDecoder;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.memory.InstructionBytes;
import java.util.Arrays;
import org.agrona.DirectBuffer;

/**
 * Turns records back into events. It follows one ring: feed it each of its records in order, from a
 * full one on. Not thread-safe.
 *
 * <p>Records come from files, so that every length is checked against the record before it is used:
 * a damaged one is an {@link IllegalStateException} that names the field.
 */
public final class ExitDecoder {
  private static final int MIN_LENGTH =
      ExitRecordDecoder.BLOCK_LENGTH
          + ExitRecordDecoder.changesHeaderLength()
          + ExitRecordDecoder.instructionHeaderLength();

  private static final int CHANGES =
      ExitRecordDecoder.BLOCK_LENGTH + ExitRecordDecoder.changesHeaderLength();

  /** Bytes behind a record that are read too, and ignored. */
  public static final int SLACK = 16;

  /** Columns that change so seldom that one test for all of them pays. */
  private static final int SYSTEM = (1 << ExitColumns.RETIRED) - (1 << ExitColumns.CS_BASE);

  private static final int REGISTERS = ExitColumns.RIP;
  private static final int REGISTER_COLUMNS = (1 << REGISTERS) - 1;

  /** The bytes of a word by its length; lengths above 8 do not get here. */
  private static final long[] MASK = new long[16];

  static {
    for (int size = 1; size <= Long.BYTES; size++) {
      MASK[size] = -1L >>> (Long.BYTES - size) * 8;
    }
  }

  /** Bit 3 of each length of four bits: with another bit it is more than 8. */
  private static final long EIGHTS = 0x8888_8888_8888_8888L;

  private static final long SEVENS = 0x7777_7777_7777_7777L;
  private static final long PAIRS = 0x0F0F_0F0F_0F0F_0F0FL;
  private static final long ONES = 0x0101_0101_0101_0101L;

  /** Four bits for each of eight. */
  private static final int[] NIBBLES = new int[1 << Byte.SIZE];

  static {
    for (int bits = 0; bits < NIBBLES.length; bits++) {
      NIBBLES[bits] = (int) Long.expand(bits, 0x1111_1111L) * 0xF;
    }
  }

  /** Lengths of four bits that are read at a time: an even number that is always in one long. */
  private static final int GROUP = 14;

  private final long[] last = new long[ExitColumns.KEPT];
  private final long[] lastAddress = new long[ExitColumns.KINDS];
  private final long[] lastValue = new long[ExitColumns.KINDS];
  private final long[] lastWalk = new long[ExitEvent.MAX_WALK];
  private boolean ready;

  /** Whether a record is full: can be decoded with no other before it. */
  public static boolean isFull(final DirectBuffer buffer, final int offset) {
    return (buffer.getByte(offset + ExitRecordDecoder.stateEncodingOffset())
            & ExitColumns.STATE_FULL)
        != 0;
  }

  /** Whether a record stands for lost ones. */
  public static boolean isGap(final DirectBuffer buffer, final int offset) {
    return buffer.getByte(offset + ExitRecordDecoder.kindEncodingOffset())
        == ExitKind.GAP.ordinal();
  }

  /** Low half of a record's sequence, zero-extended. */
  public static long sequenceLow(final DirectBuffer buffer, final int offset) {
    return buffer.getInt(offset + ExitRecordDecoder.sequenceEncodingOffset()) & 0xFFFF_FFFFL;
  }

  /** Forgets what came before: the next record must be a full one. */
  public void reset() {
    ready = false;
  }

  /** Whether the next record may be one that is not full. */
  public boolean isReady() {
    return ready;
  }

  /**
   * Decodes the record at a raw address.
   *
   * @param address start of {@code length} bytes, behind which {@link #SLACK} more can be read
   * @throws IllegalStateException if it is damaged, or needs one before it that was not fed
   */
  public void decode(final long address, final int length, final ExitEvent event) {
    if (length < MIN_LENGTH) {
      throw damaged("record length", length);
    }
    final int kind = HostMemory.getByte(address + ExitRecordDecoder.kindEncodingOffset());
    if (kind > ExitKind.KERNEL.ordinal()) {
      throw damaged("kind", kind);
    }
    final int state = HostMemory.getByte(address + ExitRecordDecoder.stateEncodingOffset());
    if ((state & ExitColumns.STATE_FULL) != 0) {
      forget();
      ready = true;
    } else if (!ready) {
      throw new IllegalStateException("record is relative to one that is missing");
    }
    final int counts = HostMemory.getByte(address + ExitRecordDecoder.countsEncodingOffset());
    final int walkCount = counts & 0xF;
    final int writeCount = counts >>> 4;
    if (walkCount > ExitEvent.MAX_WALK || writeCount > ExitEvent.MAX_WRITES) {
      throw damaged("counts", counts);
    }
    final int changed = HostMemory.getInt(address + ExitRecordDecoder.changedEncodingOffset());
    final int payload = 2 * walkCount + 3 * writeCount + (kind == ExitKind.CPUID.ordinal() ? 2 : 0);
    final int changes = HostMemory.getShort(address + ExitRecordDecoder.BLOCK_LENGTH);
    final int instructionAt = MIN_LENGTH - 1 + changes;
    if (changed < 0 || instructionAt >= length) {
      throw damaged("changes length", changes);
    }
    final long sequence =
        HostMemory.getUnsignedInt(address + ExitRecordDecoder.sequenceEncodingOffset());
    event.sequence = sequence;
    event.kind = ExitKind.of(kind);
    event.vcpu = HostMemory.getByte(address + ExitRecordDecoder.vcpuEncodingOffset());
    event.mode = HostMemory.getByte(address + ExitRecordDecoder.modeEncodingOffset());
    event.interruptState = state & ExitColumns.STATE_INTERRUPT;
    event.write = (state & ExitColumns.STATE_WRITE) != 0;
    event.size = HostMemory.getByte(address + ExitRecordDecoder.sizeEncodingOffset());
    event.detail = HostMemory.getByte(address + ExitRecordDecoder.detailEncodingOffset());
    event.walkCount = walkCount;
    event.writeCount = writeCount;
    words(event, kind, changed, payload, address + CHANGES, changes);

    final int instructionLength = HostMemory.getByte(address + instructionAt);
    if (instructionLength > ExitEvent.MAX_INSTRUCTION
        || instructionAt + 1 + instructionLength > length) {
      throw damaged("instruction length", instructionLength);
    }
    final int dataAt = instructionAt + 1 + instructionLength;
    event.dataLength = 0;
    if ((state & ExitColumns.STATE_DATA) != 0) {
      data(event, address + dataAt, length - dataAt);
    } else if (dataAt != length) {
      throw damaged("instruction length", instructionLength);
    }
    event.instructionLength = instructionLength;
    // Ends in the slack: what is behind the instruction does not matter.
    InstructionBytes.copyOut(address + instructionAt + 1, event.instruction);
  }

  private static void data(final ExitEvent event, final long at, final int left) {
    final int length = left < Short.BYTES ? 0 : HostMemory.getShort(at);
    if (length == 0 || length > ExitEvent.MAX_DATA || left != Short.BYTES + length) {
      throw damaged("data length", length);
    }
    event.dataLength = length;
    HostMemory.copyOut(at + Short.BYTES, event.data, 0, length);
  }

  private void forget() {
    Arrays.fill(last, 0);
    Arrays.fill(lastAddress, 0);
    Arrays.fill(lastValue, 0);
    Arrays.fill(lastWalk, 0);
  }

  /**
   * Takes a record's words apart.
   *
   * <p>How many words a record has, and which, no branch predictor can tell, and one wrong guess
   * costs as much as ten words. So the lengths are spread to where their columns are, zero for one
   * that has no word, and each column is read. C2 has one instruction for it. The lengths are
   * checked before the first word is read: then none can lie outside of {@code length}, whatever
   * the record says.
   */
  private void words(
      final ExitEvent event,
      final int kind,
      final int changed,
      final int payload,
      final long start,
      final int length) {
    final int columns = Integer.bitCount(changed);
    final long lengths = start + length - ((columns + payload + 1) >>> 1);
    if (lengths < start) {
      throw damaged("changes length", length);
    }
    final int registers = Integer.bitCount(changed & REGISTER_COLUMNS);
    final long first = Long.expand(HostMemory.getLong(lengths), nibbles(changed));
    final long second =
        Long.expand(
            HostMemory.getLong(lengths + (registers >>> 1)) >>> ((registers & 1) << 2),
            nibbles(changed >>> REGISTERS));
    final long end = start + sum(first, second);
    if ((tooLong(first) | tooLong(second)) != 0) {
      throw damaged("word lengths", first);
    }
    if (end + sumOf(lengths, columns, payload) != lengths) {
      throw damaged("changes length", length);
    }
    columns(event, kind, changed, start, first, second);
    if (payload != 0) {
      payload(event, end, lengths, columns);
    }
  }

  /** Four bits for each of 16. */
  private static long nibbles(final int bits) {
    return NIBBLES[bits & 0xFF] & 0xFFFF_FFFFL | (long) NIBBLES[bits >>> 8 & 0xFF] << 32;
  }

  /** Not zero if one of 16 lengths is more than 8. */
  private static long tooLong(final long sizes) {
    return (sizes & SEVENS) + SEVENS & sizes & EIGHTS;
  }

  /** Sum of 31 lengths that are not too long: of four, then of all of them in the highest byte. */
  private static long sum(final long first, final long second) {
    return ((first & PAIRS) + (first >>> 4 & PAIRS) + (second & PAIRS) + (second >>> 4 & PAIRS))
            * ONES
        >>> 56;
  }

  /** Reads the word of so many bytes. */
  private static long word(final long from, final long size) {
    return HostMemory.getLong(from) & MASK[(int) size & 0xF];
  }

  /** Reads one register; returns the bytes of its word. */
  private static long register(
      final long[] kept, final long[] to, final int column, final long from, final long sizes) {
    // Stored twice: a copy of them all at the end would wait for the stores before it.
    final long now = kept[column] ^ word(from, sizes);
    kept[column] = now;
    to[column] = now;
    return sizes & 0xF;
  }

  /** Reads all columns. A line for each: in a loop each step loads again what the last one had. */
  private void columns(
      final ExitEvent event,
      final int kind,
      final int changed,
      final long start,
      final long first,
      final long second) {
    final long[] kept = last;
    final long[] to = event.registers;
    long from = start;
    from += register(kept, to, 0, from, first);
    from += register(kept, to, 1, from, first >>> 4);
    from += register(kept, to, 2, from, first >>> 8);
    from += register(kept, to, 3, from, first >>> 12);
    from += register(kept, to, 4, from, first >>> 16);
    from += register(kept, to, 5, from, first >>> 20);
    from += register(kept, to, 6, from, first >>> 24);
    from += register(kept, to, 7, from, first >>> 28);
    from += register(kept, to, 8, from, first >>> 32);
    from += register(kept, to, 9, from, first >>> 36);
    from += register(kept, to, 10, from, first >>> 40);
    from += register(kept, to, 11, from, first >>> 44);
    from += register(kept, to, 12, from, first >>> 48);
    from += register(kept, to, 13, from, first >>> 52);
    from += register(kept, to, 14, from, first >>> 56);
    from += register(kept, to, 15, from, first >>> 60);

    long sizes = second;
    final long rip = kept[ExitColumns.RIP] ^ word(from, sizes);
    kept[ExitColumns.RIP] = rip;
    event.rip = rip;
    from += sizes & 0xF;
    sizes >>>= 4;
    final long rflags = kept[ExitColumns.RFLAGS] ^ word(from, sizes);
    kept[ExitColumns.RFLAGS] = rflags;
    event.rflags = rflags;
    from += sizes & 0xF;
    sizes >>>= 4;
    if ((changed & SYSTEM) != 0) {
      for (int i = ExitColumns.CS_BASE; i < ExitColumns.RETIRED; i++) {
        kept[i] ^= word(from, sizes);
        from += sizes & 0xF;
        sizes >>>= 4;
      }
    } else {
      sizes >>>= 4 * (ExitColumns.RETIRED - ExitColumns.CS_BASE);
    }
    event.csBase = kept[ExitColumns.CS_BASE];
    event.cr0 = kept[ExitColumns.CR0];
    event.cr3 = kept[ExitColumns.CR3];
    event.cr4 = kept[ExitColumns.CR4];
    event.efer = kept[ExitColumns.EFER];
    final long retired = kept[ExitColumns.RETIRED] + word(from, sizes);
    kept[ExitColumns.RETIRED] = retired;
    event.retired = retired;
    from += sizes & 0xF;
    sizes >>>= 4;
    final long hostTime = kept[ExitColumns.HOST_TIME] + word(from, sizes);
    kept[ExitColumns.HOST_TIME] = hostTime;
    event.hostTime = hostTime;
    from += sizes & 0xF;
    sizes >>>= 4;
    event.guestTime = word(from, sizes);
    from += sizes & 0xF;
    sizes >>>= 4;
    event.handlerTime = word(from, sizes);
    from += sizes & 0xF;
    sizes >>>= 4;
    final long address = lastAddress[kind] ^ word(from, sizes);
    lastAddress[kind] = address;
    event.address = address;
    from += sizes & 0xF;
    sizes >>>= 4;
    final long value = lastValue[kind] ^ word(from, sizes);
    lastValue[kind] = value;
    event.value = value;
    from += sizes & 0xF;
    sizes >>>= 4;
    event.errorCode = (int) word(from, sizes);
    from += sizes & 0xF;
    event.sequence |= word(from, sizes >>> 4) << 32;
  }

  /** Sum of the lengths of the words behind those of the columns. */
  private static long sumOf(final long lengths, final int columns, final int count) {
    long sum = 0;
    for (int i = 0; i < count; i += GROUP) {
      final long sizes =
          sizes(lengths, columns + i) & (1L << (Math.min(GROUP, count - i) << 2)) - 1;
      if (tooLong(sizes) != 0) {
        throw damaged("word lengths", sizes);
      }
      sum += sum(sizes, 0);
    }
    return sum;
  }

  /** Lengths of 15 words or more, from one on. */
  private static long sizes(final long lengths, final int word) {
    return HostMemory.getLong(lengths + (word >>> 1)) >>> ((word & 1) << 2);
  }

  private void payload(
      final ExitEvent event, final long start, final long lengths, final int columns) {
    long from = start;
    int word = columns;
    if (event.kind == ExitKind.CPUID) {
      final long sizes = sizes(lengths, word);
      final long low = word(from, sizes);
      from += sizes & 0xF;
      final long high = word(from, sizes >>> 4);
      from += sizes >>> 4 & 0xF;
      word += 2;
      event.cpuid[0] = (int) low;
      event.cpuid[1] = (int) (low >>> 32);
      event.cpuid[2] = (int) high;
      event.cpuid[3] = (int) (high >>> 32);
    }
    long frame = event.cr3 & ExitColumns.FRAME;
    final long[] addresses = event.walkAddress;
    final long[] values = event.walkValue;
    final long[] kept = lastWalk;
    final int walkCount = event.walkCount;
    for (int i = 0; i < walkCount; i++) {
      final long sizes = sizes(lengths, word);
      addresses[i] = word(from, sizes) ^ frame;
      from += sizes & 0xF;
      final long value = word(from, sizes >>> 4) ^ kept[i];
      from += sizes >>> 4 & 0xF;
      word += 2;
      values[i] = value;
      kept[i] = value;
      frame = value & ExitColumns.FRAME;
    }
    for (int i = 0; i < event.writeCount; i++) {
      final long sizes = sizes(lengths, word);
      event.writeAddress[i] = word(from, sizes);
      from += sizes & 0xF;
      event.writeSize[i] = (int) word(from, sizes >>> 4);
      from += sizes >>> 4 & 0xF;
      event.writeValue[i] = word(from, sizes >>> 8);
      from += sizes >>> 8 & 0xF;
      word += 3;
    }
  }

  private static IllegalStateException damaged(final String field, final long value) {
    return new IllegalStateException("damaged record: " + field + "=" + value);
  }
}
