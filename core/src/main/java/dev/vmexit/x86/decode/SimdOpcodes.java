package dev.vmexit.x86.decode;

/**
 * MMX, 3DNow!, SSE to SSE4.2, AES, PCLMULQDQ, SHA, GFNI, and the VEX forms that go with them
 * (marked {@code vex}: same line, the H operand and the V of the name in the VEX form alone).
 * Grammar: {@link OpcodeTables}.
 */
final class SimdOpcodes {
  static final String TABLE =
      """
      map 1
      0F PFADD Pq,Qq suffix
      10 np MOVUPS Vx,Wx vex
      10 66 MOVUPD Vx,Wx vex
      10 f3 mem MOVSS Vo,Md vex
      10 f3 reg MOVSS Vo,Ho,Uo vex
      10 f2 mem MOVSD Vo,Mq vex
      10 f2 reg MOVSD Vo,Ho,Uo vex
      11 np MOVUPS Wx,Vx vex
      11 66 MOVUPD Wx,Vx vex
      11 f3 mem MOVSS Md,Vo vex
      11 f3 reg MOVSS Uo,Ho,Vo vex
      11 f2 mem MOVSD Mq,Vo vex
      11 f2 reg MOVSD Uo,Ho,Vo vex
      12 np mem MOVLPS Vo,Ho,Mq vex0
      12 np reg MOVHLPS Vo,Ho,Uo vex0
      12 66 mem MOVLPD Vo,Ho,Mq vex0
      12 f3 MOVSLDUP Vx,Wx vex
      12 f2 MOVDDUP Vx,Wx:k vex
      13 np mem MOVLPS Mq,Vo vex0
      13 66 mem MOVLPD Mq,Vo vex0
      14 np UNPCKLPS Vx,Hx,Wx vex
      14 66 UNPCKLPD Vx,Hx,Wx vex
      15 np UNPCKHPS Vx,Hx,Wx vex
      15 66 UNPCKHPD Vx,Hx,Wx vex
      16 np mem MOVHPS Vo,Ho,Mq vex0
      16 np reg MOVLHPS Vo,Ho,Uo vex0
      16 66 mem MOVHPD Vo,Ho,Mq vex0
      16 f3 MOVSHDUP Vx,Wx vex
      17 np mem MOVHPS Mq,Vo vex0
      17 66 mem MOVHPD Mq,Vo vex0
      28 np MOVAPS Vx,Wx vex
      28 66 MOVAPD Vx,Wx vex
      29 np MOVAPS Wx,Vx vex
      29 66 MOVAPD Wx,Vx vex
      2A np CVTPI2PS Vo,Qq
      2A 66 CVTPI2PD Vo,Qq
      2A f3 CVTSI2SS Vo,Ho,Ey vex
      2A f2 CVTSI2SD Vo,Ho,Ey vex
      2B np mem MOVNTPS Mx,Vx vex
      2B 66 mem MOVNTPD Mx,Vx vex
      2B f3 mem MOVNTSS Md,Vo
      2B f2 mem MOVNTSD Mq,Vo
      2C np CVTTPS2PI Pq,Wo:q
      2C 66 CVTTPD2PI Pq,Wo
      2C f3 CVTTSS2SI Gy,Wo:d vex
      2C f2 CVTTSD2SI Gy,Wo:q vex
      2D np CVTPS2PI Pq,Wo:q
      2D 66 CVTPD2PI Pq,Wo
      2D f3 CVTSS2SI Gy,Wo:d vex
      2D f2 CVTSD2SI Gy,Wo:q vex
      2E np UCOMISS Vo,Wo:d vex
      2E 66 UCOMISD Vo,Wo:q vex
      2F np COMISS Vo,Wo:d vex
      2F 66 COMISD Vo,Wo:q vex
      50 np reg MOVMSKPS Gy,Ux vex
      50 66 reg MOVMSKPD Gy,Ux vex
      51 np SQRTPS Vx,Wx vex
      51 66 SQRTPD Vx,Wx vex
      51 f3 SQRTSS Vo,Ho,Wo:d vex
      51 f2 SQRTSD Vo,Ho,Wo:q vex
      52 np RSQRTPS Vx,Wx vex
      52 f3 RSQRTSS Vo,Ho,Wo:d vex
      53 np RCPPS Vx,Wx vex
      53 f3 RCPSS Vo,Ho,Wo:d vex
      54 np ANDPS Vx,Hx,Wx vex
      54 66 ANDPD Vx,Hx,Wx vex
      55 np ANDNPS Vx,Hx,Wx vex
      55 66 ANDNPD Vx,Hx,Wx vex
      56 np ORPS Vx,Hx,Wx vex
      56 66 ORPD Vx,Hx,Wx vex
      57 np XORPS Vx,Hx,Wx vex
      57 66 XORPD Vx,Hx,Wx vex
      58 np ADDPS Vx,Hx,Wx vex
      58 66 ADDPD Vx,Hx,Wx vex
      58 f3 ADDSS Vo,Ho,Wo:d vex
      58 f2 ADDSD Vo,Ho,Wo:q vex
      59 np MULPS Vx,Hx,Wx vex
      59 66 MULPD Vx,Hx,Wx vex
      59 f3 MULSS Vo,Ho,Wo:d vex
      59 f2 MULSD Vo,Ho,Wo:q vex
      5A np CVTPS2PD Vx,Wh:h vex
      5A 66 CVTPD2PS Vo,Wx vex
      5A f3 CVTSS2SD Vo,Ho,Wo:d vex
      5A f2 CVTSD2SS Vo,Ho,Wo:q vex
      5B np CVTDQ2PS Vx,Wx vex
      5B 66 CVTPS2DQ Vx,Wx vex
      5B f3 CVTTPS2DQ Vx,Wx vex
      5C np SUBPS Vx,Hx,Wx vex
      5C 66 SUBPD Vx,Hx,Wx vex
      5C f3 SUBSS Vo,Ho,Wo:d vex
      5C f2 SUBSD Vo,Ho,Wo:q vex
      5D np MINPS Vx,Hx,Wx vex
      5D 66 MINPD Vx,Hx,Wx vex
      5D f3 MINSS Vo,Ho,Wo:d vex
      5D f2 MINSD Vo,Ho,Wo:q vex
      5E np DIVPS Vx,Hx,Wx vex
      5E 66 DIVPD Vx,Hx,Wx vex
      5E f3 DIVSS Vo,Ho,Wo:d vex
      5E f2 DIVSD Vo,Ho,Wo:q vex
      5F np MAXPS Vx,Hx,Wx vex
      5F 66 MAXPD Vx,Hx,Wx vex
      5F f3 MAXSS Vo,Ho,Wo:d vex
      5F f2 MAXSD Vo,Ho,Wo:q vex
      60 np PUNPCKLBW Pq,Qq:d
      60 66 PUNPCKLBW Vx,Hx,Wx vex
      61 np PUNPCKLWD Pq,Qq:d
      61 66 PUNPCKLWD Vx,Hx,Wx vex
      62 np PUNPCKLDQ Pq,Qq:d
      62 66 PUNPCKLDQ Vx,Hx,Wx vex
      63 np PACKSSWB Pq,Qq
      63 66 PACKSSWB Vx,Hx,Wx vex
      64 np PCMPGTB Pq,Qq
      64 66 PCMPGTB Vx,Hx,Wx vex
      65 np PCMPGTW Pq,Qq
      65 66 PCMPGTW Vx,Hx,Wx vex
      66 np PCMPGTD Pq,Qq
      66 66 PCMPGTD Vx,Hx,Wx vex
      67 np PACKUSWB Pq,Qq
      67 66 PACKUSWB Vx,Hx,Wx vex
      68 np PUNPCKHBW Pq,Qq
      68 66 PUNPCKHBW Vx,Hx,Wx vex
      69 np PUNPCKHWD Pq,Qq
      69 66 PUNPCKHWD Vx,Hx,Wx vex
      6A np PUNPCKHDQ Pq,Qq
      6A 66 PUNPCKHDQ Vx,Hx,Wx vex
      6B np PACKSSDW Pq,Qq
      6B 66 PACKSSDW Vx,Hx,Wx vex
      6C 66 PUNPCKLQDQ Vx,Hx,Wx vex
      6D 66 PUNPCKHQDQ Vx,Hx,Wx vex
      6E np r1 MOVQ Pq,Ey
      6E np MOVD Pq,Ey
      6E 66 r1 MOVQ Vo,Ey vex0
      6E 66 MOVD Vo,Ey vex0
      6F np MOVQ Pq,Qq
      6F 66 MOVDQA Vx,Wx vex
      6F f3 MOVDQU Vx,Wx vex
      70 np PSHUFW Pq,Qq,ub
      70 66 PSHUFD Vx,Wx,ub vex
      70 f3 PSHUFHW Vx,Wx,ub vex
      70 f2 PSHUFLW Vx,Wx,ub vex
      71 reg np /2 PSRLW Nq,ub
      71 reg 66 /2 PSRLW Hx,Ux,ub vex
      71 reg np /4 PSRAW Nq,ub
      71 reg 66 /4 PSRAW Hx,Ux,ub vex
      71 reg np /6 PSLLW Nq,ub
      71 reg 66 /6 PSLLW Hx,Ux,ub vex
      72 reg np /2 PSRLD Nq,ub
      72 reg 66 /2 PSRLD Hx,Ux,ub vex
      72 reg np /4 PSRAD Nq,ub
      72 reg 66 /4 PSRAD Hx,Ux,ub vex
      72 reg np /6 PSLLD Nq,ub
      72 reg 66 /6 PSLLD Hx,Ux,ub vex
      73 reg np /2 PSRLQ Nq,ub
      73 reg 66 /2 PSRLQ Hx,Ux,ub vex
      73 reg np /6 PSLLQ Nq,ub
      73 reg 66 /6 PSLLQ Hx,Ux,ub vex
      73 reg 66 /3 PSRLDQ Hx,Ux,ub vex
      73 reg 66 /7 PSLLDQ Hx,Ux,ub vex
      74 np PCMPEQB Pq,Qq
      74 66 PCMPEQB Vx,Hx,Wx vex
      75 np PCMPEQW Pq,Qq
      75 66 PCMPEQW Vx,Hx,Wx vex
      76 np PCMPEQD Pq,Qq
      76 66 PCMPEQD Vx,Hx,Wx vex
      77 np EMMS
      78 66 reg /0 EXTRQ Uo,ub,ub2
      78 f2 reg INSERTQ Vo,Uo,ub,ub2
      79 66 reg EXTRQ Vo,Uo
      79 f2 reg INSERTQ Vo,Uo
      7C 66 HADDPD Vx,Hx,Wx vex
      7C f2 HADDPS Vx,Hx,Wx vex
      7D 66 HSUBPD Vx,Hx,Wx vex
      7D f2 HSUBPS Vx,Hx,Wx vex
      7E np r1 MOVQ Ey,Pq
      7E np MOVD Ey,Pq
      7E 66 r1 MOVQ Ey,Vo vex0
      7E 66 MOVD Ey,Vo vex0
      7E f3 MOVQ Vo,Wo:q vex0
      7F np MOVQ Qq,Pq
      7F 66 MOVDQA Wx,Vx vex
      7F f3 MOVDQU Wx,Vx vex
      AE mem np /2 LDMXCSR Md vex0
      AE mem np /3 STMXCSR Md vex0
      C2 np CMPPS Vx,Hx,Wx,ub vex
      C2 66 CMPPD Vx,Hx,Wx,ub vex
      C2 f3 CMPSS Vo,Ho,Wo:d,ub vex
      C2 f2 CMPSD Vo,Ho,Wo:q,ub vex
      C4 np PINSRW Pq,Ed:w,ub
      C4 66 PINSRW Vo,Ho,Ed:w,ub vex0
      C5 np reg PEXTRW Gy,Nq,ub
      C5 66 reg PEXTRW Gy,Uo,ub vex0
      C6 np SHUFPS Vx,Hx,Wx,ub vex
      C6 66 SHUFPD Vx,Hx,Wx,ub vex
      D0 66 ADDSUBPD Vx,Hx,Wx vex
      D0 f2 ADDSUBPS Vx,Hx,Wx vex
      D1 np PSRLW Pq,Qq
      D1 66 PSRLW Vx,Hx,Wo vex
      D2 np PSRLD Pq,Qq
      D2 66 PSRLD Vx,Hx,Wo vex
      D3 np PSRLQ Pq,Qq
      D3 66 PSRLQ Vx,Hx,Wo vex
      D4 np PADDQ Pq,Qq
      D4 66 PADDQ Vx,Hx,Wx vex
      D5 np PMULLW Pq,Qq
      D5 66 PMULLW Vx,Hx,Wx vex
      D6 66 MOVQ Wo:q,Vo vex0
      D6 f3 reg MOVQ2DQ Vo,Nq
      D6 f2 reg MOVDQ2Q Pq,Uo
      D7 np reg PMOVMSKB Gy,Nq
      D7 66 reg PMOVMSKB Gy,Ux vex
      D8 np PSUBUSB Pq,Qq
      D8 66 PSUBUSB Vx,Hx,Wx vex
      D9 np PSUBUSW Pq,Qq
      D9 66 PSUBUSW Vx,Hx,Wx vex
      DA np PMINUB Pq,Qq
      DA 66 PMINUB Vx,Hx,Wx vex
      DB np PAND Pq,Qq
      DB 66 PAND Vx,Hx,Wx vex
      DC np PADDUSB Pq,Qq
      DC 66 PADDUSB Vx,Hx,Wx vex
      DD np PADDUSW Pq,Qq
      DD 66 PADDUSW Vx,Hx,Wx vex
      DE np PMAXUB Pq,Qq
      DE 66 PMAXUB Vx,Hx,Wx vex
      DF np PANDN Pq,Qq
      DF 66 PANDN Vx,Hx,Wx vex
      E0 np PAVGB Pq,Qq
      E0 66 PAVGB Vx,Hx,Wx vex
      E1 np PSRAW Pq,Qq
      E1 66 PSRAW Vx,Hx,Wo vex
      E2 np PSRAD Pq,Qq
      E2 66 PSRAD Vx,Hx,Wo vex
      E3 np PAVGW Pq,Qq
      E3 66 PAVGW Vx,Hx,Wx vex
      E4 np PMULHUW Pq,Qq
      E4 66 PMULHUW Vx,Hx,Wx vex
      E5 np PMULHW Pq,Qq
      E5 66 PMULHW Vx,Hx,Wx vex
      E6 66 CVTTPD2DQ Vo,Wx vex
      E6 f3 CVTDQ2PD Vx,Wh:h vex
      E6 f2 CVTPD2DQ Vo,Wx vex
      E7 np mem MOVNTQ Mq,Pq
      E7 66 mem MOVNTDQ Mx,Vx vex
      E8 np PSUBSB Pq,Qq
      E8 66 PSUBSB Vx,Hx,Wx vex
      E9 np PSUBSW Pq,Qq
      E9 66 PSUBSW Vx,Hx,Wx vex
      EA np PMINSW Pq,Qq
      EA 66 PMINSW Vx,Hx,Wx vex
      EB np POR Pq,Qq
      EB 66 POR Vx,Hx,Wx vex
      EC np PADDSB Pq,Qq
      EC 66 PADDSB Vx,Hx,Wx vex
      ED np PADDSW Pq,Qq
      ED 66 PADDSW Vx,Hx,Wx vex
      EE np PMAXSW Pq,Qq
      EE 66 PMAXSW Vx,Hx,Wx vex
      EF np PXOR Pq,Qq
      EF 66 PXOR Vx,Hx,Wx vex
      F0 f2 mem LDDQU Vx,Mx vex
      F1 np PSLLW Pq,Qq
      F1 66 PSLLW Vx,Hx,Wo vex
      F2 np PSLLD Pq,Qq
      F2 66 PSLLD Vx,Hx,Wo vex
      F3 np PSLLQ Pq,Qq
      F3 66 PSLLQ Vx,Hx,Wo vex
      F4 np PMULUDQ Pq,Qq
      F4 66 PMULUDQ Vx,Hx,Wx vex
      F5 np PMADDWD Pq,Qq
      F5 66 PMADDWD Vx,Hx,Wx vex
      F6 np PSADBW Pq,Qq
      F6 66 PSADBW Vx,Hx,Wx vex
      F7 np reg MASKMOVQ Pq,Nq
      F7 66 reg MASKMOVDQU Vo,Uo vex0
      F8 np PSUBB Pq,Qq
      F8 66 PSUBB Vx,Hx,Wx vex
      F9 np PSUBW Pq,Qq
      F9 66 PSUBW Vx,Hx,Wx vex
      FA np PSUBD Pq,Qq
      FA 66 PSUBD Vx,Hx,Wx vex
      FB np PSUBQ Pq,Qq
      FB 66 PSUBQ Vx,Hx,Wx vex
      FC np PADDB Pq,Qq
      FC 66 PADDB Vx,Hx,Wx vex
      FD np PADDW Pq,Qq
      FD 66 PADDW Vx,Hx,Wx vex
      FE np PADDD Pq,Qq
      FE 66 PADDD Vx,Hx,Wx vex

      map 2
      00 np PSHUFB Pq,Qq
      00 66 PSHUFB Vx,Hx,Wx vex
      01 np PHADDW Pq,Qq
      01 66 PHADDW Vx,Hx,Wx vex
      02 np PHADDD Pq,Qq
      02 66 PHADDD Vx,Hx,Wx vex
      03 np PHADDSW Pq,Qq
      03 66 PHADDSW Vx,Hx,Wx vex
      04 np PMADDUBSW Pq,Qq
      04 66 PMADDUBSW Vx,Hx,Wx vex
      05 np PHSUBW Pq,Qq
      05 66 PHSUBW Vx,Hx,Wx vex
      06 np PHSUBD Pq,Qq
      06 66 PHSUBD Vx,Hx,Wx vex
      07 np PHSUBSW Pq,Qq
      07 66 PHSUBSW Vx,Hx,Wx vex
      08 np PSIGNB Pq,Qq
      08 66 PSIGNB Vx,Hx,Wx vex
      09 np PSIGNW Pq,Qq
      09 66 PSIGNW Vx,Hx,Wx vex
      0A np PSIGND Pq,Qq
      0A 66 PSIGND Vx,Hx,Wx vex
      0B np PMULHRSW Pq,Qq
      0B 66 PMULHRSW Vx,Hx,Wx vex
      10 66 PBLENDVB Vo,Wo
      14 66 BLENDVPS Vo,Wo
      15 66 BLENDVPD Vo,Wo
      17 66 PTEST Vx,Wx vex
      1C np PABSB Pq,Qq
      1C 66 PABSB Vx,Wx vex
      1D np PABSW Pq,Qq
      1D 66 PABSW Vx,Wx vex
      1E np PABSD Pq,Qq
      1E 66 PABSD Vx,Wx vex
      20 66 PMOVSXBW Vx,Wh:h vex
      21 66 PMOVSXBD Vx,Wo:f vex
      22 66 PMOVSXBQ Vx,Wo:e vex
      23 66 PMOVSXWD Vx,Wh:h vex
      24 66 PMOVSXWQ Vx,Wo:f vex
      25 66 PMOVSXDQ Vx,Wh:h vex
      28 66 PMULDQ Vx,Hx,Wx vex
      29 66 PCMPEQQ Vx,Hx,Wx vex
      2A 66 mem MOVNTDQA Vx,Mx vex
      2B 66 PACKUSDW Vx,Hx,Wx vex
      30 66 PMOVZXBW Vx,Wh:h vex
      31 66 PMOVZXBD Vx,Wo:f vex
      32 66 PMOVZXBQ Vx,Wo:e vex
      33 66 PMOVZXWD Vx,Wh:h vex
      34 66 PMOVZXWQ Vx,Wo:f vex
      35 66 PMOVZXDQ Vx,Wh:h vex
      37 66 PCMPGTQ Vx,Hx,Wx vex
      38 66 PMINSB Vx,Hx,Wx vex
      39 66 PMINSD Vx,Hx,Wx vex
      3A 66 PMINUW Vx,Hx,Wx vex
      3B 66 PMINUD Vx,Hx,Wx vex
      3C 66 PMAXSB Vx,Hx,Wx vex
      3D 66 PMAXSD Vx,Hx,Wx vex
      3E 66 PMAXUW Vx,Hx,Wx vex
      3F 66 PMAXUD Vx,Hx,Wx vex
      40 66 PMULLD Vx,Hx,Wx vex
      41 66 PHMINPOSUW Vo,Wo vex0
      C8 np SHA1NEXTE Vo,Wo
      C9 np SHA1MSG1 Vo,Wo
      CA np SHA1MSG2 Vo,Wo
      CB np SHA256RNDS2 Vo,Wo
      CC np SHA256MSG1 Vo,Wo
      CD np SHA256MSG2 Vo,Wo
      CF 66 w0 GF2P8MULB Vx,Hx,Wx vex
      CF 66 GF2P8MULB Vx,Wx
      DB 66 AESIMC Vo,Wo vex0
      DC 66 AESENC Vx,Hx,Wx vex
      DD 66 AESENCLAST Vx,Hx,Wx vex
      DE 66 AESDEC Vx,Hx,Wx vex
      DF 66 AESDECLAST Vx,Hx,Wx vex

      map 3
      08 66 ROUNDPS Vx,Wx,ub vex
      09 66 ROUNDPD Vx,Wx,ub vex
      0A 66 ROUNDSS Vo,Ho,Wo:d,ub vex
      0B 66 ROUNDSD Vo,Ho,Wo:q,ub vex
      0C 66 BLENDPS Vx,Hx,Wx,ub vex
      0D 66 BLENDPD Vx,Hx,Wx,ub vex
      0E 66 PBLENDW Vx,Hx,Wx,ub vex
      0F np PALIGNR Pq,Qq,ub
      0F 66 PALIGNR Vx,Hx,Wx,ub vex
      14 66 PEXTRB Ey:b,Vo,ub vex0
      15 66 PEXTRW Ey:w,Vo,ub vex0
      16 66 r1 PEXTRQ Ey,Vo,ub vex0
      16 66 PEXTRD Ey,Vo,ub vex0
      17 66 EXTRACTPS Ey:d,Vo,ub vex0
      20 66 PINSRB Vo,Ho,Ed:b,ub vex0
      21 66 INSERTPS Vo,Ho,Wo:d,ub vex0
      22 66 r1 PINSRQ Vo,Ho,Ey,ub vex0
      22 66 PINSRD Vo,Ho,Ey,ub vex0
      40 66 DPPS Vx,Hx,Wx,ub vex
      41 66 DPPD Vo,Ho,Wo,ub vex0
      42 66 MPSADBW Vx,Hx,Wx,ub vex
      44 66 PCLMULQDQ Vx,Hx,Wx,ub vex
      60 66 PCMPESTRM Vo,Wo,ub vex0
      61 66 PCMPESTRI Vo,Wo,ub vex0
      62 66 PCMPISTRM Vo,Wo,ub vex0
      63 66 PCMPISTRI Vo,Wo,ub vex0
      CC np SHA1RNDS4 Vo,Wo,ub
      CE 66 w1 GF2P8AFFINEQB Vx,Hx,Wx,ub vex
      CE 66 GF2P8AFFINEQB Vx,Wx,ub
      CF 66 w1 GF2P8AFFINEINVQB Vx,Hx,Wx,ub vex
      CF 66 GF2P8AFFINEINVQB Vx,Wx,ub
      DF 66 AESKEYGENASSIST Vo,Wo,ub vex0
      """;

  private SimdOpcodes() {}
}
