package dev.vmexit.cli;

import dev.vmexit.trace.TracePoint;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** Reads places in a trace from the command line. */
final class TracePointConverter implements ITypeConverter<TracePoint> {
  @Override
  public TracePoint convert(final String text) {
    try {
      return TracePoint.parse(text);
    } catch (final IllegalArgumentException e) {
      throw new TypeConversionException(e.getMessage());
    }
  }
}
