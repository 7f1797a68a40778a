package dev.vmexit.cli;

import static dev.vmexit.cli.LegacyGuest.ABSENT;
import static dev.vmexit.cli.LegacyGuest.ABSENT_VECTOR;
import static dev.vmexit.cli.LegacyGuest.CLOSED_PORT;
import static dev.vmexit.cli.LegacyGuest.CODE0;
import static dev.vmexit.cli.LegacyGuest.CODE1;
import static dev.vmexit.cli.LegacyGuest.CODE3;
import static dev.vmexit.cli.LegacyGuest.CODE3_16;
import static dev.vmexit.cli.LegacyGuest.CODE_ABSENT;
import static dev.vmexit.cli.LegacyGuest.CODE_ABSENT_VECTOR;
import static dev.vmexit.cli.LegacyGuest.CONFORMING;
import static dev.vmexit.cli.LegacyGuest.DATA0;
import static dev.vmexit.cli.LegacyGuest.DATA1;
import static dev.vmexit.cli.LegacyGuest.DATA3;
import static dev.vmexit.cli.LegacyGuest.END;
import static dev.vmexit.cli.LegacyGuest.EXECUTE_ONLY;
import static dev.vmexit.cli.LegacyGuest.GATE0;
import static dev.vmexit.cli.LegacyGuest.GATE16;
import static dev.vmexit.cli.LegacyGuest.GATE3;
import static dev.vmexit.cli.LegacyGuest.GATE_ABSENT;
import static dev.vmexit.cli.LegacyGuest.GATE_NULL;
import static dev.vmexit.cli.LegacyGuest.GATE_TO_DATA;
import static dev.vmexit.cli.LegacyGuest.LDT;
import static dev.vmexit.cli.LegacyGuest.LOCAL_DATA;
import static dev.vmexit.cli.LegacyGuest.OPEN_PORT;
import static dev.vmexit.cli.LegacyGuest.READ_ONLY;
import static dev.vmexit.cli.LegacyGuest.RESCUE_VECTOR;
import static dev.vmexit.cli.LegacyGuest.RING0_ONLY;
import static dev.vmexit.cli.LegacyGuest.STACK0;
import static dev.vmexit.cli.LegacyGuest.TASK;
import static dev.vmexit.cli.LegacyGuest.TASK16;
import static dev.vmexit.cli.LegacyGuest.TASK2;
import static dev.vmexit.cli.LegacyGuest.TASK_ABSENT;
import static dev.vmexit.cli.LegacyGuest.TASK_BUSY;
import static dev.vmexit.cli.LegacyGuest.TASK_GATE;
import static dev.vmexit.cli.LegacyGuest.TASK_SHORT;
import static dev.vmexit.cli.LegacyGuest.TASK_VECTOR;
import static dev.vmexit.cli.LegacyGuest.TRAP16_VECTOR;
import static dev.vmexit.cli.LegacyGuest.TSS;
import static dev.vmexit.cli.LegacyGuest.TSS2;

import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.util.List;

/** What {@link LegacyGuest} runs: the system part of 32-bit mode that no user program can reach. */
final class LegacyPrograms {
  private static final int IOPL3 = 3 << 12;
  private static final int NT = 1 << 14;
  private static final int IDT = 0x20_0400;

  private LegacyPrograms() {}

  static LegacyGuest all() {
    final LegacyGuest g = new LegacyGuest();
    gates(g);
    tasks(g);
    returns(g);
    segments(g);
    interrupts(g);
    vm86(g);
    return g;
  }

  private static void end(final Assembler a) {
    a.interrupt(END);
  }

