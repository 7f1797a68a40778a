/**
 * The trace: a folder with a manifest, a Chronicle Queue of exit records, the exit rings and the
 * initial guest memory. {@link dev.vmexit.trace.Recorder} moves records from the rings into the
 * queue on its own thread; {@link dev.vmexit.trace.TraceReader} gives them back, also those that a
 * killed process left in a ring. Knows the exit record and guest memory; the run loop's side knows
 * the recorder, replay and analysis know the reader.
 *
 * <p>Reading: one event is filled again and again, so that a long trace costs no memory. A place is
 * a record's number, retired instructions or time; to go there takes as long as the logarithm of
 * the trace's length.
 *
 * {@snippet :
 * static long bytesToTheConsole(final Path folder) {
 *   long bytes = 0;
 *   final ExitEvent exit = new ExitEvent();
 *   try (TraceReader reader = TraceReader.open(folder)) {
 *     reader.seek(TracePoint.parse("5us"));
 *     while (reader.next(exit)) {
 *       if (exit.kind == ExitKind.PIO && exit.address == 0x3F8 && exit.write) {
 *         bytes += exit.size;
 *       } else if (exit.kind == ExitKind.GAP) {
 *         throw new IllegalStateException(exit.value + " exits are missing");
 *       }
 *     }
 *   }
 *   return bytes;
 * }
 * }
 */
package dev.vmexit.trace;
