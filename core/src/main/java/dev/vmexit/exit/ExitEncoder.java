package dev.vmexit.exit;

import dev.vmexit.exit.sbe.ExitRecordEncoder;
import dev.vmexit.memory.HostMemory;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * Turns events into records, each relative to the one before ({@link ExitColumns}).
 *
 * <p>A record is put together in a scratch block outside the heap and copied from there: its length
 * is known only at its end, and two copies of about 50 bytes cost less than a first pass to measure
 * it. Not thread-safe.
 */
public final class ExitEncoder {
  /** No record is longer, in bytes. */
  public static final int MAX_LENGTH = 1024;

  private static final int CHANGES =
      ExitRecordEncoder.BLOCK_LENGTH + ExitRecordEncoder.changesHeaderLength();

  /** Every so many records a full one: where readers can start, and the recorder cuts batches. */
  private final int fullInterval;

  // Lives as long as this object does: the buffer is kept, and it never moves.
  private final UnsafeBuffer buffer = new UnsafeBuffer(ByteBuffer.allocateDirect(MAX_LENGTH));
  private final long scratch = buffer.addressOffset();
  private final ExitRecordEncoder record = new ExitRecordEncoder();
  private final long[] words = new long[ExitColumns.MAX_WORDS];
  private final long[] last = new long[ExitColumns.KEPT];
  private final long[] lastAddress = new long[ExitColumns.KINDS];
  private final long[] lastValue = new long[ExitColumns.KINDS];
  private final long[] lastWalk = new long[ExitEvent.MAX_WALK];
  private int lastVcpu;
  private int untilFull;

  /** Makes an encoder that writes a full record first and then after every interval. */
  public ExitEncoder(final int fullInterval) {
    this.fullInterval = fullInterval;
    record.wrap(buffer, 0);
  }

  /** Address of the encoded record. */
  public long address() {
    return scratch;
  }

  /** Makes the next record a full one. */
  public void requestFull() {
    untilFull = 0;
  }

  /**
   * Encodes one event.
   *
   * @return length in bytes of the record at {@link #address}
   */
  public int encode(final ExitEvent event) {
    int state = event.interruptState & ExitColumns.STATE_INTERRUPT;
    if (event.write) {
      state |= ExitColumns.STATE_WRITE;
    }
    if (event.dataLength > 0) {
      checkData(event);
      state |= ExitColumns.STATE_DATA;
    }
    if (--untilFull < 0 || event.vcpu != lastVcpu) {
      untilFull = fullInterval - 1;
      lastVcpu = event.vcpu;
      state |= ExitColumns.STATE_FULL;
      forget();
    }
    final int kind = event.kind.ordinal();
    final int changed = columns(event, kind);
    final int count = payload(event, Integer.bitCount(changed));

    record
        .sequence(event.sequence & 0xFFFF_FFFFL)
        .changed(changed & 0xFFFF_FFFFL)
        .kind((short) kind)
        .vcpu((short) event.vcpu)
        .mode((short) event.mode)
        .state((short) state)
        .size((short) event.size)
        .detail((short) event.detail)
        .counts((short) (event.walkCount | event.writeCount << 4));
    final long end = pack(scratch + CHANGES, count);
    // The length prefix of `changes`, as putChanges would write it: the words are there already.
    HostMemory.putShort(scratch + ExitRecordEncoder.BLOCK_LENGTH, (int) (end - scratch) - CHANGES);
    final int length = event.instructionLength;
    HostMemory.putByte(end, length);
    for (int i = 0; i < length; i++) {
      HostMemory.putByte(end + 1 + i, event.instruction[i]);
    }
    if (event.dataLength > 0) {
      final long at = end + 1 + length;
      HostMemory.putShort(at, event.dataLength);
      HostMemory.copyIn(event.data, 0, at + Short.BYTES, event.dataLength);
      return (int) (at - scratch) + Short.BYTES + event.dataLength;
    }
    return (int) (end - scratch) + 1 + length;
  }

  /** Long data come with no walk and no table writes, so that they fit into the scratch block. */
  private static void checkData(final ExitEvent event) {
    final boolean bulk = event.kind == ExitKind.PIO || event.kind == ExitKind.DMA;
    if (!bulk && event.kind != ExitKind.KICK
        || (bulk ? event.walkCount : 0) + event.writeCount > 0
        || event.dataLength > (bulk ? ExitEvent.MAX_DATA : VectorState.LENGTH)) {
      throw new IllegalArgumentException(
          "kind=" + event.kind + " dataLength=" + event.dataLength + ", allowed: PIO and DMA, 512");
    }
  }

  private void forget() {
    Arrays.fill(last, 0);
    Arrays.fill(lastAddress, 0);
    Arrays.fill(lastValue, 0);
    Arrays.fill(lastWalk, 0);
  }

