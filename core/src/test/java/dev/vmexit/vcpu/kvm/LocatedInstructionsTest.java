package dev.vmexit.vcpu.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.decode.Decoder;
import java.util.HexFormat;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class LocatedInstructionsTest {
  private static final long RIP = 0x40_1234;

  private final long state = HostMemory.allocate(StateLayout.SIZE);
  private static final int WINDOW = InstructionLocator.FAR_BEFORE + InstructionLocator.MAX;

  private final long window = HostMemory.allocate(WINDOW);
  private final long here = window + InstructionLocator.FAR_BEFORE;
  private final LocatedInstructions located = new LocatedInstructions();
  private final VcpuExit exit = new VcpuExit();

  @AfterEach
  void close() {
    HostMemory.free(state);
    HostMemory.free(window);
  }

  /** Keeps an instruction that begins so far before rip; its place. */
  private int add(final String bytes, final int codeSize, final int behind) {
    return add(bytes, codeSize, behind, false);
  }

  private int add(final String bytes, final int codeSize, final int behind, final boolean further) {
    final byte[] code = HexFormat.of().parseHex(bytes);
    for (int i = 0; i < WINDOW; i++) {
      HostMemory.putByte(window + i, 0x90);
    }
    HostMemory.copyIn(code, 0, here - behind, code.length);
    final int status = new Decoder().decode(code, 0, code.length, codeSize, located.room(RIP));
    assertEquals(Decoder.STATUS_OK, status);
    located.add(RIP, codeSize, here, behind, further);
    final int place = located.find(RIP, codeSize, here);
    assertTrue(place >= 0);
    assertEquals(behind, located.behind(place));
    assertEquals(code.length, located.length(place));
    return place;
  }

  private void gpr(final int number, final long value) {
    HostMemory.putLong(state + StateLayout.gpr(number), value);
  }

  private void base(final int segment, final long value) {
    HostMemory.putLong(state + StateLayout.segment(segment) + StateLayout.SEG_BASE, value);
  }

  private void exit(final boolean write, final int size, final long address) {
    exit.write = write;
    exit.size = size;
    exit.address = address;
  }

  /**
   * With rbx = 0x1100, rsi = 0x2000, DS at 0x30000, FS at 0x40008; the offset in the page that each
   * accesses, worked out by hand.
   */
  @ParameterizedTest
  @CsvSource({
    "8, 8b4310, 4, 0x110, false", // mov eax,[rbx+0x10]
    "8, 894310, 4, 0x110, true", // mov [rbx+0x10],eax
    "8, 8a0473, 1, 0x100, false", // mov al,[rbx+rsi*2]
    "8, 8b0510000000, 4, 0x24a, false", // mov eax,[rip+0x10]: behind the 6 bytes at 0x401234
    "8, 64488b4308, 8, 0x110, false", // mov rax,fs:[rbx+8]
    "4, 8b4310, 4, 0x110, false", // mov eax,[ebx+0x10], DS at a page's start
    "2, 8a4710, 1, 0x110, false", // mov al,[bx+0x10]
    "8, 874310, 4, 0x110, true" // xchg [rbx+0x10],eax
  })
  void shouldSayWhereItsMemoryOperandLies(
      final int codeSize,
      final String bytes,
      final int size,
      final String pageOffset,
      final boolean write) {
    final int place = add(bytes, codeSize, 0);
    gpr(Gpr.RBX, 0x1100);
    gpr(Gpr.RSI, 0x2000);
    base(Seg.DS, 0x3_0000);
    base(Seg.FS, 0x4_0008);
    final long address = 0xFEE0_0000L + Long.decode(pageOffset);
    exit(write, size, address);
    assertTrue(located.touches(place, exit, state));
    exit(write, size, address + 1);
    assertFalse(located.touches(place, exit, state));
    exit(write, size == 1 ? 2 : 1, address);
    assertFalse(located.touches(place, exit, state));
    assertFalse(located.isPort(place, exit, state));
  }

  @Test
  void shouldNotTakeALoadForAStore() {
    final int place = add("8b4310", 8, 0);
    exit(true, 4, 0x10);
    assertFalse(located.touches(place, exit, state));
  }

  @ParameterizedTest
  @CsvSource({
    "e480, false, 1, 0x80", // in al,0x80
    "ee, true, 1, 0x3f8", // out dx,al
    "66ef, true, 2, 0x3f8", // out dx,ax
    "6e, true, 1, 0x3f8", // outsb
    "6d, false, 4, 0x3f8" // insd
  })
  void shouldSayWhichPort(
      final String bytes, final boolean write, final int size, final String port) {
    final int place = add(bytes, 8, write ? bytes.length() / 2 : 0);
    gpr(Gpr.RDX, 0xFFFF_03F8L);
    exit(write, size, Long.decode(port));
    assertTrue(located.isPort(place, exit, state));
    exit(!write, size, Long.decode(port));
    assertFalse(located.isPort(place, exit, state));
    exit(write, 8, Long.decode(port));
    assertFalse(located.isPort(place, exit, state));
    exit(write, size, Long.decode(port) + 1);
    assertFalse(located.isPort(place, exit, state));
    assertFalse(located.touches(place, exit, state));
  }

  @Test
  void shouldForgetAPlaceOfAnotherRipOrCodeSize() {
    add("ee", 8, 1);
    assertEquals(-1, located.find(RIP, 4, here));
    assertEquals(-1, located.find(RIP + 1, 8, here));
  }

  @Test
  void shouldForgetAPlaceWhoseBytesHaveChanged() {
    final int place = add("ee", 8, 1);
    for (int i = -InstructionLocator.BEFORE; i < InstructionLocator.MAX; i++) {
      final int was = HostMemory.getByte(here + i);
      HostMemory.putByte(here + i, was ^ 1);
      assertEquals(-1, located.find(RIP, 8, here), "byte " + i);
      HostMemory.putByte(here + i, was);
    }
    assertEquals(place, located.find(RIP, 8, here));
  }

  @Test
  void shouldSayWhetherTheBytesFurtherBackHaveChanged() {
    assertFalse(located.isFurther(add("ee", 8, 1, false)));
    final int place = add("ee", 8, 1, true);
    assertTrue(located.isFurther(place));
    assertTrue(located.isSame(place, here));
    for (int i = -InstructionLocator.FAR_BEFORE; i < -InstructionLocator.BEFORE; i++) {
      final int was = HostMemory.getByte(here + i);
      HostMemory.putByte(here + i, was ^ 1);
      assertFalse(located.isSame(place, here), "byte " + i);
      HostMemory.putByte(here + i, was);
    }
    assertTrue(located.isSame(place, here));
  }
}
