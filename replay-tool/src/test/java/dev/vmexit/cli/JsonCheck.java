package dev.vmexit.cli;

/** Says whether a text is one JSON value and nothing else (RFC 8259). */
final class JsonCheck {
  private final String text;
  private int at;

  private JsonCheck(final String text) {
    this.text = text;
  }

  /**
   * Reads it to its end.
   *
   * @throws AssertionError where it is none, with the place
   */
  static void check(final String text) {
    final JsonCheck check = new JsonCheck(text);
    check.value();
    check.space();
    if (check.at != text.length()) {
      throw check.wrong("more after the value");
    }
  }

  private AssertionError wrong(final String what) {
    return new AssertionError("not JSON at " + at + ", " + what + ": " + text);
  }

  private void space() {
    while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
      at++;
    }
  }

  private char next() {
    space();
    if (at == text.length()) {
      throw wrong("it ends");
    }
    return text.charAt(at);
  }

  private void value() {
    switch (next()) {
      case '{' -> list('}', true);
      case '[' -> list(']', false);
      case '"' -> string();
      default -> word();
    }
  }

  private void list(final char close, final boolean named) {
    at++;
    if (next() == close) {
      at++;
      return;
    }
    while (true) {
      if (named) {
        next();
        string();
        if (next() != ':') {
          throw wrong("no colon");
        }
        at++;
      }
      value();
      final char after = next();
      at++;
      if (after == close) {
        return;
      }
      if (after != ',') {
        throw wrong("no comma");
      }
    }
  }

  private void string() {
    if (text.charAt(at) != '"') {
      throw wrong("no string");
    }
    for (at++; at < text.length(); at++) {
      final char c = text.charAt(at);
      if (c == '"') {
        at++;
        return;
      }
      if (c < ' ') {
        throw wrong("a control character");
      }
      if (c == '\\') {
        at++;
      }
    }
    throw wrong("the string does not end");
  }

  private void word() {
    final int from = at;
    while (at < text.length() && ",]}: \t\r\n".indexOf(text.charAt(at)) < 0) {
      at++;
    }
    final String word = text.substring(from, at);
    if (!word.matches("true|false|null|-?(0|[1-9]\\d*)(\\.\\d+)?([eE][+-]?\\d+)?")) {
      throw wrong("'" + word + "' is no value");
    }
  }
}
