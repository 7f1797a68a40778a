package dev.vmexit.mmu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.PageFaultError;
import dev.vmexit.x86.Pte;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

final class GuestWalkerTest {
  private static final long CR3 = 0x1000;
  private static final long GVA_LEVEL4 = 0x0000_7ABC_DE12_3457L;
  private static final long GVA_32 = 0xDE92_3457L;
  private static final long CR4_PAE = ControlRegisters.CR4_PAE;

  private final GuestMemory memory = GuestMemory.builder().ram(0, 0x10000).build();
  private final TableMemory tables = TableMemory.of(memory);
  private final GuestWalker walker = new GuestWalker(tables);
  private final PagingContext context = new PagingContext();
  private final Walk walk = new Walk();

  @AfterEach
  void close() {
    memory.close();
  }

  static Stream<String> vectors() {
    try (InputStream in = GuestWalkerTest.class.getResourceAsStream("walks.txt")) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8)
          .lines().filter(line -> !line.isBlank() && !line.startsWith("#")).toList().stream();
    } catch (final IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @ParameterizedTest
  @MethodSource("vectors")
  void shouldConcludeAsTheManualWhenTablesAreGiven(final String line) {
    final String[] fields = line.split("\\|", -1);
    final PagingMode mode = mode(fields[0].strip());
    final String[] entries = fields[2].strip().split(" +", -1);
    final int access = access(fields[3].strip());
    enter(mode, List.of(fields[1].strip().split(" +", -1)));
    final int size = mode == PagingMode.BITS32 ? 4 : 8;
    final long gva = mode == PagingMode.LEVEL4 ? GVA_LEVEL4 : GVA_32;
    final long[] values = new long[entries.length];
    long expectedGpa = 0;
    for (int i = 0; i < entries.length; i++) {
      values[i] = flags(entries[i]);
      final int shift = shift(mode, i);
      final boolean last = shift == 12 || isLarge(mode, values[i]);
      if (last) {
        final long base = 0x12_3456_7000L >>> shift << shift & (size == 4 ? 0xFFFF_FFFFL : -1L);
        values[i] |= base;
        expectedGpa = base | (gva & ((1L << shift) - 1));
      } else if (values[i] != 0) {
        values[i] |= CR3 + 0x1000L * (mode == PagingMode.PAE ? i + 2 : i + 1);
      }
      memory.write(entryAddress(mode, gva, i), size, values[i]);
    }

    walker.walk(context, gva, access, walk);

    final String[] expect = fields[4].strip().split(" +", -1);
    if ("#PF".equals(expect[0])) {
      assertFalse(walk.ok, "walk must fault");
      assertEquals(errorCode(expect[1]), walk.errorCode, "error code");
    } else {
      assertTrue(walk.ok, () -> "fault " + walk.errorCode);
      assertEquals(expectedGpa, walk.gpa, "gpa");
      assertEquals(expect[1], rights(), "rights, dirty, global");
      assertEquals(shift(mode, entries.length - 1), walk.pageShift, "page shift");
    }
    assertEquals(entries.length, walk.count, "entries read");
    for (int i = 0; i < entries.length; i++) {
      assertEquals(entryAddress(mode, gva, i), walk.entryAddress[i], "address of entry " + i);
      assertEquals(values[i], walk.entryValue[i], "value of entry " + i);
      final boolean leaf = i == entries.length - 1;
      final boolean dirties = leaf && (access & Translation.WRITE) != 0;
      final long after = walk.ok ? values[i] | Pte.ACCESSED | (dirties ? Pte.DIRTY : 0) : values[i];
      assertEquals(after, memory.read(entryAddress(mode, gva, i), size), "entry after the walk");
    }
  }

  @Test
  void shouldTranslateToItselfWhenPagingIsOff() {
    assertTrue(context.set(ControlRegisters.CR0_PE, 0x5000, 0, 0, tables));
    walker.walk(context, 0xFFFF_FFF0L, Translation.WRITE | Translation.USER, walk);
    assertTrue(walk.ok);
    assertEquals(0xFFFF_FFF0L, walk.gpa);
    assertEquals(PagingContext.MAY_ALL, walk.rights);
    assertEquals(0, walk.count);
  }

  @Test
  void shouldReachAbove4GibWhenPse36PageMaps() {
    enter(PagingMode.BITS32, List.of("pse"));
    memory.write32(CR3 + (GVA_32 >>> 22) * 4, (int) (0x8040_0083L | 0xA5 << 13));
    walker.walk(context, GVA_32, Translation.READ, walk);
    assertTrue(walk.ok);
    assertEquals(0xA5_8040_0000L | (GVA_32 & 0x3F_FFFF), walk.gpa);
  }

  @Test
  void shouldTakePdptesAsLoadedWhenMemoryChangesLater() {
    enter(PagingMode.PAE, List.of("-"));
    memory.write64(0x2000 + (GVA_32 >>> 21 & 511) * 8, 0x40_0000L | 0x83);
    memory.write64(CR3 + 3 * 8, 0);
    walker.walk(context, GVA_32, Translation.READ, walk);
    assertTrue(walk.ok);
    assertTrue(context.set(context.cr0(), CR3, context.cr4(), context.efer(), tables));
    walker.walk(context, GVA_32, Translation.READ, walk);
    assertFalse(walk.ok);
    assertEquals(0, walk.errorCode);
    assertEquals(0, walk.count);
  }

  @Test
  void shouldRefuseContextWhenPdpteHasReservedBit() {
    enter(PagingMode.PAE, List.of("wp"));
    for (final long bad : new long[] {2, 4, 0x20, 0x100, 1L << 40, 1L << 63}) {
      memory.write64(0x6000, 0x2000 | 1 | bad);
      assertFalse(context.set(context.cr0(), 0x6000, context.cr4(), 0, tables), "bit " + bad);
      assertEquals(CR3, context.cr3());
      assertEquals(0x2001, context.pdpte(3));
    }
    memory.write64(0x6000, 0x1E6);
    assertTrue(context.set(context.cr0(), 0x6000, context.cr4(), 0, tables), "not present");
  }

  @Test
  void shouldReadAllOnesWhenTableIsInHole() {
    enter(PagingMode.LEVEL4, List.of("nxe"));
    memory.write64(CR3 + (GVA_LEVEL4 >>> 39 & 511) * 8, 0x5000_0000L | 7);
    walker.walk(context, GVA_LEVEL4, Translation.WRITE, walk);
    assertFalse(walk.ok);
    assertEquals(
        PageFaultError.PRESENT | PageFaultError.RESERVED | PageFaultError.WRITE, walk.errorCode);
    assertEquals(2, walk.count);
    assertEquals(-1, walk.entryValue[1]);
  }

  @Test
  void shouldStoreNothingWhenProbing() {
    enter(PagingMode.BITS32, List.of("wp"));
    memory.write32(CR3 + (GVA_32 >>> 22) * 4, 0x2007);
    memory.write32(0x2000 + (GVA_32 >>> 12 & 1023) * 4, 0x7007);
    walker.probe(context, GVA_32, Translation.WRITE, walk);
    assertTrue(walk.ok);
    assertFalse(walk.dirty);
    assertEquals(0x2007, memory.read32(CR3 + (GVA_32 >>> 22) * 4));
    assertEquals(0x7007, memory.read32(0x2000 + (GVA_32 >>> 12 & 1023) * 4));
  }

  private void enter(final PagingMode mode, final List<String> features) {
    long cr0 = ControlRegisters.CR0_PG | ControlRegisters.CR0_PE;
    long cr4 = mode == PagingMode.BITS32 ? 0 : CR4_PAE;
    long efer =
        mode == PagingMode.LEVEL4 ? ControlRegisters.EFER_LME | ControlRegisters.EFER_LMA : 0;
    for (final String feature : features) {
      switch (feature) {
        case "wp" -> cr0 |= ControlRegisters.CR0_WP;
        case "nxe" -> efer |= ControlRegisters.EFER_NXE;
        case "smep" -> cr4 |= ControlRegisters.CR4_SMEP;
        case "smap" -> cr4 |= ControlRegisters.CR4_SMAP;
        case "pse" -> cr4 |= ControlRegisters.CR4_PSE;
        case "pge" -> cr4 |= ControlRegisters.CR4_PGE;
        default -> assertEquals("-", feature);
      }
    }
    if (mode == PagingMode.PAE) {
      memory.write64(CR3 + 3 * 8, 0x2000 | 1);
    }
    assertTrue(context.set(cr0, CR3, cr4, efer, tables));
    assertEquals(mode, context.mode());
  }

  private static PagingMode mode(final String text) {
    return switch (text) {
      case "32" -> PagingMode.BITS32;
      case "PAE" -> PagingMode.PAE;
      case "L4" -> PagingMode.LEVEL4;
      default -> throw new IllegalArgumentException(text);
    };
  }

  private static int shift(final PagingMode mode, final int index) {
    return switch (mode) {
      case BITS32 -> 22 - 10 * index;
      case PAE -> 21 - 9 * index;
      case LEVEL4 -> 39 - 9 * index;
      case NONE -> throw new IllegalArgumentException();
    };
  }

  private boolean isLarge(final PagingMode mode, final long entry) {
    return (entry & Pte.PAGE_SIZE) != 0 && (mode != PagingMode.BITS32 || context.pse());
  }

  private static long entryAddress(final PagingMode mode, final long gva, final int index) {
    final long table = CR3 + 0x1000L * (mode == PagingMode.PAE ? index + 1 : index);
    return mode == PagingMode.BITS32
        ? table + (gva >>> shift(mode, index) & 1023) * 4
        : table + (gva >>> shift(mode, index) & 511) * 8;
  }

  private static long flags(final String text) {
    if ("0".equals(text)) {
      return 0;
    }
    final int plus = text.indexOf('+');
    long value = plus < 0 ? 0 : Long.parseUnsignedLong(text.substring(plus + 1), 16);
    final int letters = plus < 0 ? text.length() : plus;
    for (int i = 0; i < letters; i++) {
      value |=
          switch (text.charAt(i)) {
            case 'P' -> Pte.PRESENT;
            case 'W' -> Pte.WRITABLE;
            case 'U' -> Pte.USER;
            case 'A' -> Pte.ACCESSED;
            case 'D' -> Pte.DIRTY;
            case 'S' -> Pte.PAGE_SIZE;
            case 'G' -> Pte.GLOBAL;
            case 'T' -> 1L << 12;
            case 'X' -> Pte.NO_EXECUTE;
            default -> throw new IllegalArgumentException(text);
          };
    }
    return value;
  }

  private static int access(final String text) {
    int access = 0;
    for (int i = 0; i < text.length(); i++) {
      access |=
          switch (text.charAt(i)) {
            case 'r' -> Translation.READ;
            case 'w' -> Translation.WRITE;
            case 'x' -> Translation.FETCH;
            case 'u' -> Translation.USER;
            case 'o' -> Translation.SMAP_OVERRIDE;
            default -> throw new IllegalArgumentException(text);
          };
    }
    return access;
  }

  private static int errorCode(final String text) {
    int code = 0;
    for (int i = 0; i < text.length(); i++) {
      code |=
          switch (text.charAt(i)) {
            case '-' -> 0;
            case 'p' -> PageFaultError.PRESENT;
            case 'w' -> PageFaultError.WRITE;
            case 'u' -> PageFaultError.USER;
            case 'r' -> PageFaultError.RESERVED;
            case 'i' -> PageFaultError.FETCH;
            default -> throw new IllegalArgumentException(text);
          };
    }
    return code;
  }

  private String rights() {
    return ((walk.rights & PagingContext.MAY_READ) != 0 ? "r" : "")
        + ((walk.rights & PagingContext.MAY_WRITE) != 0 ? "w" : "")
        + ((walk.rights & PagingContext.MAY_FETCH) != 0 ? "x" : "")
        + (walk.global ? "g" : "")
        + (walk.dirty ? "d" : "");
  }
}
