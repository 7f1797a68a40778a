package dev.vmexit.irq;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

/** The x2APIC's modes and registers (SDM Vol. 3A, 11.12). */
final class X2ApicTest extends ApicTestSupport {
  private static final int MSRS = 0x800;
  private static final long XAPIC = 0xFEE0_0900L;
  private static final long X2APIC = 0xFEE0_0D00L;
  private static final long X2APIC_AP = 0xFEE0_0C00L;

  private boolean wrmsr(final int register, final long value) {
    return chip.x2apic(0, MSRS + (register >> 4), value);
  }

  private long rdmsr(final int register) {
    assertTrue(chip.x2apicReadable(0, MSRS + (register >> 4)));
    return chip.x2apic(0, MSRS + (register >> 4));
  }

  private void enable() {
    assertTrue(chip.apicBase(0, X2APIC));
    assertTrue(chip.apicBase(1, X2APIC_AP));
    for (int vcpu = 0; vcpu < 2; vcpu++) {
      assertTrue(chip.x2apic(vcpu, MSRS + (SVR >> 4), 0x1FF));
      assertTrue(chip.x2apic(vcpu, MSRS + (LVT_LINT0 >> 4), MASKED));
    }
  }

  @Test
  void shouldChangeModesOnlyAsTheManualAllows() {
    assertFalse(chip.apicBase(0, 0xFEE0_0500L), "x2APIC without the enable bit");
    assertTrue(chip.apicBase(0, X2APIC));
    assertFalse(chip.apicBase(0, XAPIC), "back to xAPIC at once");
    assertTrue(chip.apicBase(0, 0xFEE0_0100L), "off");
    assertFalse(chip.apicBase(0, X2APIC), "from off to x2APIC at once");
    assertTrue(chip.apicBase(0, XAPIC));
    assertTrue(chip.apicBase(0, X2APIC));
  }

  @Test
  void shouldHaveItsRegistersInMsrsAloneWhenEnabled() {
    assertFalse(chip.x2apicReadable(0, MSRS + (SVR >> 4)), "before");
    assertFalse(wrmsr(SVR, 0x1FF));
    enable();
    assertEquals(-1, read(SVR), "no longer in memory");
    assertEquals(0x1FF, rdmsr(SVR));
    assertTrue(wrmsr(TPR, 0x20));
    assertEquals(0x20, rdmsr(TPR));
    assertEquals(0x20, rdmsr(PPR));
    assertEquals(2, chip.cr8(0));
  }

  @Test
  void shouldHaveIdsOf32Bits() {
    enable();
    assertEquals(0, rdmsr(ID));
    assertEquals(1, rdmsr(LDR));
    assertEquals(1, chip.x2apic(1, MSRS + (ID >> 4)));
    assertEquals(2, chip.x2apic(1, MSRS + (LDR >> 4)));
  }

  @Test
  void shouldRefuseWhatIsReservedOrReadOnly() {
    enable();
    assertFalse(wrmsr(ID, 5));
    assertFalse(wrmsr(LDR, 5));
    assertFalse(wrmsr(DFR, 0));
    assertFalse(wrmsr(EOI, 1), "EOI takes zero alone");
    assertFalse(wrmsr(TPR, 0x100));
    assertFalse(wrmsr(SVR, 1L << 32));
    assertFalse(wrmsr(PPR, 0));
    assertFalse(chip.x2apicReadable(0, MSRS + (EOI >> 4)));
    assertFalse(chip.x2apicReadable(0, MSRS + (DFR >> 4)));
    assertFalse(chip.x2apicReadable(0, MSRS + (ICR_HIGH >> 4)));
    assertFalse(chip.x2apicReadable(0, MSRS + 0x3F), "SELF IPI is write-only");
  }

  @Test
  void shouldSendByOneWriteOfTheCommandRegister() {
    enable();
    assertTrue(wrmsr(ICR_LOW, 1L << 32 | 0x4041));
    assertEquals(1L << 32 | 0x4041, rdmsr(ICR_LOW));
    assertFalse(chip.interruptPending(0));
    assertEquals(0x41, chip.acknowledge(1), "by physical ID");
    assertTrue(wrmsr(ICR_LOW, 3L << 32 | 0x4852));
    assertEquals(0x52, chip.acknowledge(0), "by logical ID, both of the cluster");
    assertEquals(0x52, chip.acknowledge(1));
    assertTrue(wrmsr(ICR_LOW, 0xFFFF_FFFFL << 32 | 0x4063));
    assertEquals(0x63, chip.acknowledge(0), "to all");
  }

  @Test
  void shouldInterruptItselfByItsOwnRegister() {
    enable();
    assertTrue(chip.x2apic(0, MSRS + 0x3F, 0x61));
    assertEquals(0x61, chip.acknowledge(0));
    assertTrue(wrmsr(EOI, 0));
    assertFalse(chip.interruptPending(0));
  }
}
