package dev.vmexit.analysis;

import java.util.Locale;

/**
 * Writes JSON (RFC 8259) into a builder, on one line. Commas come by themselves; names and values
 * must alternate as the format asks.
 */
public final class JsonWriter {
  private static final int FIRST_PRINTABLE = 0x20;

  private final StringBuilder out;
  private boolean comma;

  /** Appends to a builder. */
  public JsonWriter(final StringBuilder out) {
    this.out = out;
  }

  /** Opens an object. */
  public JsonWriter object() {
    return open('{');
  }

  /** Closes an object. */
  public JsonWriter endObject() {
    return close('}');
  }

  /** Opens an array. */
  public JsonWriter array() {
    return open('[');
  }

  /** Closes an array. */
  public JsonWriter endArray() {
    return close(']');
  }

  /** Writes a member's name; its value must follow. */
  public JsonWriter name(final String name) {
    separate();
    quote(name);
    out.append(':');
    comma = false;
    return this;
  }

  /** Writes a number. */
  public JsonWriter value(final long value) {
    separate();
    out.append(value);
    return this;
  }

  /** Writes a share with six decimals. */
  public JsonWriter value(final double value) {
    separate();
    out.append(String.format(Locale.ROOT, "%.6f", value));
    return this;
  }

  /** Writes true or false. */
  public JsonWriter value(final boolean value) {
    separate();
    out.append(value);
    return this;
  }

  /** Writes a string. */
  public JsonWriter value(final String value) {
    separate();
    quote(value);
    return this;
  }

  /** Writes a 64-bit word as a hexadecimal string: JSON's numbers lose bits in many readers. */
  public JsonWriter hex(final long value) {
    return value("0x" + Long.toHexString(value));
  }

  private JsonWriter open(final char bracket) {
    separate();
    out.append(bracket);
    comma = false;
    return this;
  }

  private JsonWriter close(final char bracket) {
    out.append(bracket);
    comma = true;
    return this;
  }

  private void separate() {
    if (comma) {
      out.append(',');
    }
    comma = true;
  }

  private void quote(final String text) {
    out.append('"');
    for (int i = 0; i < text.length(); i++) {
      final char c = text.charAt(i);
      switch (c) {
        case '"' -> out.append("\\\"");
        case '\\' -> out.append("\\\\");
        default -> {
          if (c < FIRST_PRINTABLE) {
            out.append(String.format(Locale.ROOT, "\\u%04x", (int) c));
          } else {
            out.append(c);
          }
        }
      }
    }
    out.append('"');
  }
}
