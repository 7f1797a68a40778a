package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.Vector;

/**
 * The event to deliver before the next instruction, and the rules for an exception that is met
 * while another event is on its way (SDM Vol. 3A, table 6-5).
 */
final class PendingEvent {
  private static final int CLASS_BENIGN = 0;
  private static final int CLASS_CONTRIBUTORY = 1;
  private static final int CLASS_PAGE_FAULT = 2;

  private final EventDelivery delivery;
  private final Attention attention;

  private int vector = -1;
  private int type;
  private boolean hasErrorCode;
  private int errorCode;

  /** An interrupt whose delivery faulted: delivered after the fault's handler has run. */
  private int deferredInterrupt;

  /** Type of the event that the delivery now running leads to, or -1. */
  private int followUp = -1;

  private boolean tripleFault;

  PendingEvent(final EventDelivery delivery, final Attention attention) {
    this.delivery = delivery;
    this.attention = attention;
  }

  /** Nothing is on its way any more. */
  void reset() {
    vector = -1;
    followUp = -1;
    tripleFault = false;
  }

  boolean isPending() {
    return vector >= 0;
  }

  /** An exception while a double fault was delivered: nothing goes on any more. */
  boolean isTripleFault() {
    return tripleFault;
  }

  /** Whether the event is the second half of a task switch. */
  boolean isTaskLoad() {
    return type == EventDelivery.TASK_LOAD;
  }

  /** Puts an event in place of what is pending. */
  void set(
      final int newVector,
      final int newType,
      final boolean newHasErrorCode,
      final int newErrorCode) {
    vector = newVector;
    type = newType;
    hasErrorCode = newHasErrorCode;
    errorCode = newErrorCode;
  }

  /** Has the deferred interrupt be the next event. */
  void takeDeferred() {
    set(deferredInterrupt, EventDelivery.EXTERNAL, false, 0);
  }

  /** Delivers; a fault leaves the event pending, as the one that the fault was met in. */
  void deliver() {
    delivery.deliver(vector, type, hasErrorCode, errorCode);
    vector = -1;
  }

  /** After a delivery: what it leads to is pending now. */
  void followUp() {
    if (followUp >= 0) {
      set(followUp == EventDelivery.TRAP ? Vector.DB : 0, followUp, false, 0);
      followUp = -1;
    }
  }

  /** A trap, unless something else comes first. */
  void trap(final int newVector) {
    if (vector < 0) {
      set(newVector, EventDelivery.TRAP, false, 0);
    }
  }

  /** Has a new task's segments loaded before anything else happens in it. */
  void loadTask() {
    if (vector < 0) {
      set(0, EventDelivery.TASK_LOAD, false, 0);
    } else {
      followUp = EventDelivery.TASK_LOAD;
    }
  }

  /** A #DB right after the delivery that runs: the new task's trap bit. */
  void trapTask() {
    followUp = EventDelivery.TRAP;
  }

  /** Makes an exception the next event. */
  void exception(final int newVector, final boolean newHasErrorCode, final int newErrorCode) {
    if (vector >= 0) {
      if (type == EventDelivery.EXCEPTION) {
        final int first = exceptionClass(vector);
        final int second = exceptionClass(newVector);
        if (vector == Vector.DF) {
          tripleFault = true;
          return;
        }
        if (first == CLASS_CONTRIBUTORY && second == CLASS_CONTRIBUTORY
            || first == CLASS_PAGE_FAULT && second != CLASS_BENIGN) {
          set(Vector.DF, EventDelivery.EXCEPTION, true, 0);
          return;
        }
      } else if (type == EventDelivery.EXTERNAL && vector != Vector.NMI) {
        deferredInterrupt = vector;
        attention.set(Attention.DEFERRED);
      }
    }
    set(newVector, EventDelivery.EXCEPTION, newHasErrorCode, newErrorCode);
  }

  private static int exceptionClass(final int vector) {
    return switch (vector) {
      case Vector.DE, Vector.TS, Vector.NP, Vector.SS, Vector.GP -> CLASS_CONTRIBUTORY;
      case Vector.PF -> CLASS_PAGE_FAULT;
      default -> CLASS_BENIGN;
    };
  }
}
