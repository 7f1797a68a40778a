package dev.vmexit.x86.decode;

/**
 * What exists with a VEX prefix alone: AVX, AVX2, FMA, F16C and the mask instructions of AVX-512.
 * Grammar: {@link OpcodeTables}.
 */
final class VexOpcodes {
  static final String TABLE =
      """
      vex 1
      41 np w0 l1 reg KANDW Kq,hq,kq
      41 np w1 l1 reg KANDQ Kq,hq,kq
      41 66 w0 l1 reg KANDB Kq,hq,kq
      41 66 w1 l1 reg KANDD Kq,hq,kq
      42 np w0 l1 reg KANDNW Kq,hq,kq
      42 np w1 l1 reg KANDNQ Kq,hq,kq
      42 66 w0 l1 reg KANDNB Kq,hq,kq
      42 66 w1 l1 reg KANDND Kq,hq,kq
      44 np w0 l0 reg KNOTW Kq,kq
      44 np w1 l0 reg KNOTQ Kq,kq
      44 66 w0 l0 reg KNOTB Kq,kq
      44 66 w1 l0 reg KNOTD Kq,kq
      45 np w0 l1 reg KORW Kq,hq,kq
      45 np w1 l1 reg KORQ Kq,hq,kq
      45 66 w0 l1 reg KORB Kq,hq,kq
      45 66 w1 l1 reg KORD Kq,hq,kq
      46 np w0 l1 reg KXNORW Kq,hq,kq
      46 np w1 l1 reg KXNORQ Kq,hq,kq
      46 66 w0 l1 reg KXNORB Kq,hq,kq
      46 66 w1 l1 reg KXNORD Kq,hq,kq
      47 np w0 l1 reg KXORW Kq,hq,kq
      47 np w1 l1 reg KXORQ Kq,hq,kq
      47 66 w0 l1 reg KXORB Kq,hq,kq
      47 66 w1 l1 reg KXORD Kq,hq,kq
      4A np w0 l1 reg KADDW Kq,hq,kq
      4A np w1 l1 reg KADDQ Kq,hq,kq
      4A 66 w0 l1 reg KADDB Kq,hq,kq
      4A 66 w1 l1 reg KADDD Kq,hq,kq
      4B 66 w0 l1 reg KUNPCKBW Kq,hq,kq
      4B np w0 l1 reg KUNPCKWD Kq,hq,kq
      4B np w1 l1 reg KUNPCKDQ Kq,hq,kq
      77 np l0 VZEROUPPER
      77 np l1 VZEROALL
      90 np w0 l0 KMOVW Kq,kq:w
      90 np w1 l0 KMOVQ Kq,kq:q
      90 66 w0 l0 KMOVB Kq,kq:b
      90 66 w1 l0 KMOVD Kq,kq:d
      91 np w0 l0 mem KMOVW Mw,Kq
      91 np w1 l0 mem KMOVQ Mq,Kq
      91 66 w0 l0 mem KMOVB Mb,Kq
      91 66 w1 l0 mem KMOVD Md,Kq
      92 np w0 l0 reg KMOVW Kq,Rd
      92 66 w0 l0 reg KMOVB Kq,Rd
      92 f2 w0 l0 reg KMOVD Kq,Rd
      92 f2 r1 l0 reg KMOVQ Kq,Rq
      92 f2 w1 l0 reg KMOVD Kq,Rd
      93 np w0 l0 reg KMOVW Gd,kq
      93 66 w0 l0 reg KMOVB Gd,kq
      93 f2 w0 l0 reg KMOVD Gd,kq
      93 f2 r1 l0 reg KMOVQ Gq,kq
      93 f2 w1 l0 reg KMOVD Gd,kq
      98 np w0 l0 reg KORTESTW Kq,kq
      98 np w1 l0 reg KORTESTQ Kq,kq
      98 66 w0 l0 reg KORTESTB Kq,kq
      98 66 w1 l0 reg KORTESTD Kq,kq
      99 np w0 l0 reg KTESTW Kq,kq
      99 np w1 l0 reg KTESTQ Kq,kq
      99 66 w0 l0 reg KTESTB Kq,kq
      99 66 w1 l0 reg KTESTD Kq,kq

      vex 2
      0C 66 w0 VPERMILPS Vx,Hx,Wx
      0D 66 w0 VPERMILPD Vx,Hx,Wx
      0E 66 w0 VTESTPS Vx,Wx
      0F 66 w0 VTESTPD Vx,Wx
      13 66 w0 VCVTPH2PS Vx,Wh
      16 66 w0 l1 VPERMPS Vx,Hx,Wx
      18 66 w0 VBROADCASTSS Vx,Wo:d
      19 66 w0 l1 VBROADCASTSD Vx,Wo:q
      1A 66 w0 l1 mem VBROADCASTF128 Vx,Mo
      2C 66 w0 mem VMASKMOVPS Vx,Hx,Mx
      2D 66 w0 mem VMASKMOVPD Vx,Hx,Mx
      2E 66 w0 mem VMASKMOVPS Mx,Hx,Vx
      2F 66 w0 mem VMASKMOVPD Mx,Hx,Vx
      36 66 w0 l1 VPERMD Vx,Hx,Wx
      45 66 w0 VPSRLVD Vx,Hx,Wx
      45 66 w1 VPSRLVQ Vx,Hx,Wx
      46 66 w0 VPSRAVD Vx,Hx,Wx
      47 66 w0 VPSLLVD Vx,Hx,Wx
      47 66 w1 VPSLLVQ Vx,Hx,Wx
      58 66 w0 VPBROADCASTD Vx,Wo:d
      59 66 w0 VPBROADCASTQ Vx,Wo:q
      5A 66 w0 l1 mem VBROADCASTI128 Vx,Mo
      78 66 w0 VPBROADCASTB Vx,Wo:b
      79 66 w0 VPBROADCASTW Vx,Wo:w
      8C 66 w0 mem VPMASKMOVD Vx,Hx,Mx
      8C 66 w1 mem VPMASKMOVQ Vx,Hx,Mx
      8E 66 w0 mem VPMASKMOVD Mx,Hx,Vx
      8E 66 w1 mem VPMASKMOVQ Mx,Hx,Vx
      90 66 w0 mem VPGATHERDD Vx,Md,Hx vsib
      90 66 w1 mem VPGATHERDQ Vx,Mq,Hx vsib
      91 66 w0 mem VPGATHERQD Vo,Md,Ho vsib
      91 66 w1 mem VPGATHERQQ Vx,Mq,Hx vsib
      92 66 w0 mem VGATHERDPS Vx,Md,Hx vsib
      92 66 w1 mem VGATHERDPD Vx,Mq,Hx vsib
      93 66 w0 mem VGATHERQPS Vo,Md,Ho vsib
      93 66 w1 mem VGATHERQPD Vx,Mq,Hx vsib
      96 66 w0 VFMADDSUB132PS Vx,Hx,Wx
      96 66 w1 VFMADDSUB132PD Vx,Hx,Wx
      97 66 w0 VFMSUBADD132PS Vx,Hx,Wx
      97 66 w1 VFMSUBADD132PD Vx,Hx,Wx
      98 66 w0 VFMADD132PS Vx,Hx,Wx
      98 66 w1 VFMADD132PD Vx,Hx,Wx
      99 66 w0 VFMADD132SS Vo,Ho,Wo:d
      99 66 w1 VFMADD132SD Vo,Ho,Wo:q
      9A 66 w0 VFMSUB132PS Vx,Hx,Wx
      9A 66 w1 VFMSUB132PD Vx,Hx,Wx
      9B 66 w0 VFMSUB132SS Vo,Ho,Wo:d
      9B 66 w1 VFMSUB132SD Vo,Ho,Wo:q
      9C 66 w0 VFNMADD132PS Vx,Hx,Wx
      9C 66 w1 VFNMADD132PD Vx,Hx,Wx
      9D 66 w0 VFNMADD132SS Vo,Ho,Wo:d
      9D 66 w1 VFNMADD132SD Vo,Ho,Wo:q
      9E 66 w0 VFNMSUB132PS Vx,Hx,Wx
      9E 66 w1 VFNMSUB132PD Vx,Hx,Wx
      9F 66 w0 VFNMSUB132SS Vo,Ho,Wo:d
      9F 66 w1 VFNMSUB132SD Vo,Ho,Wo:q
      A6 66 w0 VFMADDSUB213PS Vx,Hx,Wx
      A6 66 w1 VFMADDSUB213PD Vx,Hx,Wx
      A7 66 w0 VFMSUBADD213PS Vx,Hx,Wx
      A7 66 w1 VFMSUBADD213PD Vx,Hx,Wx
      A8 66 w0 VFMADD213PS Vx,Hx,Wx
      A8 66 w1 VFMADD213PD Vx,Hx,Wx
      A9 66 w0 VFMADD213SS Vo,Ho,Wo:d
      A9 66 w1 VFMADD213SD Vo,Ho,Wo:q
      AA 66 w0 VFMSUB213PS Vx,Hx,Wx
      AA 66 w1 VFMSUB213PD Vx,Hx,Wx
      AB 66 w0 VFMSUB213SS Vo,Ho,Wo:d
      AB 66 w1 VFMSUB213SD Vo,Ho,Wo:q
      AC 66 w0 VFNMADD213PS Vx,Hx,Wx
      AC 66 w1 VFNMADD213PD Vx,Hx,Wx
      AD 66 w0 VFNMADD213SS Vo,Ho,Wo:d
      AD 66 w1 VFNMADD213SD Vo,Ho,Wo:q
      AE 66 w0 VFNMSUB213PS Vx,Hx,Wx
      AE 66 w1 VFNMSUB213PD Vx,Hx,Wx
      AF 66 w0 VFNMSUB213SS Vo,Ho,Wo:d
      AF 66 w1 VFNMSUB213SD Vo,Ho,Wo:q
      B6 66 w0 VFMADDSUB231PS Vx,Hx,Wx
      B6 66 w1 VFMADDSUB231PD Vx,Hx,Wx
      B7 66 w0 VFMSUBADD231PS Vx,Hx,Wx
      B7 66 w1 VFMSUBADD231PD Vx,Hx,Wx
      B8 66 w0 VFMADD231PS Vx,Hx,Wx
      B8 66 w1 VFMADD231PD Vx,Hx,Wx
      B9 66 w0 VFMADD231SS Vo,Ho,Wo:d
      B9 66 w1 VFMADD231SD Vo,Ho,Wo:q
      BA 66 w0 VFMSUB231PS Vx,Hx,Wx
      BA 66 w1 VFMSUB231PD Vx,Hx,Wx
      BB 66 w0 VFMSUB231SS Vo,Ho,Wo:d
      BB 66 w1 VFMSUB231SD Vo,Ho,Wo:q
      BC 66 w0 VFNMADD231PS Vx,Hx,Wx
      BC 66 w1 VFNMADD231PD Vx,Hx,Wx
      BD 66 w0 VFNMADD231SS Vo,Ho,Wo:d
      BD 66 w1 VFNMADD231SD Vo,Ho,Wo:q
      BE 66 w0 VFNMSUB231PS Vx,Hx,Wx
      BE 66 w1 VFNMSUB231PD Vx,Hx,Wx
      BF 66 w0 VFNMSUB231SS Vo,Ho,Wo:d
      BF 66 w1 VFNMSUB231SD Vo,Ho,Wo:q

      vex 3
      00 66 w1 l1 VPERMQ Vx,Wx,ub
      01 66 w1 l1 VPERMPD Vx,Wx,ub
      02 66 w0 VPBLENDD Vx,Hx,Wx,ub
      04 66 w0 VPERMILPS Vx,Wx,ub
      05 66 w0 VPERMILPD Vx,Wx,ub
      06 66 w0 l1 VPERM2F128 Vx,Hx,Wx,ub
      18 66 w0 l1 VINSERTF128 Vx,Hx,Wo,ub
      19 66 w0 l1 VEXTRACTF128 Wo,Vx,ub
      1D 66 w0 VCVTPS2PH Wh,Vx,ub
      30 66 w0 l0 reg KSHIFTRB Kq,kq,ub
      30 66 w1 l0 reg KSHIFTRW Kq,kq,ub
      31 66 w0 l0 reg KSHIFTRD Kq,kq,ub
      31 66 w1 l0 reg KSHIFTRQ Kq,kq,ub
      32 66 w0 l0 reg KSHIFTLB Kq,kq,ub
      32 66 w1 l0 reg KSHIFTLW Kq,kq,ub
      33 66 w0 l0 reg KSHIFTLD Kq,kq,ub
      33 66 w1 l0 reg KSHIFTLQ Kq,kq,ub
      38 66 w0 l1 VINSERTI128 Vx,Hx,Wo,ub
      39 66 w0 l1 VEXTRACTI128 Wo,Vx,ub
      46 66 w0 l1 VPERM2I128 Vx,Hx,Wx,ub
      4A 66 w0 VBLENDVPS Vx,Hx,Wx,Lx
      4B 66 w0 VBLENDVPD Vx,Hx,Wx,Lx
      4C 66 w0 VPBLENDVB Vx,Hx,Wx,Lx
      """;

  private VexOpcodes() {}
}
