package dev.vmexit.exit;

import java.util.Random;

/** Makes events that look like a guest's, and some that look like nothing. */
public final class RandomEvents {
  private final Random random;
  private final ExitEvent state = new ExitEvent();

  public RandomEvents(final long seed) {
    random = new Random(seed);
    state.rip = 0xFFFF_FFFF_8100_0000L;
    state.cr3 = 0x1000;
  }

  /** Fills an event; its sequence is left alone. */
  public void next(final ExitEvent event) {
    event.clearPayload();
    for (int i = random.nextInt(5); i > 0; i--) {
      state.registers[random.nextInt(16)] = word();
    }
    System.arraycopy(state.registers, 0, event.registers, 0, 16);
    if (random.nextInt(50) == 0) {
      state.cr0 = word();
      state.cr3 = word();
      state.cr4 = word();
      state.efer = word();
      state.csBase = word();
    }
    event.cr0 = state.cr0;
    event.cr3 = state.cr3;
    event.cr4 = state.cr4;
    event.efer = state.efer;
    event.csBase = state.csBase;
    state.rip += random.nextInt(3) == 0 ? word() : random.nextInt(16);
    event.rip = state.rip;
    event.rflags = random.nextInt(1 << 22);
    state.retired += random.nextInt(10_000);
    event.retired = state.retired;
    state.hostTime += random.nextInt(20) == 0 ? word() : random.nextInt(5000);
    event.hostTime = state.hostTime;
    event.guestTime = random.nextInt(4) == 0 ? word() : random.nextInt(1000);
    event.handlerTime = random.nextInt(4) == 0 ? 0 : random.nextInt(1000);
    // All but GAP.
    final int kind = random.nextInt(ExitKind.values().length - 1);
    event.kind = ExitKind.of(kind < ExitKind.GAP.ordinal() ? kind : kind + 1);
    event.mode = random.nextInt(256);
    event.interruptState = random.nextInt(16);
    event.address = word();
    event.value = word();
    event.size = random.nextInt(9);
    event.write = random.nextBoolean();
    event.detail = random.nextInt(256);
    event.errorCode = random.nextInt(3) == 0 ? random.nextInt() : 0;
    event.instructionLength = random.nextInt(16);
    random.nextBytes(event.instruction);
    for (int i = 0; i < 4; i++) {
      event.cpuid[i] = random.nextInt();
    }
    event.walkCount = random.nextInt(3) == 0 ? random.nextInt(ExitEvent.MAX_WALK + 1) : 0;
    for (int i = 0; i < event.walkCount; i++) {
      event.walkAddress[i] = word();
      event.walkValue[i] = word();
    }
    event.writeCount = random.nextInt(6) == 0 ? random.nextInt(ExitEvent.MAX_WRITES + 1) : 0;
    for (int i = 0; i < event.writeCount; i++) {
      event.writeAddress[i] = word();
      event.writeSize[i] = 1 << random.nextInt(4);
      event.writeValue[i] = word();
    }
    if ((event.kind == ExitKind.PIO || event.kind == ExitKind.DMA) && random.nextInt(4) == 0) {
      event.walkCount = 0;
      event.writeCount = 0;
      event.dataLength = 1 + random.nextInt(ExitEvent.MAX_DATA);
      random.nextBytes(event.data);
    }
  }

  private long word() {
    return random.nextLong() >>> random.nextInt(64);
  }
}
