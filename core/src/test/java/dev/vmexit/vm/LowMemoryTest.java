package dev.vmexit.vm;

import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.AX;
import static dev.vmexit.x86.encode.Register.DX;
import static dev.vmexit.x86.encode.Register.EAX;
import static dev.vmexit.x86.encode.Register.EBX;
import static dev.vmexit.x86.encode.Register.ES;
import static dev.vmexit.x86.encode.Register.ESP;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.boot.FlatLoader;
import dev.vmexit.boot.ImageFile;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitSink;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.MemoryMap;
import dev.vmexit.vcpu.kvm.Kvm;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import org.agrona.concurrent.SystemNanoClock;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * What the chipset does to the first two megabytes, as guests see it: PAM registers and the A20
 * line, on the software vCPU with both MMUs and on the host's KVM.
 */
@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
final class LowMemoryTest {
  private static final int MIB = 1 << 20;
  private static final int PAM0 = 0x59;
  private static final int ROM_BYTES = 256 * 1024;
  private static final int ROM_WORD = 0xB105_F00D;
  private static final int NOTHING = -1;

  /** Which processor runs the guest, and how it translates. */
  enum Machine {
    SHADOW,
    NESTED,
    KVM
  }

  private final List<Long> states = new ArrayList<>();

  /** An assembler of a guest, and the number of words that it has stored. */
  private static final class Guest {
    final Assembler a;
    final int address;
    final int data;
    private int results;

    Guest(final BootEntry.Mode mode) {
      final boolean real = mode == BootEntry.Mode.REAL16;
      // In an even megabyte, out of the way of what these guests do.
      address = real ? 0x8000 : 2 * MIB;
      data = address + 0x4000;
      a = new Assembler(real ? 2 : 4, address);
      a.mov(ESP, address + 0x3F00);
    }

    void result() {
      a.mov(Memory.absolute(data + 4L * results++), EAX);
    }

    void load(final int address) {
      a.mov(EAX, Memory.absolute(address));
      result();
    }

    void store(final int address, final int value) {
      a.mov(Memory.absolute(address).asDword(), value);
    }

    void port(final int port, final int value) {
      a.mov(EAX, value);
      a.out(port, AL);
    }

    /** Writes a PAM register of the host bridge. */
    void pam(final int register, final int value) {
      a.mov(DX, 0xCF8);
      a.mov(EAX, 0x8000_0000 | register & ~3);
      a.out(DX, EAX);
      a.mov(DX, 0xCFC + (register & 3));
      a.mov(EAX, value);
      a.out(DX, AL);
    }

    /** Calls what lies at an address; the answer is in EAX. */
    void call(final int address) {
      a.mov(EBX, address);
      a.call(EBX);
      result();
    }

    byte[] image() {
      a.xor(EAX, EAX);
      a.out(GoldenGuests.EXIT_PORT, AL);
      final Label rest = a.here();
      a.cli();
      a.hlt();
      a.jmp(rest);
      return a.assemble();
    }
  }

  /** Runs a guest and returns its results. */
  private List<Integer> run(
      final Machine machine, final BootEntry.Mode mode, final Consumer<Guest> code) {
    final Guest guest = new Guest(mode);
    code.accept(guest);
    if (machine == Machine.KVM) {
      Kvm.assume();
    }
    final boolean kvm = machine == Machine.KVM;
    try (GuestMemory memory =
        GuestMemory.builder().ramWithHole(4 * MIB).rom((1L << 32) - ROM_BYTES, rom()).build()) {
      final BootEntry entry =
          FlatLoader.load(
              memory, ImageFile.of("kernel", "guest", guest.image()), guest.address, mode);
      final VirtualMachine.Options options =
          new VirtualMachine.Options(
              "max",
              machine == Machine.SHADOW
                  ? VirtualMachine.MmuKind.SHADOW
                  : VirtualMachine.MmuKind.NESTED,
              kvm ? VirtualMachine.ClockKind.HOST : VirtualMachine.ClockKind.VIRTUAL,
              0,
              b -> {},
              b -> {},
              true,
              SystemNanoClock.INSTANCE);
      final Peripherals peripherals =
          new Peripherals(
              Optional.of(new Peripherals.Firmware(Map.of(), b -> {})),
              List.of(),
              Optional.empty(),
              Optional.empty());
      try (VirtualMachine vm =
          new VirtualMachine(
              kvm ? VirtualMachine.Backend.KVM : VirtualMachine.Backend.SOFT,
              1,
              memory,
              entry,
              options,
              peripherals,
              number -> new States())) {
        final RunResult result = vm.run();
        assertEquals(RunEnd.DEBUG_EXIT, result.end(), () -> result + "\n" + vm.lastExits());
      }
      final List<Integer> words = new ArrayList<>();
      for (int i = 0; i < guest.results; i++) {
        words.add(memory.read32(guest.data + 4L * i));
      }
      return words;
    }
  }

  private static byte[] rom() {
    final byte[] rom = new byte[ROM_BYTES];
    put(rom, ROM_BYTES - MIB + 0xE_1000, ROM_WORD);
    put(rom, ROM_BYTES - MIB + 0xF_2000, ROM_WORD);
    // mov eax, 1; ret
    final int function = ROM_BYTES - MIB + 0xF_3000;
    rom[function] = (byte) 0xB8;
    rom[function + 1] = 1;
    rom[function + 5] = (byte) 0xC3;
    return rom;
  }

  private static void put(final byte[] to, final int at, final int value) {
    for (int i = 0; i < 4; i++) {
      to[at + i] = (byte) (value >>> 8 * i);
    }
  }

