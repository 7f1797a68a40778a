package dev.vmexit.exit;

import dev.vmexit.exit.sbe.ExitRecordDecoder;
import dev.vmexit.memory.HostMemory;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
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

  private static final VarHandle BYTES =
      MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

  /** Columns whose word is an XOR with the last. */
  private static final int XOR_COLUMNS = (1 << ExitColumns.RETIRED) - 1;

  /** The bytes of a word by its length; lengths above 8 do not get here. */
  private static final long[] MASK = new long[16];

  static {
    for (int size = 1; size <= Long.BYTES; size++) {
      MASK[size] = -1L >>> (Long.BYTES - size) * 8;
    }
  }

  /** Bit 3 of each length of four bits: with another bit it is more than 8. */
  private static final long EIGHTS = 0x8888_8888_8888_8888L;

  private static final long PAIRS = 0x0F0F_0F0F_0F0F_0F0FL;
  private static final long ONES = 0x0101_0101_0101_0101L;

  /** Words whose lengths of four bits are in one long. */
  private static final int GROUP = 16;

  private final long[] words = new long[ExitColumns.MAX_WORDS + 3];
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
    final int count =
        Integer.bitCount(changed)
            + 2 * walkCount
            + 3 * writeCount
            + (kind == ExitKind.CPUID.ordinal() ? 2 : 0);
    final int changes = HostMemory.getShort(address + ExitRecordDecoder.BLOCK_LENGTH);
    final int instructionAt = MIN_LENGTH - 1 + changes;
    if (changed < 0 || instructionAt >= length) {
      throw damaged("changes length", changes);
    }
    unpack(address + CHANGES, changes, count);

    event.kind = ExitKind.of(kind);
    event.vcpu = HostMemory.getByte(address + ExitRecordDecoder.vcpuEncodingOffset());
    event.mode = HostMemory.getByte(address + ExitRecordDecoder.modeEncodingOffset());
    event.interruptState = state & ExitColumns.STATE_INTERRUPT;
    event.write = (state & ExitColumns.STATE_WRITE) != 0;
    event.size = HostMemory.getByte(address + ExitRecordDecoder.sizeEncodingOffset());
    event.detail = HostMemory.getByte(address + ExitRecordDecoder.detailEncodingOffset());
    event.walkCount = walkCount;
    event.writeCount = writeCount;
    final long sequence =
        HostMemory.getUnsignedInt(address + ExitRecordDecoder.sequenceEncodingOffset());
    final int n = columns(event, kind, changed, sequence);
    if (n < count) {
      payload(event, n);
    }

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
    // Two loads that overlap and end in the slack: what is behind the instruction does not matter.
    final long instruction = address + instructionAt + 1;
    BYTES.set(event.instruction, 0, HostMemory.getLong(instruction));
    BYTES.set(event.instruction, 7, HostMemory.getLong(instruction + 7));
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
   * Takes the words apart, 16 at a time. The lengths of all of these are checked before the first
   * of them is read: then no word can lie outside of {@code length}, whatever the record says.
   */
  private void unpack(final long address, final int length, final int count) {
    final long lengths = address + length - ((count + 1) >>> 1);
    if (lengths < address) {
      throw damaged("changes length", length);
    }
    final long[] to = words;
    long from = address;
    for (int first = 0; first < count; first += GROUP) {
      long sizes = HostMemory.getLong(lengths + (first >>> 1));
      if (count - first < GROUP) {
        sizes &= (1L << (count - first << 2)) - 1;
      }
      final boolean tooLong = (sizes & (sizes << 1 | sizes << 2 | sizes << 3) & EIGHTS) != 0;
      // Sums of pairs, then all of them in the highest byte: at most 128.
      final long sum = ((sizes & PAIRS) + (sizes >>> 4 & PAIRS)) * ONES >>> 56;
      if (tooLong || sum > lengths - from) {
        throw damaged("word lengths", sizes);
      }
      // Four at a time, the last of which may be none: a wrong guess of the branch predictor at
      // each record's end costs as much as they do.
      final int end = Math.min(count, first + GROUP);
      for (int i = first; i < end; i += 4) {
        to[i] = HostMemory.getLong(from) & MASK[(int) sizes & 0xF];
        from += sizes & 0xF;
        to[i + 1] = HostMemory.getLong(from) & MASK[(int) (sizes >>> 4) & 0xF];
        from += sizes >>> 4 & 0xF;
        to[i + 2] = HostMemory.getLong(from) & MASK[(int) (sizes >>> 8) & 0xF];
        from += sizes >>> 8 & 0xF;
        to[i + 3] = HostMemory.getLong(from) & MASK[(int) (sizes >>> 12) & 0xF];
        from += sizes >>> 12 & 0xF;
        sizes >>>= 16;
      }
    }
    if (from != lengths) {
      throw damaged("changes length", length);
    }
  }

  private int columns(
      final ExitEvent event, final int kind, final int changed, final long sequence) {
    final long[] kept = last;
    final long[] from = words;
    int n = 0;
    for (int bits = changed & XOR_COLUMNS; bits != 0; bits &= bits - 1) {
      kept[Integer.numberOfTrailingZeros(bits)] ^= from[n++];
    }
    if ((changed & 1 << ExitColumns.RETIRED) != 0) {
      kept[ExitColumns.RETIRED] += from[n++];
    }
    if ((changed & 1 << ExitColumns.HOST_TIME) != 0) {
      kept[ExitColumns.HOST_TIME] += from[n++];
    }
    event.guestTime = (changed & 1 << ExitColumns.GUEST_TIME) != 0 ? from[n++] : 0;
    event.handlerTime = (changed & 1 << ExitColumns.HANDLER_TIME) != 0 ? from[n++] : 0;
    if ((changed & 1 << ExitColumns.ADDRESS) != 0) {
      lastAddress[kind] ^= from[n++];
    }
    if ((changed & 1 << ExitColumns.VALUE) != 0) {
      lastValue[kind] ^= from[n++];
    }
    event.errorCode = (changed & 1 << ExitColumns.ERROR_CODE) != 0 ? (int) from[n++] : 0;
    event.sequence =
        (changed & 1 << ExitColumns.SEQUENCE_HIGH) != 0 ? sequence | from[n++] << 32 : sequence;
    System.arraycopy(kept, 0, event.registers, 0, event.registers.length);
    event.rip = kept[ExitColumns.RIP];
    event.rflags = kept[ExitColumns.RFLAGS];
    event.csBase = kept[ExitColumns.CS_BASE];
    event.cr0 = kept[ExitColumns.CR0];
    event.cr3 = kept[ExitColumns.CR3];
    event.cr4 = kept[ExitColumns.CR4];
    event.efer = kept[ExitColumns.EFER];
    event.retired = kept[ExitColumns.RETIRED];
    event.hostTime = kept[ExitColumns.HOST_TIME];
    event.address = lastAddress[kind];
    event.value = lastValue[kind];
    return n;
  }

  private void payload(final ExitEvent event, final int first) {
    int n = first;
    if (event.kind == ExitKind.CPUID) {
      event.cpuid[0] = (int) words[n];
      event.cpuid[1] = (int) (words[n++] >>> 32);
      event.cpuid[2] = (int) words[n];
      event.cpuid[3] = (int) (words[n++] >>> 32);
    }
    long frame = event.cr3 & ExitColumns.FRAME;
    for (int i = 0; i < event.walkCount; i++) {
      event.walkAddress[i] = words[n++] ^ frame;
      final long value = words[n++] ^ lastWalk[i];
      event.walkValue[i] = value;
      lastWalk[i] = value;
      frame = value & ExitColumns.FRAME;
    }
    for (int i = 0; i < event.writeCount; i++) {
      event.writeAddress[i] = words[n++];
      event.writeSize[i] = (int) words[n++];
      event.writeValue[i] = words[n++];
    }
  }

  private static IllegalStateException damaged(final String field, final long value) {
    return new IllegalStateException("damaged record: " + field + "=" + value);
  }
}
