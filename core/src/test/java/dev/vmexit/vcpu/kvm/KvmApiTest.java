package dev.vmexit.vcpu.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Our numbers and layouts against the C headers of this host. */
final class KvmApiTest {
  /** Younger than the headers of Debian 11: left out where the header lacks them. */
  private static final int MIN_CHECKED = 100;

  @TempDir private Path folder;

  @Test
  void shouldAgreeWithTheHeadersWhenThereIsACompiler() throws Exception {
    final Map<String, Long> ours = new LinkedHashMap<>();
    for (final Field field : KvmApi.class.getDeclaredFields()) {
      if (Modifier.isStatic(field.getModifiers()) && !field.getName().equals("VERSION")) {
        final long value = field.getType() == long.class ? field.getLong(null) : field.getInt(null);
        ours.put(
            field.getName().startsWith("INTERNAL_ERROR_")
                ? "KVM_INTERNAL_ERROR_EMULATION"
                : "KVM_" + field.getName(),
            value);
      }
    }
    ours.put("KVM_API_VERSION", (long) KvmApi.VERSION);
    layouts(ours);
    faults(ours);
    final Map<String, Long> theirs = compileAndRun(new ArrayList<>(ours.keySet()));
    assertTrue(theirs.size() >= MIN_CHECKED, () -> "only " + theirs.size() + " could be checked");
    ours.keySet().retainAll(theirs.keySet());
    assertEquals(theirs, new TreeMap<>(ours));
  }

  private static void offset(
      final Map<String, Long> to, final String struct, final String field, final long value) {
    to.put("offsetof(struct " + struct + ", " + field + ")", value);
  }