  private static void gates(final LegacyGuest g) {
    for (final int gate :
        new int[] {GATE3, GATE0, GATE_ABSENT, GATE_TO_DATA, GATE_NULL, GATE16, 0x200, 0}) {
      g.add("call gate %x from ring 0".formatted(gate), a -> a.callFar(gate, 0, 4));
      g.add("jump to gate %x in ring 0".formatted(gate), a -> a.jmpFar(gate, 0, 4));
      g.user(
          "call gate %x from ring 3".formatted(gate),
          0,
          a -> {
            a.push(0x1111_1111);
            a.push(0x2222_2222);
            a.callFar(gate | 3, 0x1234, 4);
          });
      g.user("jump to gate %x in ring 3".formatted(gate), 0, a -> a.jmpFar(gate | 3, 0, 4));
    }
    g.user(
        "call a gate and come back",
        0,
        a -> {
          final Label target = a.label();
          final Label over = a.label();
          a.jmp(over);
          a.bind(target);
          a.retf(4, 8);
          a.bind(over);
          // The gate's target is ring 0's to set: by an interrupt of its own it is not; so by RPL.
          a.push(1);
          a.push(2);
          a.callFar(GATE3 | 3, 0, 4);
        });
    for (final int code :
        new int[] {
          CODE0,
          CODE3,
          CODE3 & ~3,
          CONFORMING,
          CONFORMING | 3,
          CODE_ABSENT,
          DATA0,
          CODE1,
          EXECUTE_ONLY,
          EXECUTE_ONLY | 3
        }) {
      for (final boolean user : new boolean[] {false, true}) {
        final java.util.function.Consumer<Assembler> jump =
            a -> {
              final Label there = a.label();
              a.jmpFar(code, there, 4);
              a.bind(there);
              end(a);
            };
        final String name = "far jump to %x in ring %d".formatted(code, user ? 3 : 0);
        if (user) {
          g.user(name, 0, jump);
        } else {
          g.add(name, jump);
        }
      }
    }
  }

  private static void tasks(final LegacyGuest g) {
    for (final int task :
        new int[] {TASK2, TASK16, TASK, TASK_ABSENT, TASK_SHORT, TASK_BUSY, TASK_GATE}) {
      g.add("jump to task %x".formatted(task), a -> a.jmpFar(task, 0, 4));
      g.add("call task %x".formatted(task), a -> a.callFar(task, 0, 4));
      g.user("jump to task %x in ring 3".formatted(task), 0, a -> a.jmpFar(task | 3, 0, 4));
      g.user("call task %x in ring 3".formatted(task), 0, a -> a.callFar(task | 3, 0, 4));
    }
    g.add("interrupt by a task gate", a -> a.interrupt(TASK_VECTOR));
    g.user("interrupt by a task gate in ring 3", 0, a -> a.interrupt(TASK_VECTOR));
    g.add("call a task that returns", a -> returning(a, b -> b.callFar(TASK2, 0, 4)));
    g.add("interrupt a task that returns", a -> returning(a, b -> b.interrupt(TASK_VECTOR)));
    g.user(
        "call a task gate that returns to ring 3",
        IOPL3,
        a -> returning(a, b -> b.callFar(TASK_GATE, 0, 4)));
    g.add(
        "an exception by a task gate",
        a -> {
          copyGate(a, TASK_VECTOR, Vector.GP);
          final Label handler = a.label();
          final Label over = a.label();
          a.jmp(over);
          a.bind(handler);
          a.pop(Register.EBX);
          end(a);
          a.bind(over);
          a.mov(Memory.absolute(TSS2 + 32).asDword(), 0);
          a.mov(Register.EAX, handler);
          a.mov(Memory.absolute(TSS2 + 32), Register.EAX);
          a.mov(Register.EAX, ABSENT);
          a.mov(Register.EAX, 0x1F8);
          a.mov(Register.DS, Register.AX);
        });
    // What is wrong in the new task's state, with the error code that says so.
    final int[][] wrong = {
      {76, 0}, {76, DATA0}, {76, CODE3}, {76, CODE_ABSENT}, {76, 0x1F8}, {80, 0}, {80, CODE0},
      {80, DATA3}, {80, ABSENT}, {84, EXECUTE_ONLY}, {84, ABSENT}, {84, 0}, {96, DATA0}, {96, LDT},
      {72, 0x1F8}, {88, CODE1}, {92, READ_ONLY}, {100, 0x68_0001}
    };
    for (final int[] w : wrong) {
      g.add(
          "task with %x at %d".formatted(w[1], w[0]),
          a -> {
            for (int vector = Vector.DF; vector <= Vector.GP; vector++) {
              copyGate(a, RESCUE_VECTOR, vector);
            }
            a.mov(Memory.absolute(TSS2 + w[0]).asDword(), w[1]);
            a.jmpFar(TASK2, 0, 4);
          });
    }
    g.add(
        "task with a table of its own",
        a -> {
          a.mov(Memory.absolute(TSS2 + 96).asDword(), LDT);
          a.mov(Memory.absolute(TSS2 + 92).asDword(), LOCAL_DATA);
          a.jmpFar(TASK2, 0, 4);
        });
    g.add(
        "return from no task",
        a -> {
          a.push(NT | 2);
          a.popf(4);
          a.iretd();
        });
    g.add(
        "return to a task that is not busy",
        a -> {
          a.mov(Memory.absolute(TSS).asWord(), TASK2);
          a.push(NT | 2);
          a.popf(4);
          a.iretd();
        });
    g.add(
        "return to a busy task",
        a -> {
          a.mov(Memory.absolute(TSS).asWord(), TASK_BUSY);
          a.push(NT | 2);
          a.popf(4);
          a.iretd();
        });
    for (final int task : new int[] {TASK2, TASK, TASK_ABSENT, CODE0, 0, 0x1F8, LDT}) {
      g.add(
          "load task register with %x".formatted(task),
          a -> {
            a.mov(Register.EAX, task);
            a.ltr(Register.AX);
            end(a);
          });
    }
  }

