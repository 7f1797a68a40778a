package dev.vmexit.vm;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.VectorState;
import dev.vmexit.irq.Irqchip;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.mmu.Fault;
import dev.vmexit.mmu.PagingContext;
import dev.vmexit.mmu.PagingMode;
import dev.vmexit.mmu.ShadowMmu;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.TableWrites;
import dev.vmexit.vcpu.Vcpu;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.PageFaultError;
import dev.vmexit.x86.Seg;

/** What each record tells of its vCPU's state. */
final class RecordedState {
  private static final int REGISTERS = 16;

  private RecordedState() {}

  /** Fills in mode, control registers, flags and general registers as they stand. */
  static void fill(final ExitEvent e, final Vcpu vcpu, final long s) {
    e.retired = HostMemory.getLong(s + StateLayout.RETIRED);
    e.mode = vcpu.mode();
    e.csBase =
        (e.mode & ExitEvent.MODE_CODE_SIZE) == 8
            ? 0
            : HostMemory.getLong(s + StateLayout.segment(Seg.CS) + StateLayout.SEG_BASE);
    e.cr0 = HostMemory.getLong(s + StateLayout.CR0);
    e.cr3 = HostMemory.getLong(s + StateLayout.CR3);
    e.cr4 = HostMemory.getLong(s + StateLayout.CR4);
    e.efer = HostMemory.getLong(s + StateLayout.EFER);
    e.rflags = vcpu.rflags();
    e.interruptState = vcpu.interruptState();
    for (int i = 0; i < REGISTERS; i++) {
      e.registers[i] = HostMemory.getLong(s + StateLayout.GPR + i * 8L);
    }
  }

  /** A record beside an exit: it takes no time, and its rip is where the vCPU stands. */
  static ExitEvent beside(final ExitEvent e, final long s) {
    e.rip = HostMemory.getLong(s + StateLayout.RIP);
    e.guestTime = 0;
    e.handlerTime = 0;
    return e;
  }

  /** The PDPTEs are read when CR3 is loaded, so the record must show them to a replay. */
  static void pdptes(final ExitEvent e, final PagingContext context) {
    if (context.mode() == PagingMode.PAE) {
      e.walkCount = PagingContext.PDPTES;
      for (int i = 0; i < PagingContext.PDPTES; i++) {
        e.walkAddress[i] = PagingContext.pdpteAddress(context.cr3(), i);
        e.walkValue[i] = context.pdpte(i);
      }
    }
  }

  /** All that a replay must know of what came before, with shadow tables that begin anew. */
  static void checkpoint(final ExitEvent e, final Irqchip irqchip, final ShadowMmu shadow) {
    e.detail = ExitEvent.KICK_CHECKPOINT;
    irqchip.saveVectors(e.vcpu, e.data);
    e.dataLength = VectorState.LENGTH;
    if (shadow != null) {
      pdptes(e, shadow.context());
      shadow.flushAll();
    }
  }

  /** A page of guest memory that the host had to be asked for; no gva is known. */
  static void hostFault(final ExitEvent e, final int outcome) {
    e.detail = outcome;
    e.address = 0;
    e.errorCode = e.write ? PageFaultError.WRITE : 0;
  }

  /** The bytes of the instruction that led to an exit. */
  static void instruction(final ExitEvent e, final VcpuExit exit) {
    e.instruction(exit.instruction, exit.instructionLength);
  }

  /** What an exit wants. */
  static void payload(final ExitEvent e, final VcpuExit exit) {
    e.address = exit.address;
    e.value = exit.value;
    e.size = exit.size;
    e.write = exit.write;
  }

  /** What the shadow MMU concluded of a fault, and the entries that it read for that. */
  static void fault(final ExitEvent e, final int errorCode, final Fault fault) {
    e.detail = fault.outcome;
    e.value = fault.gpa;
    e.errorCode = errorCode;
    e.walkCount = fault.walk.count;
    for (int i = 0; i < fault.walk.count; i++) {
      e.walkAddress[i] = fault.walk.entryAddress[i];
      e.walkValue[i] = fault.walk.entryValue[i];
    }
  }

  /** What an emulated instruction wrote to the guest's tables. */
  static void tableWrites(final ExitEvent e, final TableWrites writes) {
    e.writeCount = writes.count();
    for (int i = 0; i < e.writeCount; i++) {
      e.writeAddress[i] = writes.gpa(i);
      e.writeSize[i] = writes.size(i);
      e.writeValue[i] = writes.value(i);
    }
  }

  /** All elements of a string, the first of them as the value. */
  static void elements(final ExitEvent e, final VcpuExit exit) {
    e.dataLength = exit.count * exit.size;
    System.arraycopy(exit.data, 0, e.data, 0, e.dataLength);
    e.value = littleEndian(exit.data, exit.size);
  }

  /** The number that some first bytes are. */
  static long littleEndian(final byte[] bytes, final int length) {
    long value = 0;
    for (int i = 0; i < length; i++) {
      value |= (bytes[i] & 0xFFL) << 8 * i;
    }
    return value;
  }
}
