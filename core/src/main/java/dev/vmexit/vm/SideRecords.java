package dev.vmexit.vm;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitSink;
import dev.vmexit.exit.KernelEvent;
import dev.vmexit.irq.Irqchip;
import dev.vmexit.mmu.ShadowMmu;
import dev.vmexit.vcpu.KernelEvents;
import dev.vmexit.vcpu.Vcpu;

/**
 * Records of one vCPU that are no exits of their own: events injected before an entry, and what
 * devices do to memory while an exit is handled, or while the vCPU sleeps. They take no time; those
 * of devices stand before the record of the exit.
 */
final class SideRecords implements RecordedDma.Listener {
  private final int number;
  private final Vcpu vcpu;
  private final ExitSink sink;
  private final LastExits lastExits;

  /** Of its own, as another record may be under way. */
  private final ExitEvent event = new ExitEvent();

  private long hostTime;

  /** Time of the last event of the kernel's, or of the exit behind them. */
  private long lastKernel;

  private long count;

  SideRecords(final int number, final Vcpu vcpu, final ExitSink sink, final LastExits lastExits) {
    this.number = number;
    this.vcpu = vcpu;
    this.sink = sink;
    this.lastExits = lastExits;
  }

  /** Tells when the vCPU left the guest, ns since the run began: the time of what follows. */
  void at(final long time) {
    hostTime = time;
  }

  /** How many there were, recorded or not. */
  long count() {
    return count;
  }

  /**
   * An event was injected.
   *
   * @param type INJECT_* of {@link ExitEvent}
   * @param waited since its request, ns, or -1
   */
  void injection(
      final int vector,
      final int type,
      final long waited,
      final boolean hasErrorCode,
      final int errorCode) {
    if (begin(ExitKind.INJECT)) {
      event.address = vector;
      event.value = waited;
      event.detail = type;
      event.write = hasErrorCode;
      event.errorCode = errorCode;
      end();
    }
  }

  @Override
  public void dmaWritten(final long gpa, final byte[] from, final int at, final int length) {
    for (int done = 0; done < length; done += ExitEvent.MAX_DATA) {
      final int bytes = Math.min(ExitEvent.MAX_DATA, length - done);
      if (begin(ExitKind.DMA)) {
        event.address = gpa + done;
        event.value = bytes;
        event.write = true;
        event.dataLength = bytes;
        System.arraycopy(from, at + done, event.data, 0, bytes);
        end();
      }
    }
  }

  /** All that a replay must know to start here; shadow tables begin anew. */
  void checkpoint(final Irqchip irqchip, final ShadowMmu shadow) {
    if (begin(ExitKind.KICK)) {
      RecordedState.checkpoint(event, irqchip, shadow);
      end();
    }
  }

  /** What memory there is has changed. */
  void memoryMapped(final long state) {
    if (begin(ExitKind.DEBUG)) {
      event.detail = ExitEvent.DEBUG_MEMORY;
      event.value = state;
      end();
    }
  }

  /**
   * What the host's kernel did before the exit that is to be told; each has a time of its own,
   * between those of the records around it. Ends, as nothing is added before the next entry.
   *
   * @param started when the run began, by the host's clock
   */
  void kernel(final KernelEvents events, final long started) {
    while (events.hasNext()) {
      begin(ExitKind.KERNEL);
      events.next(event);
      event.hostTime = Math.min(Math.max(event.hostTime - started, lastKernel), hostTime);
      lastKernel = event.hostTime;
      // Not among the last exits: those of a guest that died would be hidden behind these.
      sink.write(event);
    }
    lastKernel = hostTime;
  }

  /**
   * The run ends: what was lost of the kernel's events, and not told of, is told.
   *
   * @param events null where nobody wanted them
   */
  void kernelEnds(final KernelEvents events) {
    final long lost = events == null ? 0 : events.untold();
    if (lost > 0) {
      begin(ExitKind.KERNEL);
      event.detail = KernelEvent.LOST.ordinal();
      event.value = lost;
      sink.write(event);
    }
  }

  /** The machine was reset by one of its devices, and starts again. */
  void reset() {
    if (begin(ExitKind.SHUTDOWN)) {
      event.detail = ExitEvent.SHUTDOWN_RESET;
      end();
    }
  }

  private boolean begin(final ExitKind kind) {
    count++;
    if (!sink.wants(kind)) {
      return false;
    }
    event.clearPayload();
    event.vcpu = number;
    event.kind = kind;
    event.hostTime = hostTime;
    RecordedState.fill(event, vcpu, vcpu.state());
    RecordedState.beside(event, vcpu.state());
    return true;
  }

  private void end() {
    lastExits.add(event);
    sink.write(event);
  }
}
