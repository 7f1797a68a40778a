/**
 * Guest-physical memory: mappings reserved lazily from the operating system, placed in slots with
 * holes between them, read-only where they hold ROM and as the chipset chooses below 2 MiB, with
 * bounded access for loaders and devices and a log of dirty pages. Knows nothing above the C
 * library. Every other package may use it: the vCPU and the MMU by raw host addresses, everybody
 * else through {@link dev.vmexit.memory.GuestMemory}'s checked accessors.
 */
package dev.vmexit.memory;
