/**
 * Statistics of traces: pure functions of the records, with no clock, file or terminal. Knows the
 * exit record; the command line knows it.
 */
package dev.vmexit.analysis;
