/**
 * The exit record and the exit ring: the one language that vCPU, recorder, replay and analysis
 * share. {@link dev.vmexit.exit.ExitEvent} is a record in the open, the SBE schema {@code
 * sbe/vmexit-exit.xml} with {@link dev.vmexit.exit.ExitColumns} its layout in bytes, {@link
 * dev.vmexit.exit.ExitRingWriter} the vCPU's side of the ring and {@link
 * dev.vmexit.exit.ExitRingReader} the recorder's. It knows nothing but Agrona and raw memory;
 * everything above may know it.
 */
package dev.vmexit.exit;
