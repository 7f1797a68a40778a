package dev.vmexit.cli;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.security.SecureRandom;
import java.util.function.LongSupplier;

/** The host's randomness, many bytes at once, so that an exit rarely asks for it. One thread. */
final class HostEntropy implements LongSupplier {
  private static final int BYTES = 4096;

  private static final VarHandle LONG =
      MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

  private final SecureRandom source = new SecureRandom();
  private final byte[] bytes = new byte[BYTES];
  private int left;

  @Override
  public long getAsLong() {
    if (left == 0) {
      source.nextBytes(bytes);
      left = bytes.length;
    }
    left -= Long.BYTES;
    return (long) LONG.get(bytes, left);
  }
}
