/**
 * Semantics of the x87: a floating-point core that is exact and rounds once ({@link
 * dev.vmexit.vcpu.soft.x87.SoftFloat}, which SSE uses too), the double extended-precision rules on
 * top of it, the register stack, and one op class per group of instructions. It knows the vCPU's
 * contracts (the op, what an op sees of its vCPU, the state's layout) and the decoder's
 * instruction; the interpreter's binder knows it through {@link
 * dev.vmexit.vcpu.soft.x87.X87Ops#bind}.
 */
package dev.vmexit.vcpu.soft.x87;
