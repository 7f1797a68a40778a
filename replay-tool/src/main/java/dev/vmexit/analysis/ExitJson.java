package dev.vmexit.analysis;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.trace.ExitFormatter;
import java.util.HexFormat;

/** Exits as JSON, one object each; addresses and words are hexadecimal strings. */
public final class ExitJson {
  private static final String[] REGISTERS = {
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15"
  };

  private final ExitFormatter formatter = new ExitFormatter();
  private final StringBuilder text = new StringBuilder();

  /** Appends one exit. */
  public void append(final ExitEvent event, final StringBuilder out) {
    final JsonWriter json = new JsonWriter(out);
    json.object();
    json.name("sequence").value(event.sequence);
    json.name("vcpu").value(event.vcpu);
    json.name("kind").value(event.kind.toString());
    json.name("retired").value(event.retired);
    json.name("hostTime").value(event.hostTime);
    json.name("guestTime").value(event.guestTime);
    json.name("handlerTime").value(event.handlerTime);
    json.name("rip").hex(event.rip);
    json.name("csBase").hex(event.csBase);
    json.name("codeSize").value(event.mode & ExitEvent.MODE_CODE_SIZE);
    json.name("cpl").value((event.mode & ExitEvent.MODE_CPL) >> ExitEvent.MODE_CPL_SHIFT);
    json.name("cr0").hex(event.cr0);
    json.name("cr3").hex(event.cr3);
    json.name("cr4").hex(event.cr4);
    json.name("efer").hex(event.efer);
    json.name("rflags").hex(event.rflags);
    json.name("interruptState").value(event.interruptState);
    json.name("address").hex(event.address);
    json.name("value").hex(event.value);
    json.name("size").value(event.size);
    json.name("write").value(event.write);
    json.name("detail").value(event.detail);
    json.name("errorCode").hex(event.errorCode & 0xFFFF_FFFFL);
    text.setLength(0);
    ExitFormatter.detail(event, text);
    json.name("text").value(text.toString());
    instruction(event, json);
    lists(event, json);
    json.name("registers").object();
    for (int i = 0; i < REGISTERS.length; i++) {
      json.name(REGISTERS[i]).hex(event.registers[i]);
    }
    json.endObject();
    json.endObject();
  }

  private void instruction(final ExitEvent event, final JsonWriter json) {
    if (event.instructionLength > 0) {
      json.name("bytes")
          .value(HexFormat.of().formatHex(event.instruction, 0, event.instructionLength));
      text.setLength(0);
      formatter.disassembly(event, text);
      json.name("instruction").value(text.toString());
    }
  }

  private static void lists(final ExitEvent event, final JsonWriter json) {
    if (event.kind == ExitKind.CPUID) {
      json.name("cpuid").array();
      for (final int register : event.cpuid) {
        json.hex(register & 0xFFFF_FFFFL);
      }
      json.endArray();
    }
    if (event.walkCount > 0) {
      json.name("walk").array();
      for (int i = 0; i < event.walkCount; i++) {
        json.object();
        json.name("address").hex(event.walkAddress[i]);
        json.name("value").hex(event.walkValue[i]);
        json.endObject();
      }
      json.endArray();
    }
    if (event.dataLength > 0) {
      json.name("data").value(HexFormat.of().formatHex(event.data, 0, event.dataLength));
    }
    if (event.writeCount > 0) {
      json.name("writes").array();
      for (int i = 0; i < event.writeCount; i++) {
        json.object();
        json.name("address").hex(event.writeAddress[i]);
        json.name("size").value(event.writeSize[i]);
        json.name("value").hex(event.writeValue[i]);
        json.endObject();
      }
      json.endArray();
    }
  }
}
