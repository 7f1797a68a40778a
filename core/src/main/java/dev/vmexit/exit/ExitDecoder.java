package dev.vmexit.exit;

import dev.vmexit.exit.sbe.ExitRecordDecoder;
import dev.vmexit.memory.HostMemory;
import java.util.Arrays;
import org.agrona.DirectBuffer;
import org.agrona.concurrent.UnsafeBuffer;

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

  private final ExitRecordDecoder record = new ExitRecordDecoder();
  private final UnsafeBuffer buffer = new UnsafeBuffer(0, 0);
  private final long[] words = new long[ExitColumns.MAX_WORDS];
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
   * @param address start of {@code length} bytes, behind which eight more can be read
   * @throws IllegalStateException if it is damaged, or needs one before it that was not fed
   */
  public void decode(final long address, final int length, final ExitEvent event) {
    if (length < MIN_LENGTH) {
      throw damaged("record length", length);
    }
    buffer.wrap(address, length);
    record.wrap(buffer, 0, ExitRecordDecoder.BLOCK_LENGTH, ExitRecordDecoder.SCHEMA_VERSION);
    final int kind = record.kind();
    if (kind > ExitKind.GAP.ordinal()) {
      throw damaged("kind", kind);
    }
    final int state = record.state();
    if ((state & ExitColumns.STATE_FULL) != 0) {
      forget();
      ready = true;
    } else if (!ready) {
      throw new IllegalStateException("record is relative to one that is missing");
    }
    final int walkCount = record.counts() & 0xF;
    final int writeCount = record.counts() >>> 4;
    if (walkCount > ExitEvent.MAX_WALK || writeCount > ExitEvent.MAX_WRITES) {
      throw damaged("counts", record.counts());
    }
    final int changed = (int) record.changed();
    final int count =
        Integer.bitCount(changed)
            + 2 * walkCount
            + 3 * writeCount
            + (kind == ExitKind.CPUID.ordinal() ? 2 : 0);
    final int changes = record.changesLength();
    final int instructionAt = MIN_LENGTH - 1 + changes;
    if (changed < 0 || instructionAt >= length) {
      throw damaged("changes length", changes);
    }
    unpack(address + ExitRecordDecoder.BLOCK_LENGTH + 2, changes, count);

    event.kind = ExitKind.of(kind);
    event.vcpu = record.vcpu();
    event.mode = record.mode();
    event.interruptState = state & ExitColumns.STATE_INTERRUPT;
    event.write = (state & ExitColumns.STATE_WRITE) != 0;
    event.size = record.size();
    event.detail = record.detail();
    event.walkCount = walkCount;
    event.writeCount = writeCount;
    final int n = columns(event, kind, changed, record.sequence());
    payload(event, n);

    final int instructionLength = HostMemory.getByte(address + instructionAt);
    if (instructionLength > event.instruction.length
        || instructionAt + 1 + instructionLength != length) {
      throw damaged("instruction length", instructionLength);
    }
    event.instructionLength = instructionLength;
    for (int i = 0; i < instructionLength; i++) {
      event.instruction[i] = (byte) HostMemory.getByte(address + instructionAt + 1 + i);
    }
  }

  private void forget() {
    Arrays.fill(last, 0);
    Arrays.fill(lastAddress, 0);
    Arrays.fill(lastValue, 0);
    Arrays.fill(lastWalk, 0);
  }

  private void unpack(final long address, final int length, final int count) {
    final int lengthBytes = (count + 1) >>> 1;
    final long lengths = address + length - lengthBytes;
    long from = address;
    for (int i = 0; i < count; i++) {
      final int bytes = HostMemory.getByte(lengths + (i >>> 1)) >>> ((i & 1) << 2) & 0xF;
      if (bytes > 8 || from + bytes > lengths) {
        throw damaged("word length", bytes);
      }
      // One load, of which the bytes beyond the word are cut off; none where there is no word, for
      // a shift by 64 is none.
      words[i] = bytes == 0 ? 0 : HostMemory.getLong(from) & -1L >>> (8 - bytes) * 8;
      from += bytes;
    }
    if (from != lengths) {
      throw damaged("changes length", length);
    }
  }

  private int columns(
      final ExitEvent event, final int kind, final int changed, final long sequence) {
    final long[] kept = last;
    int n = 0;
    int bits = changed;
    long guestTime = 0;
    long handlerTime = 0;
    long errorCode = 0;
    long sequenceHigh = 0;
    while (bits != 0) {
      final int column = Integer.numberOfTrailingZeros(bits);
      bits &= bits - 1;
      final long word = words[n++];
      switch (column) {
        case ExitColumns.RETIRED, ExitColumns.HOST_TIME -> kept[column] += word;
        case ExitColumns.GUEST_TIME -> guestTime = word;
        case ExitColumns.HANDLER_TIME -> handlerTime = word;
        case ExitColumns.ADDRESS -> lastAddress[kind] ^= word;
        case ExitColumns.VALUE -> lastValue[kind] ^= word;
        case ExitColumns.ERROR_CODE -> errorCode = word;
        case ExitColumns.SEQUENCE_HIGH -> sequenceHigh = word;
        default -> kept[column] ^= word;
      }
    }
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
    event.guestTime = guestTime;
    event.handlerTime = handlerTime;
    event.address = lastAddress[kind];
    event.value = lastValue[kind];
    event.errorCode = (int) errorCode;
    event.sequence = sequence | sequenceHigh << 32;
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
