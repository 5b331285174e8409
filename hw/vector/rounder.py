"""FP32 elements to INT8 with a given scale."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.float.formats import FLOAT


__all__ = ["Rounder"]


class Rounder(wiring.Component):
    """One element of a block, ``rne(x / 2^(code - 127 - 6))`` clipped to -127..127.

    ``code`` is not below the element's biased exponent. With code 0 or 255 the result is 0.

    Latency
    -------
    :attr:`latency` cycles.

    Throughput
    ----------
    One element each cycle.

    Members
    -------
    i : ``In(32)``
    code : ``In(8)``
    o : ``Out(signed(8))``
    """

    latency    = 4
    parameters = ()

    i: In(32)
    code: In(8)
    o: Out(signed(8))

    def elaborate(self, platform):
        m = Module()

        # Stage 1: the operands, as memory gives them.
        s1_x    = Signal(FLOAT)
        s1_code = Signal(8)
        m.d.sync += [s1_x.eq(self.i), s1_code.eq(self.code)]

        # Stage 2: how far the element is below the largest one; from 8 on, it is 0.
        s2_none        = Signal()
        s2_significand = Signal(24)
        s2_negative    = Signal()
        s2_shift       = Signal(3)
        distance       = Signal(8)
        m.d.comb += distance.eq(s1_code - s1_x.exponent)
        none = (distance > 7) | (s1_x.exponent == 0) | (s1_code == 255)
        m.d.sync += [
            s2_none.eq(none),
            s2_significand.eq(Cat(s1_x.mantissa, Const(1, 1))),
            s2_negative.eq(s1_x.negative),
            s2_shift.eq(distance[:3]),
        ]

        # Stage 3: seven bits, and what is below them.
        s3_kept     = Signal(7)
        s3_half     = Signal()
        s3_rest     = Signal()
        s3_negative = Signal()
        shifted     = Signal(24)
        lost        = Signal(7)
        m.d.comb += Cat(lost, shifted).eq(Cat(Const(0, 7), s2_significand) >> s2_shift)
        m.d.sync += [
            s3_kept.eq(shifted[17:]),
            s3_half.eq(shifted[16]),
            s3_rest.eq(shifted[:16].any() | lost.any()),
            s3_negative.eq(s2_negative),
        ]
        with m.If(s2_none):
            m.d.sync += [s3_kept.eq(0), s3_half.eq(0), s3_rest.eq(0)]

        # Stage 4: rounded, clipped, with its sign.
        up        = s3_half & (s3_rest | s3_kept[0]) & ~s3_kept.all()
        magnitude = Signal(7)
        m.d.comb += magnitude.eq(s3_kept + up)
        m.d.sync += self.o.eq(Mux(s3_negative, -magnitude, magnitude))
        return m
