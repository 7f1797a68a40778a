package dev.vmexit.vcpu.kvm;

import java.util.HashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a tracepoint's file {@code format} in tracefs says: its number, and where its fields are in
 * an event's raw data. That differs from kernel to kernel, so nothing of it is assumed.
 *
 * @param id number of the tracepoint, as perf_event_open and each event name it
 * @param fields by their names
 */
record TracepointFormat(int id, Map<String, Field> fields) {
  /** Bytes at the start of each event that tell its number; the same field in all formats. */
  static final String COMMON_TYPE = "common_type";

  private static final Pattern ID = Pattern.compile("(?m)^ID: (\\d{1,9})$");
  private static final Pattern FIELD =
      Pattern.compile("field:[^;]*?(\\w+)(?:\\[\\w*])?;\\s*offset:(\\d{1,6});\\s*size:(\\d{1,6});");

  /**
   * A field.
   *
   * @param offset from the start of the raw data
   * @param size in bytes
   */
  record Field(int offset, int size) {}

  TracepointFormat {
    fields = Map.copyOf(fields);
  }

  /**
   * Reads a file's text.
   *
   * @throws IllegalArgumentException it is none: the message says what lacks
   */
  static TracepointFormat parse(final String text) {
    final Matcher id = ID.matcher(text);
    if (!id.find()) {
      throw new IllegalArgumentException("has no line with an ID");
    }
    final Map<String, Field> fields = new HashMap<>();
    final Matcher field = FIELD.matcher(text);
    while (field.find()) {
      fields.put(
          field.group(1),
          new Field(Integer.parseInt(field.group(2)), Integer.parseInt(field.group(3))));
    }
    if (!fields.containsKey(COMMON_TYPE)) {
      throw new IllegalArgumentException("has no field " + COMMON_TYPE);
    }
    return new TracepointFormat(Integer.parseInt(id.group(1)), fields);
  }
}
