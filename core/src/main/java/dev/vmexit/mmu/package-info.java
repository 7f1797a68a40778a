/**
 * Guest linear to guest physical: the walker of the guest's own page tables in all four paging
 * modes, {@link dev.vmexit.mmu.ShadowMmu} (shadow pages, reverse map, write protection of guest
 * tables), and {@link dev.vmexit.mmu.NestedMmu} (a walk per TLB miss). Knows the architecture's
 * vocabulary and guest memory; the vCPU, the run loop and the replay know it. What the shadow MMU
 * concludes depends on its calls and on the entries that its walks read, on nothing else: so a
 * replay fed with the recorded entries concludes the same.
 */
package dev.vmexit.mmu;
