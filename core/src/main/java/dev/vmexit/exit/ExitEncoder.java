package dev.vmexit.exit;

import dev.vmexit.exit.sbe.ExitRecordEncoder;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.memory.InstructionBytes;
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

  private static final int REGISTERS = ExitColumns.RIP;

  /** Bit 0 of each four. */
  private static final long ONES = 0x1111_1111_1111_1111L;

  private static final int CHANGES =
      ExitRecordEncoder.BLOCK_LENGTH + ExitRecordEncoder.changesHeaderLength();

  /** Every so many records a full one: where readers can start, and the recorder cuts batches. */
  private final int fullInterval;

  // Lives as long as this object does: the buffer is kept, and it never moves.
  private final UnsafeBuffer buffer = new UnsafeBuffer(ByteBuffer.allocateDirect(MAX_LENGTH));
  private final long scratch = buffer.addressOffset();
  private final ExitRecordEncoder record = new ExitRecordEncoder();
  private final long[] words = new long[ExitColumns.MAX_WORDS - ExitColumns.COUNT];
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
    final long[] base = last;
    long to = scratch + CHANGES;

    // The length of each column's word is kept in four bits of the column's own, zero where it did
    // not change.
    long lengths = registers(event.registers, base, to);
    to += sum(lengths);
    long nonZero = nonZero(lengths);
    int changed = (int) Long.compress(nonZero, ONES);
    final long registerLengths = Long.compress(lengths, nonZero * 0xF);

    long word = event.rip ^ base[ExitColumns.RIP];
    base[ExitColumns.RIP] = event.rip;
    long bytes = put(to, word);
    to += bytes;
    lengths = bytes << at(ExitColumns.RIP);

    word = event.rflags ^ base[ExitColumns.RFLAGS];
    base[ExitColumns.RFLAGS] = event.rflags;
    bytes = put(to, word);
    to += bytes;
    lengths |= bytes << at(ExitColumns.RFLAGS);

    // These change so seldom that one test for all of them pays.
    final long system =
        (event.csBase ^ base[ExitColumns.CS_BASE])
            | (event.cr0 ^ base[ExitColumns.CR0])
            | (event.cr3 ^ base[ExitColumns.CR3])
            | (event.cr4 ^ base[ExitColumns.CR4])
            | (event.efer ^ base[ExitColumns.EFER]);
    if (system != 0) {
      final long sizes = system(event, to);
      to += sum(sizes);
      lengths |= sizes;
    }

    word = event.retired - base[ExitColumns.RETIRED];
    base[ExitColumns.RETIRED] = event.retired;
    bytes = put(to, word);
    to += bytes;
    lengths |= bytes << at(ExitColumns.RETIRED);

    word = event.hostTime - base[ExitColumns.HOST_TIME];
    base[ExitColumns.HOST_TIME] = event.hostTime;
    bytes = put(to, word);
    to += bytes;
    lengths |= bytes << at(ExitColumns.HOST_TIME);

    bytes = put(to, event.guestTime);
    to += bytes;
    lengths |= bytes << at(ExitColumns.GUEST_TIME);

    bytes = put(to, event.handlerTime);
    to += bytes;
    lengths |= bytes << at(ExitColumns.HANDLER_TIME);

    word = event.address ^ lastAddress[kind];
    lastAddress[kind] = event.address;
    bytes = put(to, word);
    to += bytes;
    lengths |= bytes << at(ExitColumns.ADDRESS);

    word = event.value ^ lastValue[kind];
    lastValue[kind] = event.value;
    bytes = put(to, word);
    to += bytes;
    lengths |= bytes << at(ExitColumns.VALUE);

    word = event.errorCode & 0xFFFF_FFFFL;
    bytes = put(to, word);
    to += bytes;
    lengths |= bytes << at(ExitColumns.ERROR_CODE);

    word = event.sequence >>> 32;
    bytes = put(to, word);
    to += bytes;
    lengths |= bytes << at(ExitColumns.SEQUENCE_HIGH);

    nonZero = nonZero(lengths);
    final int registersChanged = Integer.bitCount(changed);
    final int count = registersChanged + Long.bitCount(nonZero);
    changed |= (int) Long.compress(nonZero, ONES) << REGISTERS;
    final long otherLengths = Long.compress(lengths, nonZero * 0xF);

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

    final long end;
    final long first =
        registersChanged < REGISTERS
            ? registerLengths | otherLengths << (registersChanged << 2)
            : registerLengths;
    final long second = registersChanged == 0 ? 0 : otherLengths >>> (64 - (registersChanged << 2));
    if ((event.walkCount | event.writeCount) == 0 && event.kind != ExitKind.CPUID) {
      HostMemory.putLong(to, first);
      HostMemory.putLong(to + Long.BYTES, second);
      end = to + (count + 1 >>> 1);
    } else {
      end = payload(event, to, count, first, second);
    }
    // The length prefix of `changes`, as putChanges would write it: the words are there already.
    HostMemory.putShort(scratch + ExitRecordEncoder.BLOCK_LENGTH, (int) (end - scratch) - CHANGES);
    final int length = event.instructionLength;
    HostMemory.putByte(end, length);
    // What it leaves behind the instruction is not of the record.
    InstructionBytes.copyIn(event.instruction, end + 1);
    if (event.dataLength > 0) {
      final long at = end + 1 + length;
      HostMemory.putShort(at, event.dataLength);
      HostMemory.copyIn(event.data, 0, at + Short.BYTES, event.dataLength);
      return (int) (at - scratch) + Short.BYTES + event.dataLength;
    }
    return (int) (end - scratch) + 1 + length;
  }

  /**
   * Writes a word, of whose eight bytes the next covers those that are zero; returns the others.
   */
  private static long put(final long to, final long word) {
    if (word == 0) {
      return 0;
    }
    HostMemory.putLong(to, word);
    return bytes(word);
  }

  /** Bytes of a word without its leading zero bytes. */
  private static int bytes(final long word) {
    return (71 - Long.numberOfLeadingZeros(word)) >>> 3;
  }

  /** Where the length of a column behind the registers is among those. */
  private static int at(final int column) {
    return column - REGISTERS << 2;
  }

  /** Bit 0 of each four bits that are not zero. */
  private static long nonZero(final long lengths) {
    final long pairs = lengths | lengths >>> 1;
    return (pairs | pairs >>> 2) & ONES;
  }

  /** Of 16 lengths, each at most 8. */
  private static int sum(final long lengths) {
    final long pairs =
        (lengths & 0x0F0F_0F0F_0F0F_0F0FL) + (lengths >>> 4 & 0x0F0F_0F0F_0F0F_0F0FL);
    return (int) (pairs * 0x0101_0101_0101_0101L >>> 56);
  }

  /**
   * Writes the words of the registers; returns their lengths, each at its place. A method of its
   * own for the JVM, which compiles one with a loop early: the rest is compiled once more has been
   * seen of what exits there are.
   */
  private static long registers(final long[] registers, final long[] base, final long address) {
    long to = address;
    long lengths = 0;
    for (int i = 0; i < REGISTERS; i++) {
      final long now = registers[i];
      final long word = now ^ base[i];
      // Stores are what this takes its time for: none where there is no change.
      if (word != 0) {
        base[i] = now;
        HostMemory.putLong(to, word);
        final long bytes = bytes(word);
        to += bytes;
        lengths |= bytes << (i << 2);
      }
    }
    return lengths;
  }

  /** Long data come with no walk and no table writes, so that they fit into the scratch block. */
  private static void checkData(final ExitEvent event) {
    final boolean bulk = event.kind == ExitKind.PIO || event.kind == ExitKind.DMA;
    if (!bulk && event.kind != ExitKind.KICK
        || (bulk ? event.walkCount : 0) + event.writeCount > 0
        || event.dataLength > (bulk ? ExitEvent.MAX_DATA : VectorState.LENGTH)) {
      throw new IllegalArgumentException(
          "kind="
              + event.kind
              + " dataLength="
              + event.dataLength
              + ", allowed: PIO and DMA, 512, a checkpoint, "
              + VectorState.LENGTH);
    }
  }

  private void forget() {
    Arrays.fill(last, 0);
    Arrays.fill(lastAddress, 0);
    Arrays.fill(lastValue, 0);
    Arrays.fill(lastWalk, 0);
  }

  /** Writes the words of the system registers; returns their lengths, each at its place. */
  private long system(final ExitEvent event, final long address) {
    long to = address;
    long lengths = 0;
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
      final long bytes = put(to, word);
      to += bytes;
      lengths |= bytes << at(column);
    }
    return lengths;
  }

  /**
   * Writes the words that come without a bit of their own, and then the lengths of all.
   *
   * @param address behind the columns' words
   * @param columns how many these are
   * @param first lengths of the first 16 words so far
   * @param second and of the next 16
   * @return the address behind the lengths
   */
  private long payload(
      final ExitEvent event,
      final long address,
      final int columns,
      final long first,
      final long second) {
    final int count = payloadWords(event);
    // A part of the scratch block that no record comes to.
    final long lengths = scratch + MAX_LENGTH - 64;
    HostMemory.putLong(lengths, first);
    HostMemory.putLong(lengths + Long.BYTES, second);
    long to = address;
    long length = columns < 16 ? first : second;
    for (int i = 0; i < count; i++) {
      final long word = words[i];
      // Always eight bytes, of which the next word covers those that are zero.
      HostMemory.putLong(to, word);
      final long bytes = bytes(word);
      to += bytes;
      final int n = columns + i;
      final int at = n & 15;
      // Begins with none where the next 16 do. No branch: the first record that takes one which C2
      // has never seen taken has it all compiled anew.
      length = length & -(at + 15 >>> 4) | bytes << (at << 2);
      HostMemory.putLong(lengths + (n >>> 4 << 3), length);
    }
    final int all = columns + count;
    final int lengthBytes = all + 1 >>> 1;
    for (int i = 0; i < lengthBytes; i += Long.BYTES) {
      HostMemory.putLong(to + i, HostMemory.getLong(lengths + i));
    }
    return to + lengthBytes;
  }

  private int payloadWords(final ExitEvent event) {
    final long[] to = words;
    int n = 0;
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
}
