package dev.vmexit.device;

/** A wire from a device to the interrupt controllers. */
@FunctionalInterface
public interface InterruptLine {
  /** Drives the wire; edges are seen by the controller. */
  void set(boolean asserted);
}
