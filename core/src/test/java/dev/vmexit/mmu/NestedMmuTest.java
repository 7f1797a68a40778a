package dev.vmexit.mmu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.mmu.Translation.Result;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.PageFaultError;
import dev.vmexit.x86.Pte;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

final class NestedMmuTest {
  private static final long PW = Pte.PRESENT | Pte.WRITABLE;

  private final GuestMemory memory =
      GuestMemory.builder().ram(0, 0x10000).rom(0xF0000, new byte[1]).build();
  private final NestedMmu mmu = new NestedMmu(memory);
  private final Result result = new Result();

  @AfterEach
  void close() {
    memory.close();
  }

  private void enter() {
    memory.write32(0x1000, (int) (0x2000 | PW));
    assertTrue(
        mmu.setContext(
            ControlRegisters.CR0_PG | ControlRegisters.CR0_WP,
            0x1000,
            ControlRegisters.CR4_PGE,
            0));
  }

  private int translate(final long gva, final int access) {
    mmu.translate(gva, access, result);
    return result.outcome;
  }

  @Test
  void shouldSeeTablesAsTheyAreNowWhenTheyChange() {
    enter();
    memory.write32(0x2014, (int) (0x5000 | PW | Pte.GLOBAL));
    assertEquals(Result.OK, translate(0x5123, Translation.READ));
    assertEquals(0x5123, result.gpa);
    assertTrue(result.global && result.readable && result.executable);
    assertFalse(result.writable, "D is not set yet");
    assertEquals(Result.OK, translate(0x5123, Translation.WRITE));
    assertTrue(result.writable);
    assertEquals(0x5000 | PW | Pte.GLOBAL | Pte.ACCESSED | Pte.DIRTY, memory.read32(0x2014));
    memory.write32(0x2014, (int) (0x6000 | Pte.PRESENT));
    assertEquals(Result.OK, translate(0x5123, Translation.READ));
    assertEquals(0x6123, result.gpa);
    assertEquals(Result.GUEST_FAULT, translate(0x5123, Translation.WRITE));
    assertEquals(PageFaultError.PRESENT | PageFaultError.WRITE, result.errorCode);
    assertEquals(Result.GUEST_FAULT, translate(0x7000, Translation.USER));
    assertEquals(PageFaultError.USER, result.errorCode);
  }

  @Test
  void shouldLeaveToDevicesWhenNoSlotTakesTheAccess() {
    enter();
    memory.write32(0x2014, (int) (0xFEE0_0000L | PW));
    memory.write32(0x2018, (int) (0xF0000 | PW));
    assertEquals(Result.NO_SLOT, translate(0x5020, Translation.READ));
    assertEquals(0xFEE0_0020L, result.gpa);
    assertEquals(Result.OK, translate(0x6008, Translation.FETCH));
    assertEquals(Result.NO_SLOT, translate(0x6008, Translation.WRITE));
    assertEquals(0xF0008, result.gpa);
    assertEquals(Result.OK, translate(0x6008, Translation.READ));
    assertFalse(result.writable);
  }

  @Test
  void shouldMarkDirtyWhenWalkStoresAccessedBits() {
    enter();
    memory.write32(0x2014, (int) (0x5000 | PW));
    memory.startDirtyLog();
    translate(0x5000, Translation.READ);
    assertTrue(memory.isDirty(1) && memory.isDirty(2));
    assertFalse(memory.isDirty(5));
  }
}
