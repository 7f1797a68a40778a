package dev.vmexit.x86.decode;

/**
 * The integer and system instructions: SDM Vol. 2D, A.3, and what the manual leaves out but
 * processors execute (SALC, the aliases at 82, C0 /6, F6 /1, the hint space). Grammar: {@link
 * OpcodeTables}.
 */
final class IntegerOpcodes {
  static final String TABLE =
      """
      map 0
      00 ADD Eb,Gb lock
      01 ADD Ev,Gv lock
      02 ADD Gb,Eb
      03 ADD Gv,Ev
      04 ADD AL,ib
      05 ADD rAX,iz
      06 m32 PUSH ES
      07 m32 POP ES
      08 OR Eb,Gb lock
      09 OR Ev,Gv lock
      0A OR Gb,Eb
      0B OR Gv,Ev
      0C OR AL,ib
      0D OR rAX,iz
      0E m32 PUSH CS
      10 ADC Eb,Gb lock
      11 ADC Ev,Gv lock
      12 ADC Gb,Eb
      13 ADC Gv,Ev
      14 ADC AL,ib
      15 ADC rAX,iz
      16 m32 PUSH SS
      17 m32 POP SS
      18 SBB Eb,Gb lock
      19 SBB Ev,Gv lock
      1A SBB Gb,Eb
      1B SBB Gv,Ev
      1C SBB AL,ib
      1D SBB rAX,iz
      1E m32 PUSH DS
      1F m32 POP DS
      20 AND Eb,Gb lock
      21 AND Ev,Gv lock
      22 AND Gb,Eb
      23 AND Gv,Ev
      24 AND AL,ib
      25 AND rAX,iz
      27 m32 DAA
      28 SUB Eb,Gb lock
      29 SUB Ev,Gv lock
      2A SUB Gb,Eb
      2B SUB Gv,Ev
      2C SUB AL,ib
      2D SUB rAX,iz
      2F m32 DAS
      30 XOR Eb,Gb lock
      31 XOR Ev,Gv lock
      32 XOR Gb,Eb
      33 XOR Gv,Ev
      34 XOR AL,ib
      35 XOR rAX,iz
      37 m32 AAA
      38 CMP Eb,Gb
      39 CMP Ev,Gv
      3A CMP Gb,Eb
      3B CMP Gv,Ev
      3C CMP AL,ib
      3D CMP rAX,iz
      3F m32 AAS
      40+r m32 INC Zv
      48+r m32 DEC Zv
      50+r PUSH Zv d64
      58+r POP Zv d64
      60 m32 PUSHA
      61 m32 POPA
      62 m32 mem BOUND Gv,Ma
      63 m32 ARPL Ew,Gw
      63 m64 MOVSXD Gv,Ez
      68 PUSH iz d64
      69 IMUL Gv,Ev,iz
      6A PUSH ib d64
      6B IMUL Gv,Ev,ib
      6C INS Yb
      6D INS Yz max32
      6E OUTS Xb
      6F OUTS Xz max32
      70 JO jb f64
      71 JNO jb f64
      72 JB jb f64
      73 JAE jb f64
      74 JE jb f64
      75 JNE jb f64
      76 JBE jb f64
      77 JA jb f64
      78 JS jb f64
      79 JNS jb f64
      7A JP jb f64
      7B JNP jb f64
      7C JL jb f64
      7D JGE jb f64
      7E JLE jb f64
      7F JG jb f64
      80 /0 ADD Eb,ib lock
      80 /1 OR Eb,ib lock
      80 /2 ADC Eb,ib lock
      80 /3 SBB Eb,ib lock
      80 /4 AND Eb,ib lock
      80 /5 SUB Eb,ib lock
      80 /6 XOR Eb,ib lock
      80 /7 CMP Eb,ib
      81 /0 ADD Ev,iz lock
      81 /1 OR Ev,iz lock
      81 /2 ADC Ev,iz lock
      81 /3 SBB Ev,iz lock
      81 /4 AND Ev,iz lock
      81 /5 SUB Ev,iz lock
      81 /6 XOR Ev,iz lock
      81 /7 CMP Ev,iz
      82 m32 /0 ADD Eb,ib lock
      82 m32 /1 OR Eb,ib lock
      82 m32 /2 ADC Eb,ib lock
      82 m32 /3 SBB Eb,ib lock
      82 m32 /4 AND Eb,ib lock
      82 m32 /5 SUB Eb,ib lock
      82 m32 /6 XOR Eb,ib lock
      82 m32 /7 CMP Eb,ib
      83 /0 ADD Ev,ib lock
      83 /1 OR Ev,ib lock
      83 /2 ADC Ev,ib lock
      83 /3 SBB Ev,ib lock
      83 /4 AND Ev,ib lock
      83 /5 SUB Ev,ib lock
      83 /6 XOR Ev,ib lock
      83 /7 CMP Ev,ib
      84 TEST Eb,Gb
      85 TEST Ev,Gv
      86 XCHG Eb,Gb lock
      87 XCHG Ev,Gv lock
      88 MOV Eb,Gb
      89 MOV Ev,Gv
      8A MOV Gb,Eb
      8B MOV Gv,Ev
      8C /0 MOV Ev:w,Sw
      8C /1 MOV Ev:w,Sw
      8C /2 MOV Ev:w,Sw
      8C /3 MOV Ev:w,Sw
      8C /4 MOV Ev:w,Sw
      8C /5 MOV Ev:w,Sw
      8D mem LEA Gv,M-
      8E /0 MOV Sw,Ew
      8E /2 MOV Sw,Ew
      8E /3 MOV Sw,Ew
      8E /4 MOV Sw,Ew
      8E /5 MOV Sw,Ew
      8F /0 POP Ev d64
      90 b1 XCHG Zv,rAX
      90 f3 PAUSE
      90 NOP
      91 XCHG Zv,rAX
      92 XCHG Zv,rAX
      93 XCHG Zv,rAX
      94 XCHG Zv,rAX
      95 XCHG Zv,rAX
      96 XCHG Zv,rAX
      97 XCHG Zv,rAX
      98 o16 CBW
      98 o32 CWDE
      98 o64 CDQE
      99 o16 CWD
      99 o32 CDQ
      99 o64 CQO
      9A m32 CALLF Ap
      9B FWAIT
      9C PUSHF d64
      9D POPF d64
      9E SAHF
      9F LAHF
      A0 MOV AL,Ob
      A1 MOV rAX,Ov
      A2 MOV Ob,AL
      A3 MOV Ov,rAX
      A4 MOVS Yb,Xb
      A5 MOVS Yv,Xv
      A6 CMPS Xb,Yb
      A7 CMPS Xv,Yv
      A8 TEST AL,ib
      A9 TEST rAX,iz
      AA STOS Yb
      AB STOS Yv
      AC LODS Xb
      AD LODS Xv
      AE SCAS Yb
      AF SCAS Yv
      B0+r MOV Zb,ib
      B8+r MOV Zv,iv
      C0 /0 ROL Eb,ub
      C0 /1 ROR Eb,ub
      C0 /2 RCL Eb,ub
      C0 /3 RCR Eb,ub
      C0 /4 SHL Eb,ub
      C0 /5 SHR Eb,ub
      C0 /6 SHL Eb,ub
      C0 /7 SAR Eb,ub
      C1 /0 ROL Ev,ub
      C1 /1 ROR Ev,ub
      C1 /2 RCL Ev,ub
      C1 /3 RCR Ev,ub
      C1 /4 SHL Ev,ub
      C1 /5 SHR Ev,ub
      C1 /6 SHL Ev,ub
      C1 /7 SAR Ev,ub
      C2 RET iw f64
      C3 RET f64
      C4 m32 mem LES Gv,Mp
      C5 m32 mem LDS Gv,Mp
      C6 /0 MOV Eb,ib
      C6 reg /7 rm=0 XABORT ub
      C7 /0 MOV Ev,iz
      C7 reg /7 rm=0 XBEGIN jz
      C8 ENTER iw,ub2 d64
      C9 LEAVE d64
      CA RETF iw
      CB RETF
      CC INT3
      CD INT ub
      CE m32 INTO
      CF IRET
      D0 /0 ROL Eb,1
      D0 /1 ROR Eb,1
      D0 /2 RCL Eb,1
      D0 /3 RCR Eb,1
      D0 /4 SHL Eb,1
      D0 /5 SHR Eb,1
      D0 /6 SHL Eb,1
      D0 /7 SAR Eb,1
      D1 /0 ROL Ev,1
      D1 /1 ROR Ev,1
      D1 /2 RCL Ev,1
      D1 /3 RCR Ev,1
      D1 /4 SHL Ev,1
      D1 /5 SHR Ev,1
      D1 /6 SHL Ev,1
      D1 /7 SAR Ev,1
      D2 /0 ROL Eb,CL
      D2 /1 ROR Eb,CL
      D2 /2 RCL Eb,CL
      D2 /3 RCR Eb,CL
      D2 /4 SHL Eb,CL
      D2 /5 SHR Eb,CL
      D2 /6 SHL Eb,CL
      D2 /7 SAR Eb,CL
      D3 /0 ROL Ev,CL
      D3 /1 ROR Ev,CL
      D3 /2 RCL Ev,CL
      D3 /3 RCR Ev,CL
      D3 /4 SHL Ev,CL
      D3 /5 SHR Ev,CL
      D3 /6 SHL Ev,CL
      D3 /7 SAR Ev,CL
      D4 m32 AAM ub
      D5 m32 AAD ub
      D6 m32 SALC
      D7 XLAT
      E0 LOOPNE jb f64
      E1 LOOPE jb f64
      E2 LOOP jb f64
      E3 JRCXZ jb f64
      E4 IN AL,ub
      E5 IN eAX,ub max32
      E6 OUT ub,AL byte
      E7 OUT ub,eAX max32
      E8 CALL jz f64
      E9 JMP jz f64
      EA m32 JMPF Ap
      EB JMP jb f64
      EC IN AL,DX
      ED IN eAX,DX max32
      EE OUT DX,AL byte
      EF OUT DX,eAX max32
      F1 INT1
      F4 HLT
      F5 CMC
      F6 /0 TEST Eb,ib
      F6 /1 TEST Eb,ib
      F6 /2 NOT Eb lock
      F6 /3 NEG Eb lock
      F6 /4 MUL Eb
      F6 /5 IMUL Eb
      F6 /6 DIV Eb
      F6 /7 IDIV Eb
      F7 /0 TEST Ev,iz
      F7 /1 TEST Ev,iz
      F7 /2 NOT Ev lock
      F7 /3 NEG Ev lock
      F7 /4 MUL Ev
      F7 /5 IMUL Ev
      F7 /6 DIV Ev
      F7 /7 IDIV Ev
      F8 CLC
      F9 STC
      FA CLI
      FB STI
      FC CLD
      FD STD
      FE /0 INC Eb lock
      FE /1 DEC Eb lock
      FF /0 INC Ev lock
      FF /1 DEC Ev lock
      FF /2 CALL Ev f64
      FF mem /3 CALLF Mp
      FF /4 JMP Ev f64
      FF mem /5 JMPF Mp
      FF /6 PUSH Ev d64

      map 1
      00 /0 SLDT Ev:w
      00 /1 STR Ev:w
      00 /2 LLDT Ew
      00 /3 LTR Ew
      00 /4 VERR Ew
      00 /5 VERW Ew
      01 mem /0 SGDT Ms mode
      01 mem /1 SIDT Ms mode
      01 mem /2 LGDT Ms mode
      01 mem /3 LIDT Ms mode
      01 /4 SMSW Ev:w
      01 mem f3 /5 RSTORSSP Mq
      01 /6 LMSW Ew
      01 mem /7 INVLPG M-
      01 reg np /0 rm=0 ENCLV
      01 reg np /0 rm=1 VMCALL
      01 reg np /0 rm=2 VMLAUNCH
      01 reg np /0 rm=3 VMRESUME
      01 reg np /0 rm=4 VMXOFF
      01 reg np /0 rm=5 PCONFIG
      01 reg np /0 rm=6 WRMSRNS
      01 reg np /1 rm=0 MONITOR
      01 reg np /1 rm=1 MWAIT
      01 reg np /1 rm=2 CLAC
      01 reg np /1 rm=3 STAC
      01 reg np /1 rm=7 ENCLS
      01 reg np /2 rm=0 XGETBV
      01 reg np /2 rm=1 XSETBV
      01 reg np /2 rm=4 VMFUNC
      01 reg np /2 rm=5 XEND
      01 reg np /2 rm=6 XTEST
      01 reg np /2 rm=7 ENCLU
      01 reg /3 rm=0 VMRUN
      01 reg /3 rm=1 VMMCALL
      01 reg /3 rm=2 VMLOAD
      01 reg /3 rm=3 VMSAVE
      01 reg /3 rm=4 STGI
      01 reg /3 rm=5 CLGI
      01 reg /3 rm=6 SKINIT
      01 reg /3 rm=7 INVLPGA
      01 reg np /5 rm=0 SERIALIZE
      01 reg f3 /5 rm=0 SETSSBSY
      01 reg f2 /5 rm=0 XSUSLDTRK
      01 reg f2 /5 rm=1 XRESLDTRK
      01 reg f3 /5 rm=2 SAVEPREVSSP
      01 reg f3 m64 /5 rm=4 UIRET
      01 reg f3 m64 /5 rm=5 TESTUI
      01 reg f3 m64 /5 rm=6 CLUI
      01 reg np /5 rm=6 RDPKRU
      01 reg f3 m64 /5 rm=7 STUI
      01 reg np /5 rm=7 WRPKRU
      01 reg m64 /7 rm=0 SWAPGS
      01 reg /7 rm=1 RDTSCP
      01 reg np /7 rm=2 MONITORX
      01 reg np /7 rm=3 MWAITX
      01 reg np /7 rm=4 CLZERO
      01 reg np /7 rm=5 RDPRU
      01 reg np /7 rm=6 INVLPGB
      01 reg np /7 rm=7 TLBSYNC
      02 LAR Gv,Ew
      03 LSL Gv,Ew
      05 SYSCALL
      06 CLTS
      07 SYSRET
      08 INVD
      09 f3 WBNOINVD
      09 WBINVD
      0B UD2
      0D mem /1 PREFETCHW Mb
      0D mem /2 PREFETCHWT1 Mb
      0D mem PREFETCH Mb
      0D NOP Ev
      0E FEMMS
      18 mem /0 PREFETCHNTA Mb
      18 mem /1 PREFETCHT0 Mb
      18 mem /2 PREFETCHT1 Mb
      18 mem /3 PREFETCHT2 Mb
      18 NOP Ev
      19 NOP Ev
      1A NOP Ev
      1B NOP Ev
      1C NOP Ev
      1D NOP Ev
      1E reg f3 /7 rm=2 ENDBR64
      1E reg f3 /7 rm=3 ENDBR32
      1E NOP Ev
      1F NOP Ev
      20 MOV Rm,Cm mode
      21 MOV Rm,Dm mode
      22 MOV Cm,Rm mode
      23 MOV Dm,Rm mode
      30 WRMSR
      31 RDTSC
      32 RDMSR
      33 RDPMC
      34 SYSENTER
      35 SYSEXIT
      37 GETSEC
      40 CMOVO Gv,Ev
      41 CMOVNO Gv,Ev
      42 CMOVB Gv,Ev
      43 CMOVAE Gv,Ev
      44 CMOVE Gv,Ev
      45 CMOVNE Gv,Ev
      46 CMOVBE Gv,Ev
      47 CMOVA Gv,Ev
      48 CMOVS Gv,Ev
      49 CMOVNS Gv,Ev
      4A CMOVP Gv,Ev
      4B CMOVNP Gv,Ev
      4C CMOVL Gv,Ev
      4D CMOVGE Gv,Ev
      4E CMOVLE Gv,Ev
      4F CMOVG Gv,Ev
      78 np VMREAD Em,Gm mode
      79 np VMWRITE Gm,Em mode
      80 JO jz f64
      81 JNO jz f64
      82 JB jz f64
      83 JAE jz f64
      84 JE jz f64
      85 JNE jz f64
      86 JBE jz f64
      87 JA jz f64
      88 JS jz f64
      89 JNS jz f64
      8A JP jz f64
      8B JNP jz f64
      8C JL jz f64
      8D JGE jz f64
      8E JLE jz f64
      8F JG jz f64
      90 SETO Eb
      91 SETNO Eb
      92 SETB Eb
      93 SETAE Eb
      94 SETE Eb
      95 SETNE Eb
      96 SETBE Eb
      97 SETA Eb
      98 SETS Eb
      99 SETNS Eb
      9A SETP Eb
      9B SETNP Eb
      9C SETL Eb
      9D SETGE Eb
      9E SETLE Eb
      9F SETG Eb
      A0 PUSH FS d64
      A1 POP FS d64
      A2 CPUID
      A3 BT Ev,Gv
      A4 SHLD Ev,Gv,ub
      A5 SHLD Ev,Gv,CL
      A8 PUSH GS d64
      A9 POP GS d64
      AA RSM
      AB BTS Ev,Gv lock
      AC SHRD Ev,Gv,ub
      AD SHRD Ev,Gv,CL
      AE mem np /0 FXSAVE MX
      AE mem np /1 FXRSTOR MX
      AE mem np /4 XSAVE M-
      AE mem np /5 XRSTOR M-
      AE mem np /6 XSAVEOPT M-
      AE mem np /7 CLFLUSH Mb
      AE mem 66 /6 CLWB Mb
      AE mem 66 /7 CLFLUSHOPT Mb
      AE f3 /4 PTWRITE Ey
      AE mem f3 /6 CLRSSBSY Mq
      AE reg np /5 LFENCE
      AE reg np /6 MFENCE
      AE reg np /7 SFENCE
      AE reg m64 f3 /0 RDFSBASE Ry
      AE reg m64 f3 /1 RDGSBASE Ry
      AE reg m64 f3 /2 WRFSBASE Ry
      AE reg m64 f3 /3 WRGSBASE Ry
      AE reg f3 /5 INCSSP Ry
      AE reg 66 /6 TPAUSE Rd
      AE reg f3 /6 UMONITOR RA
      AE reg f2 /6 UMWAIT Rd
      AF IMUL Gv,Ev
      B0 CMPXCHG Eb,Gb lock
      B1 CMPXCHG Ev,Gv lock
      B2 mem LSS Gv,Mp
      B3 BTR Ev,Gv lock
      B4 mem LFS Gv,Mp
      B5 mem LGS Gv,Mp
      B6 MOVZX Gv,Eb
      B7 MOVZX Gv,Ew
      B8 f3 POPCNT Gv,Ev
      B9 UD1 Gv,Ev
      BA /4 BT Ev,ub
      BA /5 BTS Ev,ub lock
      BA /6 BTR Ev,ub lock
      BA /7 BTC Ev,ub lock
      BB BTC Ev,Gv lock
      BC f3 TZCNT Gv,Ev
      BC BSF Gv,Ev
      BD f3 LZCNT Gv,Ev
      BD BSR Gv,Ev
      BE MOVSX Gv,Eb
      BF MOVSX Gv,Ew
      C0 XADD Eb,Gb lock
      C1 XADD Ev,Gv lock
      C3 np mem MOVNTI My,Gy
      C7 mem w1 /1 CMPXCHG16B Mo lock
      C7 mem /1 CMPXCHG8B Mq lock
      C7 mem np /3 XRSTORS M-
      C7 mem np /4 XSAVEC M-
      C7 mem np /5 XSAVES M-
      C7 mem np /6 VMPTRLD Mq
      C7 mem 66 /6 VMCLEAR Mq
      C7 mem f3 /6 VMXON Mq
      C7 mem np /7 VMPTRST Mq
      C7 reg np|66 /6 RDRAND Rv
      C7 reg m64 f3 /6 SENDUIPI Rq
      C7 reg np|66 /7 RDSEED Rv
      C7 reg f3 /7 RDPID Rm mode
      C8+r BSWAP Zv
      FF UD0 Gv,Ev

      map 2
      80 66 mem INVEPT Gm,Mo mode
      81 66 mem INVVPID Gm,Mo mode
      82 66 mem INVPCID Gm,Mo mode
      F0 np|66 mem MOVBE Gv,Mv
      F0 f2 CRC32 Gy,Eb
      F1 np|66 mem MOVBE Mv,Gv
      F1 f2 CRC32 Gy,Ev
      F5 66 mem WRUSS My,Gy
      F6 np mem WRSS My,Gy
      F6 66 ADCX Gy,Ey
      F6 f3 ADOX Gy,Ey
      F8 66 mem MOVDIR64B GA,Mn
      F8 f2 mem ENQCMD GA,Mn
      F8 f3 mem ENQCMDS GA,Mn
      F9 np mem MOVDIRI My,Gy

      vex 2
      F2 np l0 ANDN Gy,By,Ey
      F3 np l0 /1 BLSR By,Ey
      F3 np l0 /2 BLSMSK By,Ey
      F3 np l0 /3 BLSI By,Ey
      F5 np l0 BZHI Gy,Ey,By
      F5 f3 l0 PEXT Gy,By,Ey
      F5 f2 l0 PDEP Gy,By,Ey
      F6 f2 l0 MULX Gy,By,Ey
      F7 np l0 BEXTR Gy,Ey,By
      F7 66 l0 SHLX Gy,Ey,By
      F7 f3 l0 SARX Gy,Ey,By
      F7 f2 l0 SHRX Gy,Ey,By
      vex 3
      F0 f2 l0 RORX Gy,Ey,ub
      """;

  private IntegerOpcodes() {}
}
