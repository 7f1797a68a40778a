package dev.vmexit.mmu;

/**
 * Counts of a {@link ShadowMmu} since it was made.
 *
 * @param filled faults that installed an spte
 * @param reflected faults that the guest gets
 * @param tableWrites faults by stores to shadowed tables
 * @param noSlot faults on addresses with no slot
 * @param readOnly faults by stores to ROM
 * @param entriesWritten guest-table entries that changed under a shadow
 * @param prefetched sptes installed from a written entry, with no fault
 * @param flooded frames given up as tables because of many writes
 * @param created shadow pages ever made
 * @param zapped shadow pages ever freed
 * @param evicted those of them freed for want of room
 * @param used shadow pages now
 */
public record ShadowStats(
    long filled,
    long reflected,
    long tableWrites,
    long noSlot,
    long readOnly,
    long entriesWritten,
    long prefetched,
    long flooded,
    long created,
    long zapped,
    long evicted,
    int used) {}
