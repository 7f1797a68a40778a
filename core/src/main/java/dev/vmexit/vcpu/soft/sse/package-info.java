/**
 * Semantics of MMX and SSE to SSE4.2: packed integers, single and double precision under MXCSR, the
 * saving and restoring of that state, cache hints. It knows the vCPU's contracts (the op, what an
 * op sees of its vCPU, the state's layout), the decoder's instruction and the x87's exact
 * arithmetic; the interpreter's binder alone knows it, through {@link
 * dev.vmexit.vcpu.soft.sse.SseOps#bind}.
 */
package dev.vmexit.vcpu.soft.sse;
