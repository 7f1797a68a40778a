package dev.vmexit.exit;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Arrays;

/** Compares events field by field, and only what their counts say is there. */
public final class EventAssert {
  private EventAssert() {}

  /** Asserts that two events say the same. */
  public static void assertSame(final ExitEvent expected, final ExitEvent actual) {
    final String at = "record " + expected.sequence + ": ";
    assertEquals(expected.sequence, actual.sequence, at + "sequence");
    assertEquals(expected.vcpu, actual.vcpu, at + "vcpu");
    assertEquals(expected.kind, actual.kind, at + "kind");
    assertEquals(expected.retired, actual.retired, at + "retired");
    assertEquals(expected.hostTime, actual.hostTime, at + "hostTime");
    assertEquals(expected.guestTime, actual.guestTime, at + "guestTime");
    assertEquals(expected.handlerTime, actual.handlerTime, at + "handlerTime");
    assertEquals(expected.rip, actual.rip, at + "rip");
    assertEquals(expected.csBase, actual.csBase, at + "csBase");
    assertEquals(expected.cr0, actual.cr0, at + "cr0");
    assertEquals(expected.cr3, actual.cr3, at + "cr3");
    assertEquals(expected.cr4, actual.cr4, at + "cr4");
    assertEquals(expected.efer, actual.efer, at + "efer");
    assertEquals(expected.mode, actual.mode, at + "mode");
    assertEquals(expected.interruptState, actual.interruptState, at + "interruptState");
    assertEquals(expected.rflags, actual.rflags, at + "rflags");
    assertEquals(expected.instructionLength, actual.instructionLength, at + "length");
    assertArrayEquals(
        Arrays.copyOf(expected.instruction, expected.instructionLength),
        Arrays.copyOf(actual.instruction, actual.instructionLength),
        at + "instruction");
    assertEquals(expected.address, actual.address, at + "address");
    assertEquals(expected.value, actual.value, at + "value");
    assertEquals(expected.size, actual.size, at + "size");
    assertEquals(expected.write, actual.write, at + "write");
    assertEquals(expected.detail, actual.detail, at + "detail");
    assertEquals(expected.errorCode, actual.errorCode, at + "errorCode");
    if (expected.kind == ExitKind.CPUID) {
      assertArrayEquals(expected.cpuid, actual.cpuid, at + "cpuid");
    }
    assertEquals(expected.walkCount, actual.walkCount, at + "walkCount");
    for (int i = 0; i < expected.walkCount; i++) {
      assertEquals(expected.walkAddress[i], actual.walkAddress[i], at + "walkAddress " + i);
      assertEquals(expected.walkValue[i], actual.walkValue[i], at + "walkValue " + i);
    }
    assertEquals(expected.writeCount, actual.writeCount, at + "writeCount");
    for (int i = 0; i < expected.writeCount; i++) {
      assertEquals(expected.writeAddress[i], actual.writeAddress[i], at + "writeAddress " + i);
      assertEquals(expected.writeSize[i], actual.writeSize[i], at + "writeSize " + i);
      assertEquals(expected.writeValue[i], actual.writeValue[i], at + "writeValue " + i);
    }
    assertArrayEquals(
        Arrays.copyOf(expected.data, expected.dataLength),
        Arrays.copyOf(actual.data, actual.dataLength),
        at + "data");
    assertArrayEquals(expected.registers, actual.registers, at + "registers");
  }
}
