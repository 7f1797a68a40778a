package dev.vmexit.vcpu.soft;

/**
 * Unwinds an instruction that raised a fault. One preallocated, stackless instance per vCPU, thrown
 * by {@link SoftCpu#raise}; the vector and the error code stand in the vCPU.
 */
public final class GuestFault extends RuntimeException {
  private static final long serialVersionUID = 1L;

  GuestFault() {
    super("guest fault", null, false, false);
  }
}