  private static void layouts(final Map<String, Long> to) {
    offset(to, "kvm_run", "request_interrupt_window", KvmRun.REQUEST_INTERRUPT_WINDOW);
    offset(to, "kvm_run", "immediate_exit", KvmRun.IMMEDIATE_EXIT);
    offset(to, "kvm_run", "exit_reason", KvmRun.EXIT_REASON);
    offset(to, "kvm_run", "ready_for_interrupt_injection", KvmRun.READY_FOR_INTERRUPT_INJECTION);
    offset(to, "kvm_run", "if_flag", KvmRun.IF_FLAG);
    offset(to, "kvm_run", "flags", KvmRun.FLAGS);
    offset(to, "kvm_run", "cr8", KvmRun.CR8);
    offset(to, "kvm_run", "apic_base", KvmRun.APIC_BASE);
    offset(to, "kvm_run", "hw.hardware_exit_reason", KvmRun.HARDWARE_REASON);
    offset(to, "kvm_run", "fail_entry.hardware_entry_failure_reason", KvmRun.HARDWARE_REASON);
    offset(to, "kvm_run", "io.direction", KvmRun.IO_DIRECTION);
    offset(to, "kvm_run", "io.size", KvmRun.IO_SIZE);
    offset(to, "kvm_run", "io.port", KvmRun.IO_PORT);
    offset(to, "kvm_run", "io.count", KvmRun.IO_COUNT);
    offset(to, "kvm_run", "io.data_offset", KvmRun.IO_DATA_OFFSET);
    offset(to, "kvm_run", "mmio.phys_addr", KvmRun.MMIO_GPA);
    offset(to, "kvm_run", "mmio.data", KvmRun.MMIO_DATA);
    offset(to, "kvm_run", "mmio.len", KvmRun.MMIO_LENGTH);
    offset(to, "kvm_run", "mmio.is_write", KvmRun.MMIO_IS_WRITE);
    offset(to, "kvm_run", "debug.arch.exception", KvmRun.DEBUG_EXCEPTION);
    offset(to, "kvm_run", "debug.arch.pc", KvmRun.DEBUG_PC);
    offset(to, "kvm_run", "debug.arch.dr6", KvmRun.DEBUG_DR6);
    offset(to, "kvm_run", "debug.arch.dr7", KvmRun.DEBUG_DR7);
    offset(to, "kvm_run", "internal.suberror", KvmRun.INTERNAL_SUBERROR);
    offset(to, "kvm_run", "internal.ndata", KvmRun.INTERNAL_DATA_COUNT);
    offset(to, "kvm_run", "internal.data", KvmRun.INTERNAL_DATA);
    offset(to, "kvm_run", "system_event.type", KvmRun.SYSTEM_EVENT_TYPE);
    offset(to, "kvm_run", "msr.error", KvmRun.MSR_ERROR);
    offset(to, "kvm_run", "msr.reason", KvmRun.MSR_REASON);
    offset(to, "kvm_run", "msr.index", KvmRun.MSR_INDEX);
    offset(to, "kvm_run", "msr.data", KvmRun.MSR_DATA);
    offset(to, "kvm_run", "kvm_valid_regs", KvmRun.VALID_REGISTERS);
    offset(to, "kvm_run", "kvm_dirty_regs", KvmRun.DIRTY_REGISTERS);
    offset(to, "kvm_run", "s.regs.regs", KvmRun.REGS);
    offset(to, "kvm_run", "s.regs.sregs", KvmRun.SREGS);
    offset(to, "kvm_run", "s.regs.events", KvmRun.EVENTS);
    offset(to, "kvm_guest_debug", "control", KvmDebug.CONTROL);
    offset(to, "kvm_guest_debug", "arch.debugreg", KvmDebug.REGISTERS);
    to.put("sizeof(struct kvm_guest_debug)", (long) KvmDebug.SIZE);
    to.put("sizeof(struct kvm_regs)", (long) KvmRun.REGS_SIZE);
    to.put("sizeof(struct kvm_sregs)", (long) KvmSregs.SIZE);
    to.put("sizeof(struct kvm_segment)", (long) KvmSregs.SEGMENT_SIZE);
    to.put("sizeof(struct kvm_vcpu_events)", (long) KvmEvents.SIZE);
    to.put("sizeof(struct kvm_xsave)", (long) KvmXsave.SIZE);
    to.put("sizeof(struct kvm_cpuid_entry2)", KvmCpuid.bytes(1) - KvmCpuid.bytes(0));
    offset(to, "kvm_sregs", "cs", KvmSregs.CS);
    offset(to, "kvm_sregs", "ss", KvmSregs.SS);
    offset(to, "kvm_sregs", "gdt", KvmSregs.GDT);
    offset(to, "kvm_sregs", "idt", KvmSregs.IDT);
    offset(to, "kvm_sregs", "cr0", KvmSregs.CR0);
    offset(to, "kvm_sregs", "cr2", KvmSregs.CR2);
    offset(to, "kvm_sregs", "cr3", KvmSregs.CR3);
    offset(to, "kvm_sregs", "cr4", KvmSregs.CR4);
    offset(to, "kvm_sregs", "cr8", KvmSregs.CR8);
    offset(to, "kvm_sregs", "efer", KvmSregs.EFER);
    offset(to, "kvm_sregs", "apic_base", KvmSregs.APIC_BASE);
    offset(to, "kvm_sregs", "interrupt_bitmap", KvmSregs.INTERRUPT_BITMAP);
    offset(to, "kvm_segment", "base", KvmSregs.SEGMENT_BASE);
    offset(to, "kvm_segment", "limit", KvmSregs.SEGMENT_LIMIT);
    offset(to, "kvm_segment", "selector", KvmSregs.SEGMENT_SELECTOR);
    offset(to, "kvm_segment", "type", KvmSregs.SEGMENT_TYPE);
    offset(to, "kvm_segment", "present", KvmSregs.SEGMENT_PRESENT);
    offset(to, "kvm_segment", "dpl", KvmSregs.SEGMENT_DPL);
    offset(to, "kvm_segment", "db", KvmSregs.SEGMENT_DB);
    offset(to, "kvm_segment", "s", KvmSregs.SEGMENT_S);
    offset(to, "kvm_segment", "l", KvmSregs.SEGMENT_L);
    offset(to, "kvm_segment", "g", KvmSregs.SEGMENT_G);
    offset(to, "kvm_segment", "avl", KvmSregs.SEGMENT_AVL);
    offset(to, "kvm_segment", "unusable", KvmSregs.SEGMENT_UNUSABLE);
    offset(to, "kvm_dtable", "limit", KvmSregs.TABLE_LIMIT);
    offset(to, "kvm_vcpu_events", "exception.injected", KvmEvents.EXCEPTION_INJECTED);
    offset(to, "kvm_vcpu_events", "exception.nr", KvmEvents.EXCEPTION_VECTOR);
    offset(to, "kvm_vcpu_events", "exception.has_error_code", KvmEvents.EXCEPTION_HAS_ERROR_CODE);
    offset(to, "kvm_vcpu_events", "exception.error_code", KvmEvents.EXCEPTION_ERROR_CODE);
    offset(to, "kvm_vcpu_events", "interrupt.injected", KvmEvents.INTERRUPT_INJECTED);
    offset(to, "kvm_vcpu_events", "interrupt.shadow", KvmEvents.INTERRUPT_SHADOW);
    offset(to, "kvm_vcpu_events", "nmi.injected", KvmEvents.NMI_INJECTED);
    offset(to, "kvm_vcpu_events", "nmi.pending", KvmEvents.NMI_PENDING);
    offset(to, "kvm_vcpu_events", "nmi.masked", KvmEvents.NMI_MASKED);
    offset(to, "kvm_vcpu_events", "flags", KvmEvents.FLAGS);
  }