  /** The second task counts EAX up and returns; then this one goes on. */
  private static void returning(
      final Assembler a, final java.util.function.Consumer<Assembler> call) {
    final Label task = a.label();
    final Label over = a.label();
    a.jmp(over);
    a.bind(task);
    a.inc(Register.EAX);
    a.iretd();
    a.bind(over);
    a.mov(Register.EAX, DATA3);
    a.mov(Register.DS, Register.AX);
    a.mov(Register.EAX, task);
    a.mov(Memory.absolute(TSS2 + 32), Register.EAX);
    call.accept(a);
    end(a);
  }

  private static void copyGate(final Assembler a, final int from, final int to) {
    for (int i = 0; i < 8; i += 4) {
      a.mov(Register.EAX, Memory.absolute(IDT + 8 * from + i));
      a.mov(Memory.absolute(IDT + 8 * to + i), Register.EAX);
    }
  }

  private static void frame(final Assembler a, final int... words) {
    for (final int word : words) {
      a.push(word);
    }
  }

  private static void returns(final LegacyGuest g) {
    final int[] selectors = {
      CODE0,
      CODE3,
      CODE1 | 1,
      CONFORMING,
      CONFORMING | 3,
      CODE_ABSENT,
      DATA0,
      0,
      0x1F8,
      CODE3_16,
      CODE3 & ~3
    };
    for (final int cs : selectors) {
      for (final int ss : new int[] {DATA3, DATA0, DATA1 | 1, ABSENT | 3, READ_ONLY | 3, 0, 3}) {
        if (ss != DATA3 && cs != CODE3) {
          continue;
        }
        for (final boolean far : new boolean[] {false, true}) {
          g.add(
              "%s to %x with stack %x".formatted(far ? "RETF" : "IRET", cs, ss),
              a -> {
                final Label there = a.label();
                final int base = cs == CODE3_16 ? 0x10_0000 : 0;
                frame(a, ss, 0x21_0000);
                if (!far) {
                  frame(a, 0x46);
                }
                frame(a, cs);
                a.mov(Register.EAX, there);
                a.sub(Register.EAX, base);
                a.push(Register.EAX);
                if (far) {
                  a.retf(4);
                } else {
                  a.iretd();
                }
                a.bind(there);
                end(a);
              });
        }
      }
    }
    g.add(
        "return to ring 3 clears segments that it may not have",
        a -> {
          a.mov(Register.EAX, DATA0);
          a.mov(Register.DS, Register.AX);
          a.mov(Register.EAX, CONFORMING);
          a.mov(Register.ES, Register.AX);
          a.mov(Register.EAX, DATA3);
          a.mov(Register.FS, Register.AX);
          LegacyGuest.toUser(a, 0);
          end(a);
        });
    for (final int flags : new int[] {0x3F_7FD7, 0, IOPL3 | Flags.IF, Flags.AC | Flags.ID}) {
      for (final int iopl : new int[] {0, IOPL3}) {
        g.user(
            "POPF of %x in ring 3 with %x".formatted(flags, iopl),
            iopl,
            a -> {
              a.push(flags & ~Flags.TF);
              a.popf(4);
              end(a);
            });
        g.user(
            "16-bit POPF of %x in ring 3 with %x".formatted(flags, iopl),
            iopl,
            a -> {
              a.push(flags & ~Flags.TF);
              a.popf(2);
              end(a);
            });
      }
    }
  }

