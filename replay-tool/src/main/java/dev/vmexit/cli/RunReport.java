package dev.vmexit.cli;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vm.RunResult;
import dev.vmexit.vm.VirtualMachine;
import java.io.PrintWriter;
import java.util.Locale;

/** Says how a run ended, in words, and which exit status that is. */
final class RunReport {
  private static final String[] REGISTERS = {
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15"
  };

  private RunReport() {}

  static int print(
      final PrintWriter err,
      final RunResult result,
      final boolean builtIn,
      final String trouble,
      final VirtualMachine vm) {
    final String panic = builtIn ? null : trouble;
    final int status =
        switch (result.end()) {
          case POWER_OFF -> {
            if (builtIn && trouble != null) {
              err.println("vmexit: the built-in guest found this machine wrong: " + trouble);
              yield ExitStatus.ERROR;
            }
            err.println("vmexit: the guest powered off");
            yield ExitStatus.OK;
          }
          case STOPPED -> {
            err.println("vmexit: stopped");
            yield ExitStatus.OK;
          }
          case TEXT_SEEN -> {
            err.println("vmexit: the text of --exit-on was seen");
            yield ExitStatus.OK;
          }
          case TRIGGERED -> {
            err.println("vmexit: the exit of --stop-when came; the last exits:");
            died(err, vm);
            yield ExitStatus.OK;
          }
          case RESET -> {
            if (panic != null) {
              err.println("vmexit: the guest's kernel panicked: " + panic);
              yield ExitStatus.PANIC;
            }
            err.println("vmexit: the guest reset the machine by its " + result.detail());
            yield ExitStatus.RESET;
          }
          case TRIPLE_FAULT -> {
            err.println("vmexit: the guest died of a triple fault; its last exits:");
            died(err, vm);
            yield ExitStatus.TRIPLE_FAULT;
          }
          case HALTED -> {
            if (panic != null) {
              err.println("vmexit: the guest's kernel panicked: " + panic);
              yield ExitStatus.PANIC;
            }
            err.println(
                "vmexit: the guest halted with interrupts disabled: nothing can wake it;"
                    + " its last exits:");
            died(err, vm);
            yield ExitStatus.HALTED;
          }
          case TIMEOUT -> {
            if (panic != null) {
              err.println("vmexit: --timeout is over; the guest's kernel panicked: " + panic);
              yield ExitStatus.PANIC;
            }
            err.println("vmexit: --timeout is over; its last exits:");
            died(err, vm);
            yield ExitStatus.TIMEOUT;
          }
          case RECORDER_FAILED -> {
            err.println("vmexit: stopped, as the recording could not go on");
            yield ExitStatus.RECORDING_FAILED;
          }
          case VCPU_FAILED -> {
            err.println("vmexit: the vCPU cannot go on: " + result.detail() + "; its last exits:");
            died(err, vm);
            yield ExitStatus.VCPU_FAILED;
          }
          case DEBUG_EXIT -> {
            err.println("vmexit: the guest ended the run with status " + result.status());
            yield result.status() & 0xFF;
          }
        };
    if (result.retired() > 0) {
      err.printf(
          Locale.ROOT, "vmexit: %,d instructions, %,d exits%n", result.retired(), result.exits());
    } else {
      // KVM does not count instructions.
      err.printf(Locale.ROOT, "vmexit: %,d exits%n", result.exits());
    }
    err.flush();
    return status;
  }

  private static void died(final PrintWriter err, final VirtualMachine vm) {
    vm.lastExits().forEach(line -> err.println("  " + line));
    final long state = vm.vcpu().state();
    for (int i = 0; i < REGISTERS.length; i++) {
      err.printf(
          Locale.ROOT,
          "  %-3s %016x%s",
          REGISTERS[i],
          HostMemory.getLong(state + StateLayout.GPR + i * 8L),
          i % 3 == 2 ? "\n" : "");
    }
    err.printf(
        Locale.ROOT,
        "  rip %016x%n  cr0 %016x  cr2 %016x  cr3 %016x%n  cr4 %016x  efer %015x  rflags %013x%n",
        HostMemory.getLong(state + StateLayout.RIP),
        HostMemory.getLong(state + StateLayout.CR0),
        HostMemory.getLong(state + StateLayout.CR2),
        HostMemory.getLong(state + StateLayout.CR3),
        HostMemory.getLong(state + StateLayout.CR4),
        HostMemory.getLong(state + StateLayout.EFER),
        vm.vcpu().rflags());
  }
}
