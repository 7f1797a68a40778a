package dev.vmexit.vcpu.soft;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.BareGuest.Paging;
import dev.vmexit.vcpu.soft.BareMachine.MmuKind;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Register;
import org.junit.jupiter.api.Test;

/** User-mode instruction prevention. */
class UmipTest {
  /** SGDT, SIDT, SMSW, SLDT and STR to memory at DS:EBX. */
  private static final int[][] CODES = {
    {0x0F, 0x01, 0x03},
    {0x0F, 0x01, 0x0B},
    {0x0F, 0x01, 0x23},
    {0x0F, 0x00, 0x03},
    {0x0F, 0x00, 0x0B}
  };

  @Test
  void shouldRaiseProtectionFaultOnlyWhenAUserStoresASystemRegister() {
    for (final int[] code : CODES) {
      for (int bits = 0; bits < 4; bits++) {
        final boolean user = (bits & 1) != 0;
        try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
          g.machine.set(StateLayout.CR4, (bits & 2) != 0 ? ControlRegisters.CR4_UMIP : 0);
          g.machine.stateChanged();
          if (user) {
            g.user();
          }
          g.code(
              a -> {
                a.mov(Register.EBX, BareGuest.DATA);
                a.db(code);
                a.ud2();
              });
          assertEquals(bits == 3 ? Vector.GP : Vector.UD, g.runToHandler());
        }
      }
    }
  }
}
