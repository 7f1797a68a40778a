package dev.vmexit.vcpu.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Pte;
import dev.vmexit.x86.Seg;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

final class CodeMemoryTest {
  private static final long DIRECTORY = 0x1000;
  private static final long TABLE = 0x2000;
  private static final int USER_RIGHTS = 3 << 5;

  private final GuestMemory memory = GuestMemory.builder().ram(0, 0x10000).build();
  private final long state = HostMemory.allocate(StateLayout.SIZE);
  private final CodeMemory code = new CodeMemory(memory, state);

  @AfterEach
  void close() {
    HostMemory.free(state);
    memory.close();
  }

  private void register(final long offset, final long value) {
    HostMemory.putLong(state + offset, value);
  }

  private void rights(final int rights) {
    HostMemory.putInt(state + StateLayout.segment(Seg.SS) + StateLayout.SEG_RIGHTS, rights);
  }

  private void enterPaging() {
    memory.write32(DIRECTORY, (int) (TABLE | Pte.PRESENT | Pte.USER));
    memory.write32(TABLE + 4 * 5, (int) (0x7000 | Pte.PRESENT));
    register(StateLayout.CR0, ControlRegisters.CR0_PG | ControlRegisters.CR0_PE);
    register(StateLayout.CR3, DIRECTORY);
    code.begin();
  }

  @Test
  void shouldTakeLinearForPhysicalWithoutPaging() {
    code.begin();
    assertEquals(memory.hostAddress(0x3000), code.host(0x3000));
    assertEquals(0, code.host(0x20000));
  }

  @Test
  void shouldGoByTheGuestsTablesAndLeaveThemAlone() {
    enterPaging();
    assertEquals(memory.hostAddress(0x7000), code.host(0x5000));
    assertEquals(TABLE | Pte.PRESENT | Pte.USER, memory.read32(DIRECTORY));
    assertEquals(0x7000 | Pte.PRESENT, memory.read32(TABLE + 4 * 5));
    assertEquals(0, code.host(0x6000));
    rights(USER_RIGHTS);
    assertEquals(0, code.host(0x5000));
  }

  @Test
  void shouldSeeWhatTheGuestHasChanged() {
    enterPaging();
    memory.write32(TABLE + 4 * 5, (int) (0x8000 | Pte.PRESENT));
    code.begin();
    assertEquals(memory.hostAddress(0x8000), code.host(0x5000));
    register(StateLayout.CR0, ControlRegisters.CR0_PE);
    code.begin();
    assertEquals(memory.hostAddress(0x5000), code.host(0x5000));
  }

  @Test
  void shouldReadTheEntriesOfPaeAnewEachTime() {
    memory.write64(DIRECTORY, TABLE | Pte.PRESENT);
    memory.write64(TABLE, 0x3000 | Pte.PRESENT);
    memory.write64(0x3000 + 8 * 5, 0x7000 | Pte.PRESENT);
    register(StateLayout.CR0, ControlRegisters.CR0_PG | ControlRegisters.CR0_PE);
    register(StateLayout.CR4, ControlRegisters.CR4_PAE);
    register(StateLayout.CR3, DIRECTORY);
    code.begin();
    assertEquals(memory.hostAddress(0x7000), code.host(0x5000));
    memory.write64(DIRECTORY, 0);
    code.begin();
    assertEquals(0, code.host(0x5000));
  }
}
