/**
 * A processor in software, tier 0: blocks of decoded and bound instructions over a software TLB. It
 * leaves guest mode where hardware virtualization would. Here stand the execution loop, memory
 * access, segments, events and the system instructions; the other groups have packages below. Known
 * to the assembly of a machine and to tests alone.
 */
package dev.vmexit.vcpu.soft;
