/**
 * The architecture's vocabulary: registers, flags, control registers, segments, MSRs, exception
 * vectors and paging bits, by the numbers and names of the Intel SDM. Constants and pure functions
 * only; knows nothing else, and everybody may know it.
 */
package dev.vmexit.x86;
