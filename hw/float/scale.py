"""Scaled integers to FP32."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .formats import first_set, pack, shift_left


__all__ = ["FixedToFloat"]


class FixedToFloat(wiring.Component):
    """``value * 2^exponent`` as FP32, rounded once to nearest even.

    The numerical reference is :func:`verif.reference.floats.fixed_to_float`.

    A negative integer is handled as its one's complement, with ones all the way below the point:
    the one that is missing is added with the rounding.

    Latency
    -------
    :attr:`latency` cycles.

    Throughput
    ----------
    One result each cycle.

    Parameters
    ----------
    width : int
        Bits of ``value``.

    Members
    -------
    value : ``In(signed(width))``
    exponent : ``In(signed(12))``
    nan : ``In(1)``
        The result is NaN.
    o : ``Out(32)``
    """

    latency = 3

    def __init__(self, width):
        self.parameters = (width,)
        super().__init__({
            "value": In(signed(width)),
            "exponent": In(signed(12)),
            "nan": In(1),
            "o": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        integer = self.value

        # Stage 1: one's complement of negative integers; a byte that is not zero goes to the top.
        # The lowest bit of ``bits`` is the first one below the point.
        width    = max(32, 8 * -(-len(integer) // 8))
        negative = integer[-1]
        bits     = Signal(width)
        empty    = Signal()
        padding  = width - len(integer)
        m.d.comb += bits.eq(Cat(negative.replicate(padding + 1),
                                integer[:-1] ^ negative.replicate(len(integer) - 1)))
        m.d.comb += empty.eq(~integer.any())
        starts = range(width - 8, -8, -8)
        bytes_ = Signal(range(len(starts)))
        m.d.comb += bytes_.eq(first_set(m, [bits[n:n + 8].any() for n in starts], "byte"))
        s1_bits     = Signal(width, reset_less=True)
        s1_exponent = Signal(signed(13), reset_less=True)
        s1_negative = Signal(reset_less=True)
        s1_zero     = Signal(reset_less=True)
        s1_nan      = Signal(reset_less=True)
        m.d.sync += [
            s1_bits.eq(shift_left(m, bits, bytes_, "coarse", step=8, fill=negative)),
            s1_exponent.eq(self.exponent + (127 + len(integer) - 2) - (bytes_ << 3)),
            s1_negative.eq(negative),
            s1_zero.eq(empty),
            s1_nan.eq(self.nan),
        ]

        # Stage 2: finish normalisation.
        left = Signal(3)
        m.d.comb += left.eq(first_set(m, list(reversed(s1_bits[-8:])), "bit"))
        s2_bits     = Signal(width, reset_less=True)
        s2_exponent = Signal(signed(13), reset_less=True)
        s2_negative = Signal(reset_less=True)
        s2_zero     = Signal(reset_less=True)
        s2_nan      = Signal(reset_less=True)
        m.d.sync += [
            s2_bits.eq(shift_left(m, s1_bits, left, "fine", fill=s1_negative)),
            s2_exponent.eq(s1_exponent - left),
            s2_negative.eq(s1_negative),
            s2_zero.eq(s1_zero),
            s2_nan.eq(s1_nan),
        ]

        # Stage 3: round, and pack.
        s3_o      = Signal(32, reset_less=True)
        increment = Signal()
        tiny      = Signal()
        mantissa, guard, below = s2_bits[-24:-1], s2_bits[-25], s2_bits[:-25]
        m.d.comb += [
            # The missing one turns a tie's neighbour into a tie, and a tie into more.
            increment.eq(Mux(s2_negative, guard | (below.all() & mantissa[0]),
                             guard & (below.any() | mantissa[0]))),
            # All ones, and one more, have an exponent more.
            tiny.eq(s2_exponent[-1] | ~(s2_exponent.any() | (s2_negative & s2_bits.all()))),
        ]
        m.d.sync += s3_o.eq(pack(m, negative=s2_negative, exponent=s2_exponent, mantissa=mantissa,
                                 increment=increment, zero=s2_zero | tiny, nan=s2_nan))
        m.d.comb += self.o.eq(s3_o)
        return m
