/**
 * The assembler: x86 instructions from typed operands to bytes, for 16-, 32- and 64-bit code, with
 * labels. Tests, the built-in guest and the translator write machine code with it. It knows nothing
 * but the architecture's vocabulary ({@code dev.vmexit.x86}); every package above may know it.
 */
package dev.vmexit.x86.encode;