  private static void segments(final LegacyGuest g) {
    final int[] selectors = {
      0,
      3,
      DATA0,
      DATA0 | 3,
      DATA3,
      CODE0,
      CODE3,
      ABSENT,
      ABSENT | 3,
      EXECUTE_ONLY,
      READ_ONLY | 3,
      CONFORMING,
      TASK,
      LDT,
      GATE3,
      0x1F8,
      LOCAL_DATA,
      DATA1,
      DATA1 | 1
    };
    for (final int selector : selectors) {
      for (final Register segment : List.of(Register.DS, Register.SS, Register.GS)) {
        for (final boolean user : new boolean[] {false, true}) {
          final java.util.function.Consumer<Assembler> load =
              a -> {
                a.mov(Register.EAX, selector);
                a.mov(segment, Register.AX);
                end(a);
              };
          final String name =
              "load %s with %x in ring %d".formatted(segment, selector, user ? 3 : 0);
          if (user) {
            g.user(name, 0, load);
          } else {
            g.add(name, load);
          }
        }
      }
      g.user(
          "ask about %x in ring 3".formatted(selector),
          0,
          a -> {
            a.mov(Register.EDI, selector);
            a.xor(Register.EAX, Register.EAX);
            a.xor(Register.EBX, Register.EBX);
            a.xor(Register.ESI, Register.ESI);
            a.lar(Register.EBX, Register.EDI);
            a.setcc(Condition.E, Register.AL);
            a.lsl(Register.ESI, Register.EDI);
            a.setcc(Condition.E, Register.AH);
            a.verr(Register.DI);
            a.setcc(Condition.E, Register.CL);
            a.verw(Register.DI);
            a.setcc(Condition.E, Register.CH);
            end(a);
          });
      g.add(
          "load the local table with %x".formatted(selector),
          a -> {
            a.mov(Register.EAX, selector);
            a.lldt(Register.AX);
            a.mov(Register.EAX, LOCAL_DATA);
            a.mov(Register.GS, Register.AX);
            end(a);
          });
    }
    for (final int cpl3 : new int[] {0, 1}) {
      for (final int iopl : new int[] {0, IOPL3}) {
        final String where = " in ring %d with %x".formatted(cpl3 * 3, iopl);
        final java.util.function.BiConsumer<String, java.util.function.Consumer<Assembler>> add =
            (name, body) ->
                g.add(
                    name + where,
                    a -> {
                      if (cpl3 != 0) {
                        LegacyGuest.toUser(a, iopl);
                      }
                      body.accept(a);
                      end(a);
                    });
        add.accept("CLI", Assembler::cli);
        add.accept(
            "HLT, or not",
            a -> {
              if (cpl3 != 0) {
                a.hlt();
              }
            });
        add.accept("CLTS", Assembler::clts);
        add.accept(
            "IN of an open port",
            a -> {
              a.in(Register.AL, OPEN_PORT);
              a.mov(Register.AL, 0);
            });
        add.accept("OUT to a closed port", a -> a.out(CLOSED_PORT, Register.AL));
        add.accept(
            "IN of 16 bits, one closed",
            a -> {
              a.in(Register.AX, OPEN_PORT);
              a.mov(Register.AX, 0);
            });
        add.accept("MOV from CR0", a -> a.mov(Register.EBX, Register.CR3));
        add.accept("SMSW", a -> a.smsw(Register.EBX));
        add.accept("SLDT", a -> a.sldt(Register.EBX));
        add.accept("LMSW", a -> a.lmsw(Register.AX));
        add.accept("INVLPG", a -> a.invlpg(Memory.absolute(0)));
      }
    }
  }

  private static void interrupts(final LegacyGuest g) {
    final int[] vectors = {
      END,
      RING0_ONLY,
      ABSENT_VECTOR,
      TRAP16_VECTOR,
      CODE_ABSENT_VECTOR,
      3,
      4,
      13,
      LegacyGuest.VECTORS,
      0xFF
    };
    for (final int vector : vectors) {
      g.add("INT %x in ring 0".formatted(vector), a -> a.interrupt(vector));
      g.user("INT %x in ring 3".formatted(vector), 0, a -> a.interrupt(vector));
    }
    g.user("INT3 in ring 3", 0, Assembler::int3);
    g.user(
        "INTO in ring 3",
        0,
        a -> {
          a.mov(Register.EAX, 0x7FFF_FFFF);
          a.inc(Register.EAX);
          a.into();
          end(a);
        });
    g.user("UD2 in ring 3", 0, Assembler::ud2);
    g.user(
        "DIV by zero in ring 3",
        0,
        a -> {
          a.xor(Register.ECX, Register.ECX);
          a.div(Register.ECX);
        });
    g.user(
        "a step in ring 3",
        0,
        a -> {
          a.push(Flags.TF | 2);
          a.popf(4);
          a.nop();
          a.nop();
        });
    g.user(
        "a page that is not there, in ring 3",
        0,
        a -> {
          a.mov(Register.EAX, DATA3);
          a.mov(Register.DS, Register.AX);
          a.mov(Register.EAX, Memory.absolute(0x500_0000));
        });
    g.add(
        "a fault in the delivery of a fault",
        a -> {
          // #NP's own gate is not there: two contributory faults, so #DF.
          a.mov(Memory.absolute(IDT + 8 * Vector.NP + 4).asDword(), 0);
          a.interrupt(ABSENT_VECTOR);
        });
    g.add(
        "no stack for ring 0",
        a -> {
          a.mov(Memory.absolute(TSS + 8).asDword(), 0);
          copyGate(a, TASK_VECTOR, Vector.TS);
          a.mov(Memory.absolute(TSS2 + 56).asDword(), STACK0 - 0x1000);
          LegacyGuest.toUser(a, 0);
          a.interrupt(END);
        });
  }