  @ParameterizedTest
  @EnumSource(Machine.class)
  void shouldProtectAreasAsThePamRegistersSay(final Machine machine) {
    final List<Integer> results =
        run(
            machine,
            BootEntry.Mode.PROTECTED32,
            guest -> {
              guest.load(0xF_2000);
              guest.store(0xF_2000, 1);
              guest.load(0xF_2000);
              guest.load(0xE_1000);
              guest.load(0xC_1000);
              guest.pam(PAM0, 0x20);
              guest.store(0xF_2000, 0x5555);
              guest.load(0xF_2000);
              guest.pam(PAM0, 0x10);
              guest.load(0xF_2000);
              guest.store(0xF_2000, 0x6666);
              guest.load(0xF_2000);
              guest.pam(PAM0, 0x30);
              guest.store(0xF_2000, 0x7777);
              guest.load(0xF_2000);
              guest.pam(PAM0 + 1, 0x03);
              guest.store(0xC_1000, 0x8888);
              guest.store(0xC_5000, 0x9999);
              guest.load(0xC_1000);
              guest.load(0xC_5000);
              guest.store(0xC_3FFE, 0xAABB_CCDD);
              guest.load(0xC_3FFE);
              guest.pam(PAM0, 0);
              guest.load(0xF_2000);
            });
    assertEquals(
        List.of(
            ROM_WORD,
            ROM_WORD,
            ROM_WORD,
            NOTHING,
            ROM_WORD,
            0x5555,
            0x5555,
            0x7777,
            0x8888,
            NOTHING,
            0xFFFF_CCDD,
            ROM_WORD),
        results);
    assertEquals(0L, states.getFirst(), "recorded before all else");
    assertEquals(6, states.size(), states.toString());
  }

  @ParameterizedTest
  @EnumSource(Machine.class)
  void shouldRunTheCodeThatIsThere(final Machine machine) {
    final int function = 0xF_3000;
    final List<Integer> results =
        run(
            machine,
            BootEntry.Mode.PROTECTED32,
            guest -> {
              guest.call(function);
              guest.pam(PAM0, 0x30);
              guest.store(function, 0x0002_B8);
              guest.store(function + 4, 0xC300);
              guest.call(function);
              guest.pam(PAM0, 0);
              guest.call(function);
              guest.pam(PAM0, 0x20);
              guest.store(function, 0x0003_B8);
              guest.call(function);
              guest.pam(PAM0, 0x10);
              guest.call(function);
              guest.store(function, 0x0004_B8);
              guest.call(function);
            });
    assertEquals(List.of(1, 2, 1, 1, 3, 3), results);
  }

  @ParameterizedTest
  @EnumSource(Machine.class)
  void shouldRepeatTheFirstMegabyteWhileA20IsLow(final Machine machine) {
    final List<Integer> results =
        run(
            machine,
            BootEntry.Mode.PROTECTED32,
            guest -> {
              final Assembler a = guest.a;
              final int low = 0x5000;
              final int high = MIB + low;
              guest.store(low, 0x1111);
              guest.store(high, 0x2222);
              guest.load(high);
              a.xor(EAX, EAX);
              a.in(AL, 0x92);
              guest.result();
              guest.port(0x92, 0);
              a.xor(EAX, EAX);
              a.in(AL, 0x92);
              guest.result();
              guest.load(high);
              guest.store(high, 0x3333);
              guest.load(low);
              guest.load(2 * MIB + low);
              // Code, changed by its other address.
              guest.store(low, 0x0005_B8);
              guest.store(low + 4, 0xC300);
              guest.call(low);
              guest.store(high, 0x0006_B8);
              guest.call(low);
              guest.call(high);
              guest.port(0x92, 2);
              guest.load(high);
              // The keyboard controller: output port, and commands of their own.
              guest.port(0x64, 0xD1);
              guest.port(0x60, 0xDD);
              guest.load(high);
              guest.port(0x64, 0xDF);
              guest.load(high);
              guest.port(0x64, 0xDD);
              guest.load(high);
              guest.port(0x64, 0xD1);
              guest.port(0x60, 0xDF);
              guest.load(high);
            });
    assertEquals(
        List.of(0x2222, 2, 0, 0x1111, 0x3333, 0, 5, 6, 6, 0x2222, 0x6B8, 0x2222, 0x6B8, 0x2222),
        results);
    assertEquals(7, states.size(), states.toString());
    assertEquals(MemoryMap.A20_LOW, states.get(1));
  }

  @ParameterizedTest
  @EnumSource(Machine.class)
  void shouldWrapInRealModeAsAnEarlyProcessor(final Machine machine) {
    final List<Integer> results =
        run(
            machine,
            BootEntry.Mode.REAL16,
            guest -> {
              final Assembler a = guest.a;
              guest.store(0x500, 0x1111);
              a.mov(AX, 0xFFFF);
              a.mov(ES, AX);
              a.mov(Memory.absolute(0x510).asDword().in(ES), 0x2222);
              guest.load(0x500);
              guest.port(0x92, 0);
              a.mov(Memory.absolute(0x510).asDword().in(ES), 0x3333);
              guest.load(0x500);
              guest.port(0x92, 2);
              a.mov(EAX, Memory.absolute(0x510).in(ES));
              guest.result();
            });
    assertEquals(List.of(0x1111, 0x3333, 0x2222), results);
  }

  /** Keeps what is recorded of memory. */
  private final class States implements ExitSink {
    @Override
    public boolean wants(final ExitKind kind) {
      return true;
    }

    @Override
    public void write(final ExitEvent event) {
      if (event.kind == ExitKind.DEBUG && event.detail == ExitEvent.DEBUG_MEMORY) {
        states.add(event.value);
      }
    }

    @Override
    public void close() {}
  }
}
