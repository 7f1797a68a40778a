package dev.vmexit.vcpu.soft.integer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.vcpu.soft.FlatCpu;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Vector;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.junit.jupiter.api.Test;

class DecimalOpsTest {
  @Test
  void shouldAgreeWithTheVectorsOfARealProcessor() throws IOException {
    int lines = 0;
    try (FlatCpu cpu = new FlatCpu(0x10000, 0x1000, 4);
        BufferedReader reader =
            new BufferedReader(
                new InputStreamReader(
                    DecimalOpsTest.class.getResourceAsStream("decimal.txt"),
                    StandardCharsets.US_ASCII))) {
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        if (line.startsWith("#")) {
          continue;
        }
        final String[] fields = line.split(" ", -1);
        final byte[] code = HexFormat.of().parseHex(fields[0]);
        cpu.gpr(Gpr.RAX, 0x1234_0000 | Integer.parseInt(fields[1], 16));
        cpu.setRflags(Integer.parseInt(fields[2], 16));
        cpu.step(code, 0, IntegerOps::bind);
        assertEquals(0x1234_0000 | Integer.parseInt(fields[3], 16), cpu.gpr(Gpr.RAX), line);
        assertEquals(Integer.parseInt(fields[4], 16), cpu.arithmeticFlags(), line);
        lines++;
      }
    }
    assertTrue(lines > 1000, "only " + lines + " vectors");
  }

  @Test
  void shouldRaiseDivideErrorWhenTheBaseOfAamIsZero() {
    try (FlatCpu cpu = new FlatCpu(0x10000, 0x1000, 4)) {
      cpu.gpr(Gpr.RAX, 0x42);
      cpu.setRflags(Flags.CF);
      assertThrows(
          FlatCpu.Raised.class,
          () -> cpu.step(HexFormat.of().parseHex("d400"), 0, IntegerOps::bind));
      assertEquals(Vector.DE, cpu.vector);
      assertEquals(0x42, cpu.gpr(Gpr.RAX));
      assertEquals(Flags.CF, cpu.arithmeticFlags());
    }
  }
}
