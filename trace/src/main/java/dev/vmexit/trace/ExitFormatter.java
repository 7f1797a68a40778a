package dev.vmexit.trace;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.KernelEvent;
import dev.vmexit.memory.MemoryMap;
import dev.vmexit.mmu.ShadowMmu;
import dev.vmexit.x86.PageFaultError;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.decode.Decoder;
import dev.vmexit.x86.decode.Disassembler;
import dev.vmexit.x86.decode.Instruction;

/**
 * Writes exits as text, one a line: sequence, retired instructions, kind, rip, what happened, the
 * instruction. Reused; not thread-safe.
 */
public final class ExitFormatter {
  private static final int DETAIL_COLUMN = 59;
  private static final int TEXT_COLUMN = 34;

  private final Decoder decoder = new Decoder();
  private final Instruction instruction = new Instruction();

  /** Appends one line, with no end of line. */
  public void line(final ExitEvent event, final StringBuilder out) {
    final int start = out.length();
    right(Long.toString(event.sequence), 8, out);
    right(Long.toString(event.retired), 14, out);
    out.append(' ').append(event.kind);
    pad(out, start + TEXT_COLUMN);
    hex(event.rip, 16, out);
    out.append("  ");
    detail(event, out);
    if (event.instructionLength > 0) {
      pad(out, start + TEXT_COLUMN + DETAIL_COLUMN);
      out.append("; ");
      disassembly(event, out);
    }
  }

  /** Appends the instruction that exits; nothing where no bytes were recorded. */
  public void disassembly(final ExitEvent event, final StringBuilder out) {
    if (event.instructionLength > 0) {
      decoder.decode(
          event.instruction,
          0,
          event.instructionLength,
          event.mode & ExitEvent.MODE_CODE_SIZE,
          instruction);
      Disassembler.format(instruction, event.rip, out);
    }
  }

  /** Appends what happened, without the instruction. */
  public static void detail(final ExitEvent event, final StringBuilder out) {
    switch (event.kind) {
      case PIO -> access(event, event.write ? "out " : "in ", out);
      case MMIO -> access(event, event.write ? "write " : "read ", out);
      case PAGE_FAULT -> pageFault(event, out);
      case CR -> {
        out.append("cr").append(event.address).append(" = ");
        hex(event.value, out);
      }
      case MSR -> {
        out.append(event.write ? "wrmsr " : "rdmsr ");
        hex(event.address, out);
        out.append(" = ");
        hex(event.value, out);
        out.append(event.detail == 1 ? " #GP" : "");
      }
      case CPUID -> {
        out.append("leaf ");
        hex(event.address, out);
        out.append('.').append(event.value).append(" =");
        for (final int register : event.cpuid) {
          out.append(' ');
          hex(register & 0xFFFF_FFFFL, out);
        }
      }
      case HLT -> out.append(event.detail == 0 ? "interrupts off" : "interrupts on");
      case INVLPG -> hex(event.address, out);
      case TSC -> {
        out.append(event.address == 0 ? "rdtsc = " : "rdtscp = ");
        hex(event.value, out);
      }
      case INJECT -> injection(event, out);
      case DMA -> {
        hex(event.address, out);
        out.append(" length ").append(event.value);
      }
      case SHUTDOWN -> out.append(shutdown(event.detail));
      case GAP ->
          out.append(event.value)
              .append(" records missing from ")
              .append(event.address)
              .append(gap(event.detail));
      case DEBUG -> {
        if (event.detail == ExitEvent.DEBUG_MEMORY) {
          out.append(MemoryMap.text(event.value));
        }
      }
      case KERNEL -> kernel(event, out);
      case KICK -> out.append(event.detail == ExitEvent.KICK_CHECKPOINT ? "checkpoint" : "");
      case IRQ_WINDOW -> {}
    }
  }

  private static void access(
      final ExitEvent event, final String operation, final StringBuilder out) {
    out.append(operation);
    hex(event.address, out);
    out.append('/').append(event.size).append(" = ");
    hex(event.value, out);
  }

  private static void pageFault(final ExitEvent event, final StringBuilder out) {
    out.append(outcome(event.detail));
    if (!event.isHostFault()) {
      out.append(" gva ");
      hex(event.address, out);
    }
    if (event.detail != ExitEvent.PF_REFLECTED) {
      out.append(" gpa ");
      hex(event.value, out);
    }
    out.append(' ');
    errorCode(event.errorCode, out);
    for (int i = 0; i < event.writeCount; i++) {
      out.append(" [");
      hex(event.writeAddress[i], out);
      out.append('/').append(event.writeSize[i]).append("]=");
      hex(event.writeValue[i], out);
    }
  }