  /** Lays the changed columns into {@link #words} without holes and says which they are. */
  private int columns(final ExitEvent event, final int kind) {
    final long[] to = words;
    final long[] base = last;
    int changed = 0;
    int n = 0;
    for (int i = 0; i < 16; i++) {
      final long now = event.registers[i];
      final long word = now ^ base[i];
      base[i] = now;
      to[n] = word;
      final int bit = word != 0 ? 1 : 0;
      n += bit;
      changed |= bit << i;
    }
    long word = event.rip ^ base[ExitColumns.RIP];
    base[ExitColumns.RIP] = event.rip;
    to[n] = word;
    int bit = word != 0 ? 1 : 0;
    n += bit;
    changed |= bit << ExitColumns.RIP;

    word = event.rflags ^ base[ExitColumns.RFLAGS];
    base[ExitColumns.RFLAGS] = event.rflags;
    to[n] = word;
    bit = word != 0 ? 1 : 0;
    n += bit;
    changed |= bit << ExitColumns.RFLAGS;

    // These change so seldom that one test for all of them pays.
    final long system =
        (event.csBase ^ base[ExitColumns.CS_BASE])
            | (event.cr0 ^ base[ExitColumns.CR0])
            | (event.cr3 ^ base[ExitColumns.CR3])
            | (event.cr4 ^ base[ExitColumns.CR4])
            | (event.efer ^ base[ExitColumns.EFER]);
    if (system != 0) {
      final int bits = system(event, n);
      n += Integer.bitCount(bits);
      changed |= bits;
    }

    word = event.retired - base[ExitColumns.RETIRED];
    base[ExitColumns.RETIRED] = event.retired;
    to[n] = word;
    bit = word != 0 ? 1 : 0;
    n += bit;
    changed |= bit << ExitColumns.RETIRED;

    word = event.hostTime - base[ExitColumns.HOST_TIME];
    base[ExitColumns.HOST_TIME] = event.hostTime;
    to[n] = word;
    bit = word != 0 ? 1 : 0;
    n += bit;
    changed |= bit << ExitColumns.HOST_TIME;

    n = append(event.guestTime, n);
    changed |= event.guestTime != 0 ? 1 << ExitColumns.GUEST_TIME : 0;
    n = append(event.handlerTime, n);
    changed |= event.handlerTime != 0 ? 1 << ExitColumns.HANDLER_TIME : 0;

    word = event.address ^ lastAddress[kind];
    lastAddress[kind] = event.address;
    n = append(word, n);
    changed |= word != 0 ? 1 << ExitColumns.ADDRESS : 0;

    word = event.value ^ lastValue[kind];
    lastValue[kind] = event.value;
    n = append(word, n);
    changed |= word != 0 ? 1 << ExitColumns.VALUE : 0;

    if (event.errorCode != 0) {
      append(event.errorCode & 0xFFFF_FFFFL, n++);
      changed |= 1 << ExitColumns.ERROR_CODE;
    }
    if (event.sequence >>> 32 != 0) {
      append(event.sequence >>> 32, n);
      changed |= 1 << ExitColumns.SEQUENCE_HIGH;
    }
    return changed;
  }

  private int append(final long word, final int n) {
    words[n] = word;
    return word != 0 ? n + 1 : n;
  }

  private int system(final ExitEvent event, final int first) {
    int n = first;
    int changed = 0;
    for (int column = ExitColumns.CS_BASE; column <= ExitColumns.EFER; column++) {
      final long now =
          switch (column) {
            case ExitColumns.CS_BASE -> event.csBase;
            case ExitColumns.CR0 -> event.cr0;
            case ExitColumns.CR3 -> event.cr3;
            case ExitColumns.CR4 -> event.cr4;
            default -> event.efer;
          };
      final long word = now ^ last[column];
      last[column] = now;
      changed |= word != 0 ? 1 << column : 0;
      n = append(word, n);
    }
    return changed;
  }

  /** Appends the words that come without a bit of their own. */
  private int payload(final ExitEvent event, final int first) {
    final long[] to = words;
    int n = first;
    if (event.kind == ExitKind.CPUID) {
      to[n++] = event.cpuid[0] & 0xFFFF_FFFFL | (long) event.cpuid[1] << 32;
      to[n++] = event.cpuid[2] & 0xFFFF_FFFFL | (long) event.cpuid[3] << 32;
    }
    long frame = event.cr3 & ExitColumns.FRAME;
    for (int i = 0; i < event.walkCount; i++) {
      final long value = event.walkValue[i];
      to[n++] = event.walkAddress[i] ^ frame;
      to[n++] = value ^ lastWalk[i];
      lastWalk[i] = value;
      frame = value & ExitColumns.FRAME;
    }
    for (int i = 0; i < event.writeCount; i++) {
      to[n++] = event.writeAddress[i];
      to[n++] = event.writeSize[i];
      to[n++] = event.writeValue[i];
    }
    return n;
  }

  /** Writes the words and then their lengths; returns the address after them. */
  private long pack(final long at, final int count) {
    long to = at;
    // 16 lengths of 4 bits fill one long; a third of the scratch block holds more than a record.
    final long lengths = scratch + MAX_LENGTH - 64;
    long length = 0;
    for (int i = 0; i < count; i++) {
      final long word = words[i];
      // Always eight bytes, of which the next word covers those that are zero.
      HostMemory.putLong(to, word);
      final int bytes = (71 - Long.numberOfLeadingZeros(word)) >>> 3;
      to += bytes;
      length |= (long) bytes << (i << 2);
      if ((i & 15) == 15) {
        HostMemory.putLong(lengths + (i >>> 4 << 3), length);
        length = 0;
      }
    }
    HostMemory.putLong(lengths + (count >>> 4 << 3), length);
    final int lengthBytes = (count + 1) >>> 1;
    for (int i = 0; i < lengthBytes; i += 8) {
      HostMemory.putLong(to + i, HostMemory.getLong(lengths + i));
    }
    return to + lengthBytes;
  }
}
