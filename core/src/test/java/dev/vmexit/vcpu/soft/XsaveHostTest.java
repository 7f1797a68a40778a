package dev.vmexit.vcpu.soft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.Gpr;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** XSAVE areas that one processor writes and the other reads: the software's and the host's. */
final class XsaveHostTest {
  private static final int AREA = 832;
  private static final int ROUNDS = 200;
  private static final String XSAVE = "0fae27";
  private static final String XSAVEOPT = "0fae37";
  private static final String XSAVEC = "0fc727";
  private static final String XRSTOR = "0fae2f";

  private final SplittableRandom random = new SplittableRandom(832);
  private HostProcessor host;
  private FpuTestCpu cpu;

  @BeforeEach
  void open() {
    assumeTrue(HostProcessor.isSupported(), "SKIPPED: the host is not x86-64 Linux");
    assumeTrue(
        HostProcessor.hasFlags("avx", "xsaveopt", "xsavec"),
        "SKIPPED: the host's processor has no AVX or no XSAVEC");
    host = new HostProcessor();
    cpu = new FpuTestCpu(host.memoryAddress(), 4096);
    cpu.enableAvx();
  }

  @AfterEach
  void close() {
    if (host != null) {
      host.close();
      cpu.close();
    }
  }

  /** A state in which any component may be in its initial configuration. */
  private void draw(final byte[] image, final byte[] high) {
    final ByteBuffer fx = ByteBuffer.wrap(image).order(ByteOrder.LITTLE_ENDIAN);
    Arrays.fill(image, (byte) 0);
    Arrays.fill(high, (byte) 0);
    fx.putShort(0, (short) 0x37F);
    fx.putInt(24, 0x1F80);
    if (random.nextInt(3) != 0) {
      fx.put(4, (byte) random.nextInt(256));
      fx.putShort(2, (short) (random.nextInt(8) << 11));
      for (int i = 0; i < 8; i++) {
        fx.putLong(32 + 16 * i, random.nextLong());
        fx.putShort(40 + 16 * i, (short) random.nextInt());
      }
    }
    if (random.nextInt(3) != 0) {
      fx.putInt(24, 0x1F80 | random.nextInt(4) << 13);
      for (int i = 160; i < 416; i++) {
        image[i] = (byte) random.nextInt();
      }
    }
    if (random.nextInt(3) != 0) {
      random.nextBytes(high);
    }
  }

  private void load(final byte[] image, final byte[] high) {
    cpu.loadImage(image);
    for (int i = 0; i < 16; i++) {
      HostMemory.copyIn(high, 16 * i, cpu.state + upperHalf(i), 16);
    }
  }

  private byte[] upperHalves() {
    final byte[] high = new byte[HostProcessor.HIGH_SIZE];
    for (int i = 0; i < 16; i++) {
      HostMemory.copyOut(cpu.state + upperHalf(i), high, 16 * i, 16);
    }
    return high;
  }

  private static int upperHalf(final int register) {
    return StateLayout.XMM + register * StateLayout.XMM_SIZE + 16;
  }

  /** Runs natively; the components that are asked for stand in EDX:EAX. */
  private void runHost(
      final String hex, final int request, final byte[] fx, final byte[] high, final byte[] area) {
    final long[] gprs = new long[Gpr.COUNT];
    gprs[Gpr.RDI] = host.memoryAddress();
    gprs[Gpr.RAX] = request;
    host.run(HexFormat.of().parseHex(hex), gprs, 0, fx, high, area);
  }

  private byte[] runSoft(final String hex, final int request, final byte[] area) {
    cpu.memory(area);
    cpu.gpr(Gpr.RDI, host.memoryAddress());
    cpu.gpr(Gpr.RAX, request);
    cpu.gpr(Gpr.RDX, 0);
    cpu.run(HexFormat.of().parseHex(hex));
    assertEquals(-1, cpu.vector, hex);
    return cpu.memory(AREA);
  }

  /** What both agree on: not the last x87 instruction's pointers, not MXCSR_MASK. */
  private static byte[] comparable(final byte[] image) {
    final byte[] copy = Arrays.copyOf(image, 416);
    Arrays.fill(copy, 5, 24, (byte) 0);
    Arrays.fill(copy, 28, 32, (byte) 0);
    return copy;
  }

  @Test
  void shouldRestoreOnTheHostWhenTheSoftwareSaved() {
    for (final String save : new String[] {XSAVE, XSAVEOPT, XSAVEC}) {
      for (int i = 0; i < ROUNDS; i++) {
        final byte[] saved = new byte[HostProcessor.FX_SIZE];
        final byte[] savedHigh = new byte[HostProcessor.HIGH_SIZE];
        draw(saved, savedHigh);
        load(saved, savedHigh);
        final byte[] area = runSoft(save, 7, new byte[AREA]);
        final byte[] other = new byte[HostProcessor.FX_SIZE];
        final byte[] otherHigh = new byte[HostProcessor.HIGH_SIZE];
        draw(other, otherHigh);
        runHost(XRSTOR, 7, other, otherHigh, area);
        assertArrayEquals(comparable(saved), comparable(other), save);
        assertArrayEquals(savedHigh, otherHigh, save);
      }
    }
  }

  @Test
  void shouldRestoreTheSameWhenTheHostSaved() {
    for (final String save : new String[] {XSAVE, XSAVEOPT, XSAVEC}) {
      for (int i = 0; i < ROUNDS; i++) {
        final byte[] saved = new byte[HostProcessor.FX_SIZE];
        final byte[] savedHigh = new byte[HostProcessor.HIGH_SIZE];
        draw(saved, savedHigh);
        final byte[] area = new byte[AREA];
        runHost(save, 7, saved, savedHigh, area);
        final byte[] other = new byte[HostProcessor.FX_SIZE];
        final byte[] otherHigh = new byte[HostProcessor.HIGH_SIZE];
        draw(other, otherHigh);
        load(other, otherHigh);
        // Any components of what is there: the others keep their state.
        final int request = random.nextInt(8);
        runSoft(XRSTOR, request, area);
        final byte[] ours = new byte[HostProcessor.FX_SIZE];
        cpu.storeImage(ours);
        runHost(XRSTOR, request, other, otherHigh, area);
        assertArrayEquals(comparable(other), comparable(ours), save + " " + request);
        assertArrayEquals(otherHigh, upperHalves(), save + " " + request);
      }
    }
  }
}
