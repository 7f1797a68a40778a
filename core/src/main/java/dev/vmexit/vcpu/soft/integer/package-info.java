/**
 * Semantics of the integer instruction set for the software vCPU: data movement, arithmetic, logic,
 * shifts, bits, near control transfer, stack, strings.
 *
 * <p>{@link dev.vmexit.vcpu.soft.integer.IntegerOps} is the door: it binds a decoded instruction to
 * an {@link dev.vmexit.vcpu.soft.Op}. What an operation computes stands once, in static methods
 * ({@code Alu}, {@code Shifts}, {@code Multiplication}, …); around it stand thin final classes, one
 * per operand form and size for what guests execute most, so that the one virtual call of an
 * instruction leads to straight-line code. The package knows the vCPU's contracts, the decoder's
 * instruction and the architecture's vocabulary; only the block builder of {@code vcpu.soft} knows
 * it.
 */
package dev.vmexit.vcpu.soft.integer;