  private static void vm86(final LegacyGuest g) {
    for (final int iopl : new int[] {0, IOPL3}) {
      final String with = " in VM86 with %x".formatted(iopl);
      g.vm86("UD2" + with, iopl, Assembler::ud2);
      g.vm86(
          "CLI" + with,
          iopl | Flags.IF,
          a -> {
            a.cli();
            a.ud2();
          });
      g.vm86(
          "STI" + with,
          iopl,
          a -> {
            a.cli();
            a.sti();
            a.ud2();
          });
      g.vm86(
          "PUSHF" + with,
          iopl,
          a -> {
            a.pushf(2);
            a.pop(Register.AX);
            a.and(Register.AX, ~0x8D5);
            a.ud2();
          });
      g.vm86(
          "32-bit PUSHF" + with,
          iopl,
          a -> {
            a.pushf(4);
            a.pop(Register.EAX);
            a.and(Register.EAX, ~0x8D5);
            a.ud2();
          });
      g.vm86(
          "POPF" + with,
          iopl,
          a -> {
            a.push(0x7002);
            a.popf(2);
            a.ud2();
          });
      g.vm86(
          "IRET" + with,
          iopl,
          a -> {
            a.push(0x7002);
            a.push(LegacyGuest.VM86_SEGMENT + 1);
            a.push(0);
            a.iret(2);
            a.org(16);
            a.ud2();
          });
      for (final int vector : new int[] {END, RING0_ONLY, 0x21, ABSENT_VECTOR, TASK_VECTOR}) {
        g.vm86("INT %x".formatted(vector) + with, iopl, a -> a.interrupt(vector));
      }
      g.vm86("INT3" + with, iopl, Assembler::int3);
      g.vm86("HLT" + with, iopl, Assembler::hlt);
      g.vm86(
          "IN of an open port" + with,
          iopl,
          a -> {
            a.in(Register.AL, OPEN_PORT);
            a.xor(Register.AL, Register.AL);
            a.ud2();
          });
      g.vm86("OUT to a closed port" + with, iopl, a -> a.out(CLOSED_PORT, Register.AL));
      g.vm86("SLDT" + with, iopl, a -> a.sldt(Register.AX));
      g.vm86("LAR" + with, iopl, a -> a.lar(Register.AX, Register.AX));
      g.vm86("MOV from CR0" + with, iopl, a -> a.mov(Register.EAX, Register.CR0));
      g.vm86(
          "segments and a far jump" + with,
          iopl,
          a -> {
            a.mov(Register.AX, 0x5678);
            a.mov(Register.DS, Register.AX);
            a.mov(Register.GS, Register.AX);
            a.jmpFar(LegacyGuest.VM86_SEGMENT + 1, 4, 2);
            a.org(20);
            a.ud2();
          });
    }
    g.vm86(
        "the timer in VM86",
        Flags.IF | IOPL3,
        a -> {
          LegacyGuest.unmaskTimer(a);
          a.jmp(a.here());
        });
    g.add(
        "the timer in ring 3",
        a -> {
          LegacyGuest.unmaskTimer(a);
          LegacyGuest.toUser(a, Flags.IF);
          a.jmp(a.here());
        });
    // A task in VM86, and a task switch out of VM86.
    g.add(
        "jump to a task in VM86",
        a -> {
          a.mov(Memory.absolute(TSS2 + 36).asDword(), 1 << 17 | 2);
          a.mov(Memory.absolute(TSS2 + 32).asDword(), 0x10);
          for (int i = 0; i < 6; i++) {
            a.mov(Memory.absolute(TSS2 + 72 + 4 * i).asDword(), 0x2000 + i);
          }
          a.mov(Memory.absolute(TSS2 + 56).asDword(), 0x1000);
          a.mov(Memory.absolute((0x2001 << 4) + 0x10).asDword(), 0x0B0F);
          a.jmpFar(TASK2, 0, 4);
        });
  }
}
