/**
 * Replay by re-feeding: every record of a trace goes through the decoder and the shadow MMU that
 * ran live, and what they conclude is compared with what was recorded. {@link
 * dev.vmexit.replay.ReplayEngine} is the door; each check stands in a class of its own. Knows the
 * trace, the decoder and the MMU, no device and no vCPU; the command line knows it.
 */
package dev.vmexit.replay;