  private static void faults(final Map<String, Long> to) {
    to.put("UFFDIO_API", Userfaultfd.API);
    to.put("UFFDIO_REGISTER", Userfaultfd.REGISTER);
    to.put("UFFDIO_WAKE", Userfaultfd.WAKE);
    to.put("UFFDIO_COPY", Userfaultfd.COPY);
    to.put("UFFDIO_WRITEPROTECT", Userfaultfd.WRITEPROTECT);
    to.put("UFFDIO_CONTINUE", Userfaultfd.CONTINUE);
    to.put("UFFD_API", Userfaultfd.API_VERSION);
    to.put("UFFD_EVENT_PAGEFAULT", (long) Userfaultfd.EVENT_PAGEFAULT);
    to.put("UFFD_PAGEFAULT_FLAG_WRITE", (long) Userfaultfd.FLAG_WRITE);
    to.put("UFFD_PAGEFAULT_FLAG_WP", (long) Userfaultfd.FLAG_WP);
    to.put("UFFD_PAGEFAULT_FLAG_MINOR", (long) Userfaultfd.FLAG_MINOR);
    to.put("UFFD_FEATURE_PAGEFAULT_FLAG_WP", Userfaultfd.FEATURE_PAGEFAULT_FLAG_WP);
    to.put("UFFD_FEATURE_MISSING_SHMEM", Userfaultfd.FEATURE_MISSING_SHMEM);
    to.put("UFFD_FEATURE_THREAD_ID", Userfaultfd.FEATURE_THREAD_ID);
    to.put("UFFD_FEATURE_MINOR_SHMEM", Userfaultfd.FEATURE_MINOR_SHMEM);
    to.put("UFFD_FEATURE_WP_HUGETLBFS_SHMEM", Userfaultfd.FEATURE_WP_HUGETLBFS_SHMEM);
    to.put("UFFDIO_REGISTER_MODE_MISSING", Userfaultfd.MODE_MISSING);
    to.put("UFFDIO_REGISTER_MODE_WP", Userfaultfd.MODE_WP);
    to.put("UFFDIO_REGISTER_MODE_MINOR", Userfaultfd.MODE_MINOR);
    to.put("UFFDIO_COPY_MODE_WP", Userfaultfd.COPY_MODE_WP);
    to.put("sizeof(struct uffd_msg)", (long) Userfaultfd.MESSAGE_SIZE);
    offset(to, "uffd_msg", "arg.pagefault.flags", Userfaultfd.FAULT_FLAGS);
    offset(to, "uffd_msg", "arg.pagefault.address", Userfaultfd.FAULT_ADDRESS);
    offset(to, "uffd_msg", "arg.pagefault.feat.ptid", Userfaultfd.FAULT_THREAD);
    offset(to, "kvm_irqchip", "chip.pic.elcr", KvmIrqchip.PIC_ELCR);
    offset(to, "kvm_irq_routing", "entries", KvmIrqchip.ROUTING_HEADER);
    offset(to, "kvm_irq_routing_entry", "type", KvmIrqchip.ROUTE_TYPE);
    offset(to, "kvm_irq_routing_entry", "u.irqchip.irqchip", KvmIrqchip.ROUTE_CHIP);
    offset(to, "kvm_irq_routing_entry", "u.irqchip.pin", KvmIrqchip.ROUTE_PIN);
    offset(to, "kvm_irqfd", "gsi", KvmIrqchip.IRQFD_GSI);
    to.put("sizeof(struct kvm_irq_routing_entry)", (long) KvmIrqchip.ROUTE_SIZE);
    to.put("sizeof(struct kvm_pit_config)", (long) KvmIrqchip.PIT_CONFIG_SIZE);
    to.put("sizeof(struct kvm_irqchip)", (long) KvmIrqchip.CHIP_SIZE);
    to.put("sizeof(struct kvm_irqfd)", (long) KvmIrqchip.IRQFD_SIZE);
    to.put("sizeof(struct kvm_irq_level)", (long) KvmIrqchip.LEVEL_SIZE);
  }

  /** What the header says of each expression; one that it does not know is left out. */
  private Map<String, Long> compileAndRun(final List<String> expressions) throws Exception {
    final StringBuilder source = new StringBuilder();
    source.append(
        "#include <linux/kvm.h>\n#include <linux/userfaultfd.h>\n#include <stddef.h>\n#include <stdio.h>\nint main() {\n");
    for (final String expression : expressions) {
      source.append(
          "printf(\"" + expression + "=%llu\\n\", (unsigned long long)(" + expression + "));\n");
    }
    source.append("return 0; }\n");
    final Path file = folder.resolve("layout.c");
    Files.writeString(file, source.toString());
    final Path binary = folder.resolve("layout");
    final String compiled =
        run(List.of("cc", "-w", "-o", binary.toString(), file.toString()), "a C compiler (cc)");
    if (!Files.exists(binary)) {
      Assumptions.abort(
          "SKIPPED, layouts not compared: linux/kvm.h is absent or older: "
              + compiled.lines().findFirst().orElse(""));
    }
    final Map<String, Long> values = new TreeMap<>();
    run(List.of(binary.toString()), "the compiled program")
        .lines()
        .forEach(
            line -> {
              final int at = line.lastIndexOf('=');
              values.put(line.substring(0, at), Long.parseUnsignedLong(line.substring(at + 1)));
            });
    return values;
  }

  private static String run(final List<String> command, final String what) throws Exception {
    final Process process;
    try {
      process = new ProcessBuilder(command).redirectErrorStream(true).start();
    } catch (final IOException e) {
      Assumptions.abort("SKIPPED, layouts not compared: " + what + " is absent");
      throw e;
    }
    final String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    process.waitFor();
    return text;
  }
}
