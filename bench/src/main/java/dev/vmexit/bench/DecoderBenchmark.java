package dev.vmexit.bench;

import dev.vmexit.x86.decode.Decoder;
import dev.vmexit.x86.decode.Instruction;
import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Time to decode one instruction of a real kernel: a linear sweep over its {@code .text}, megabytes
 * long, so that neither the code nor the branches of the decoder are learned by heart.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 2)
@Measurement(iterations = 5, time = 2)
@Fork(1)
public class DecoderBenchmark {
  private static final int SWEEP = 10_000;

  /** A vmlinux or bzImage; {@code bench/run.sh jmh} gives the kernel of debian-12-cloud. */
  @Param("vmlinuz")
  public String code;

  private final Decoder decoder = new Decoder();
  private final Instruction instruction = new Instruction();
  private byte[] text;
  private int at;

  /** Reads the kernel, and makes sure that what is measured is the decoding of code. */
  @Setup(Level.Trial)
  public void setUp() throws IOException {
    text = KernelText.read(Path.of(code));
    long good = 0;
    long bad = 0;
    for (int offset = 0; offset + Instruction.MAX_LENGTH <= text.length; ) {
      if (decoder.decode(text, offset, Instruction.MAX_LENGTH, 8, instruction)
          == Decoder.STATUS_OK) {
        offset += instruction.length;
        good++;
      } else {
        offset++;
        bad++;
      }
    }
    if (good < 100_000 || bad > good / 1000) {
      throw new IOException(
          code + ": " + good + " instructions, " + bad + " bytes that are none: not 64-bit code");
    }
  }

  /** The next instructions of the sweep. */
  @Benchmark
  @OperationsPerInvocation(SWEEP)
  public long decode() {
    final byte[] bytes = text;
    final int end = bytes.length - Instruction.MAX_LENGTH;
    int offset = at;
    long sum = 0;
    for (int i = 0; i < SWEEP; i++) {
      if (offset > end) {
        offset = 0;
      }
      final int status = decoder.decode(bytes, offset, Instruction.MAX_LENGTH, 8, instruction);
      sum += status + instruction.operandCount;
      offset += status == Decoder.STATUS_OK ? instruction.length : 1;
    }
    at = offset;
    return sum;
  }
}
