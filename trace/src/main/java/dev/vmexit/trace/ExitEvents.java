package dev.vmexit.trace;

import dev.vmexit.exit.ExitEvent;

/** Things done with whole events. */
public final class ExitEvents {
  private ExitEvents() {}

  /** Copies everything. */
  public static void copy(final ExitEvent from, final ExitEvent to) {
    to.sequence = from.sequence;
    to.vcpu = from.vcpu;
    to.kind = from.kind;
    to.retired = from.retired;
    to.hostTime = from.hostTime;
    to.guestTime = from.guestTime;
    to.handlerTime = from.handlerTime;
    to.rip = from.rip;
    to.csBase = from.csBase;
    to.cr0 = from.cr0;
    to.cr3 = from.cr3;
    to.cr4 = from.cr4;
    to.efer = from.efer;
    to.mode = from.mode;
    to.interruptState = from.interruptState;
    to.rflags = from.rflags;
    to.instructionLength = from.instructionLength;
    System.arraycopy(from.instruction, 0, to.instruction, 0, from.instruction.length);
    to.address = from.address;
    to.value = from.value;
    to.size = from.size;
    to.write = from.write;
    to.detail = from.detail;
    to.errorCode = from.errorCode;
    System.arraycopy(from.cpuid, 0, to.cpuid, 0, from.cpuid.length);
    to.walkCount = from.walkCount;
    System.arraycopy(from.walkAddress, 0, to.walkAddress, 0, from.walkCount);
    System.arraycopy(from.walkValue, 0, to.walkValue, 0, from.walkCount);
    to.writeCount = from.writeCount;
    System.arraycopy(from.writeAddress, 0, to.writeAddress, 0, from.writeCount);
    System.arraycopy(from.writeSize, 0, to.writeSize, 0, from.writeCount);
    System.arraycopy(from.writeValue, 0, to.writeValue, 0, from.writeCount);
    to.dataLength = from.dataLength;
    System.arraycopy(from.data, 0, to.data, 0, from.dataLength);
    System.arraycopy(from.registers, 0, to.registers, 0, from.registers.length);
  }
}
