/**
 * Measurements: JMH benchmarks of the hot paths, and runs side by side with a peer. {@code
 * bench/run.sh} starts them, {@code bench/RESULTS.md} keeps what they found. Knows everything;
 * nothing knows it.
 */
package dev.vmexit.bench;