  /** The tracepoint, and its fields by the kernel's own names. */
  private static void kernel(final ExitEvent event, final StringBuilder out) {
    final KernelEvent what = KernelEvent.of(event.detail).orElse(null);
    if (what == null) {
      out.append("tracepoint ").append(event.detail);
      return;
    }
    out.append(what.shortName());
    if (what == KernelEvent.LOST) {
      out.append(' ')
          .append(event.value == 0 ? "some" : Long.toString(event.value))
          .append(" events: they came faster than they were taken");
    }
    if (what == KernelEvent.EMULATE_INSN) {
      // "failed 0x0" would read as if it had.
      out.append(event.write ? " failed" : "");
      return;
    }
    field(what, KernelEvent.Place.ADDRESS, event.address, out);
    field(what, KernelEvent.Place.VALUE, event.value, out);
    field(what, KernelEvent.Place.SIZE, event.size, out);
    field(what, KernelEvent.Place.WRITE, event.write ? 1 : 0, out);
    field(what, KernelEvent.Place.ERROR, event.errorCode & 0xFFFF_FFFFL, out);
  }

  private static void field(
      final KernelEvent what,
      final KernelEvent.Place place,
      final long value,
      final StringBuilder out) {
    what.field(place).ifPresent(name -> hex(value, out.append(' ').append(name).append(' ')));
  }

  private static void injection(final ExitEvent event, final StringBuilder out) {
    final int vector = (int) event.address;
    switch (event.detail) {
      case ExitEvent.INJECT_INTERRUPT -> {
        out.append("interrupt ");
        hex(vector, out);
        if (event.value >= 0) {
          out.append(" after ").append(event.value).append(" ns");
        }
      }
      case ExitEvent.INJECT_NMI -> out.append("NMI");
      default -> {
        out.append(Vector.name(vector));
        if (event.write) {
          out.append(" error ");
          hex(event.errorCode & 0xFFFF_FFFFL, out);
        }
      }
    }
  }

  /** Name of a page fault's outcome. */
  public static String outcome(final int detail) {
    return switch (detail) {
      case ExitEvent.PF_FILLED -> "filled";
      case ExitEvent.PF_REFLECTED -> "reflected";
      case ExitEvent.PF_TABLE_WRITE -> "table-write";
      case ExitEvent.PF_NO_SLOT -> "no-slot";
      case ExitEvent.PF_READ_ONLY -> "read-only";
      case ExitEvent.PF_FIRST_TOUCH -> "first-touch";
      case ExitEvent.PF_FIRST_WRITE -> "first-write";
      default -> "outcome " + detail;
    };
  }

  private static String gap(final int detail) {
    return switch (detail) {
      case ExitEvent.GAP_DROPPED -> ", dropped";
      case ExitEvent.GAP_DAMAGED -> ", damaged";
      case ExitEvent.GAP_NOT_KEPT -> ", not kept";
      default -> "";
    };
  }

  private static String shutdown(final int detail) {
    return switch (detail) {
      case ExitEvent.SHUTDOWN_TRIPLE_FAULT -> "triple fault";
      case ExitEvent.SHUTDOWN_POWER_OFF -> "power off";
      case ExitEvent.SHUTDOWN_RESET -> "reset";
      case ExitEvent.SHUTDOWN_DEBUG_EXIT -> "debug exit";
      default -> "shutdown " + detail;
    };
  }

  private static void errorCode(final int code, final StringBuilder out) {
    out.append((code & PageFaultError.FETCH) != 0 ? "fetch" : "");
    if ((code & PageFaultError.FETCH) == 0) {
      out.append((code & PageFaultError.WRITE) != 0 ? "write" : "read");
    }
    out.append((code & PageFaultError.USER) != 0 ? " user" : "");
    out.append((code & PageFaultError.PRESENT) != 0 ? " present" : "");
    out.append((code & ShadowMmu.ERROR_SMAP_OVERRIDE) != 0 ? " ac" : "");
    out.append((code & (ShadowMmu.ERROR_KEYS | ShadowMmu.ERROR_KEY_0)) != 0 ? " keys" : "");
  }

  private static void hex(final long value, final StringBuilder out) {
    out.append("0x").append(Long.toHexString(value));
  }

  private static void hex(final long value, final int digits, final StringBuilder out) {
    final String text = Long.toHexString(value);
    out.repeat('0', digits - text.length()).append(text);
  }

  private static void right(final String text, final int width, final StringBuilder out) {
    out.repeat(' ', Math.max(0, width - text.length())).append(text);
  }

  private static void pad(final StringBuilder out, final int column) {
    out.repeat(' ', Math.max(1, column - out.length()));
  }
}
