package dev.vmexit.vcpu.kvm;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/** Whether a vCPU was kicked, and whether it is in the guest: no kick is lost between the two. */
final class KickFlag {
  private static final VarHandle KICKED;
  private static final VarHandle IN_GUEST;

  static {
    try {
      final MethodHandles.Lookup lookup = MethodHandles.lookup();
      KICKED = lookup.findVarHandle(KickFlag.class, "kicked", boolean.class);
      IN_GUEST = lookup.findVarHandle(KickFlag.class, "inGuest", boolean.class);
    } catch (final ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  @SuppressWarnings("UnusedVariable") // through KICKED
  private boolean kicked;

  @SuppressWarnings("UnusedVariable") // through IN_GUEST
  private boolean inGuest;

  /** The vCPU is about to enter; whether it was kicked. */
  boolean entering() {
    // Pairs with kick(): either it sees us in guest and signals, or we see its mark here.
    IN_GUEST.setVolatile(this, true);
    return (boolean) KICKED.getVolatile(this);
  }

  /** The vCPU is out. */
  void left() {
    IN_GUEST.setOpaque(this, false);
  }

  /** Takes the kick, if there was one. */
  boolean take() {
    return (boolean) KICKED.getAndSet(this, false);
  }

  /** Kicks; whether a signal is needed, as the vCPU may be in the guest. Any thread. */
  boolean kick() {
    KICKED.setVolatile(this, true);
    // Pairs with entering(): sequentially consistent on both sides.
    return (boolean) IN_GUEST.getVolatile(this);
  }
}
