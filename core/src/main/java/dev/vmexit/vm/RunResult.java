package dev.vmexit.vm;

/**
 * How a run went.
 *
 * @param end why it ended
 * @param detail the source of a reset, the status of a debug exit, or empty
 * @param status of a debug exit, else 0
 * @param retired instructions
 * @param exits of all kinds, recorded or not
 */
public record RunResult(RunEnd end, String detail, int status, long retired, long exits) {}
