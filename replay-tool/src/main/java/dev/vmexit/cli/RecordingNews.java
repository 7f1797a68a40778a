package dev.vmexit.cli;

import dev.vmexit.trace.RecorderListener;
import dev.vmexit.vm.RunEnd;
import dev.vmexit.vm.VirtualMachine;
import java.io.PrintWriter;
import java.nio.file.Path;

/** Tells the user, and the machine, how a recording fares. */
record RecordingNews(Path folder, Late<VirtualMachine> machine, boolean bounded, PrintWriter err)
    implements RecorderListener {
  @Override
  public void rolled() {
    if (bounded) {
      // Of what is kept each file shall have a place that a replay can start at.
      machine.ifSet(vm -> vm.commands().checkpoint());
    }
  }

  @Override
  public void failed(final String reason) {
    machine.ifSet(vm -> vm.commands().stop(RunEnd.RECORDER_FAILED));
  }

  @Override
  public void paused(final String reason) {
    say("the disk is full: the guest waits until there is room, or until the run is ended");
  }

  @Override
  public void resumed() {
    say("there is room again, the guest goes on");
  }

  private void say(final String what) {
    err.println("vmexit: " + folder + ": " + what);
    err.flush();
  }
}
