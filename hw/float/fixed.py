"""FP32 to fixed point."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .formats import FLOAT, is_nan, significand


__all__ = ["FloatToFixed"]


#: Biased exponent of the largest values that fit: 2^14 to 2^15.
LARGEST = 127 + 14


class FloatToFixed(wiring.Component):
    """``x * 2^16`` as a 32-bit integer, rounded to nearest even and saturated; NaN gives -2^31.

    The numerical reference is :func:`verif.reference.floats.float_to_fixed`.

    Latency
    -------
    :attr:`latency` cycles.

    Throughput
    ----------
    One result each cycle.

    Members
    -------
    i : ``In(32)``
    o : ``Out(signed(32))``
    """

    latency    = 3
    parameters = ()

    i: In(32)
    o: Out(signed(32))

    def elaborate(self, platform):
        m = Module()
        x = data.View(FLOAT, self.i)

        # Stage 1: distance to the largest exponent.
        distance      = Signal(signed(9))
        s1_bits       = Signal(24, reset_less=True)
        s1_distance   = Signal(5, reset_less=True)
        s1_far        = Signal(reset_less=True)
        s1_saturate   = Signal(reset_less=True)
        s1_negative   = Signal(reset_less=True)
        m.d.comb += distance.eq(LARGEST - x.exponent)
        m.d.sync += [
            s1_bits.eq(significand(x)),
            s1_distance.eq(distance),
            s1_far.eq(distance >= 32),
            s1_saturate.eq(distance < 0),
            s1_negative.eq(x.negative | is_nan(x)),
        ]

        # Stage 2: shift right, with a bit below the point and one for all that was lost.
        bits, lost = Cat(Const(0, 8), s1_bits), []
        for n in reversed(range(5)):
            stage   = Signal(32, name=f"shift_{n}")
            dropped = Signal(name=f"lost_{n}")
            m.d.comb += stage.eq(Mux(s1_distance[n], bits[1 << n:], bits))
            m.d.comb += dropped.eq(s1_distance[n] & bits[:1 << n].any())
            bits = stage
            lost.append(dropped)
        s2_integer  = Signal(31, reset_less=True)
        s2_guard    = Signal(reset_less=True)
        s2_lost     = Signal(reset_less=True)
        s2_saturate = Signal(reset_less=True)
        s2_negative = Signal(reset_less=True)
        m.d.sync += [
            s2_integer.eq(Mux(s1_far, 0, bits[1:])),
            s2_guard.eq(bits[0] & ~s1_far),
            s2_lost.eq(Cat(lost).any()),
            s2_saturate.eq(s1_saturate),
            s2_negative.eq(s1_negative),
        ]

        # Stage 3: round, negate and saturate.
        s3_o      = Signal(signed(32), reset_less=True)
        up        = Signal()
        magnitude = Signal(32)
        m.d.comb += up.eq(s2_guard & (s2_lost | s2_integer[0]))
        # -(n + up) is ~n + 1 - up.
        m.d.comb += magnitude.eq(s2_integer ^ s2_negative.replicate(32))
        m.d.sync += s3_o.eq(Mux(s2_saturate,
                                Cat((~s2_negative).replicate(31), s2_negative).as_signed(),
                                (magnitude + (up ^ s2_negative)).as_signed()))
        m.d.comb += self.o.eq(s3_o)
        return m
