/**
 * Bytes to instructions, in all modes: the one decoder that the interpreter, the emulator of MMIO,
 * the translator and the replay share, and its disassembler. Table-driven: {@code …Opcodes} hold
 * the manual's opcode maps as text, {@link dev.vmexit.x86.decode.Decoder} walks the trees built
 * from them. It knows the architecture's vocabulary ({@code x86}) and nothing else; anyone above
 * may know it.
 */
package dev.vmexit.x86.decode;
