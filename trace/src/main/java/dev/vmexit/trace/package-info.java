/**
 * The trace: a folder with a manifest, a Chronicle Queue of exit records, the exit rings and the
 * initial guest memory. {@link dev.vmexit.trace.Recorder} moves records from the rings into the
 * queue on its own thread; {@link dev.vmexit.trace.TraceReader} gives them back, also those that a
 * killed process left in a ring. Knows the exit record and guest memory; the run loop's side knows
 * the recorder, replay and analysis know the reader.
 */
package dev.vmexit.trace;
