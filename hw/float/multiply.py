"""FP32 multiplier."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.primitives import Multiplier

from .formats import FLOAT, is_infinite, is_nan, is_tiny, is_zero, pack, significand


__all__ = ["FloatMultiply"]


#: What goes beside the significands. The exponent is the biased one of a product in 1..2.
FLAGS = data.StructLayout({"exponent": signed(10), "negative": 1, "nan": 1, "infinite": 1,
                           "zero": 1})


class FloatMultiply(wiring.Component):
    """Product of two FP32 values, rounded once to nearest even.

    The numerical reference is :func:`verif.reference.floats.multiply`.

    Latency
    -------
    :attr:`latency` cycles.

    Throughput
    ----------
    One product each cycle.

    Parameters
    ----------
    technology : str
        As of :class:`hw.primitives.Multiplier`.

    Members
    -------
    a, b : ``In(32)``
    o : ``Out(32)``
    """

    latency = 4

    a: In(32)
    b: In(32)
    o: Out(32)

    def __init__(self, technology="generic"):
        self.parameters = (technology,)
        self.technology = technology
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        a, b = data.View(FLOAT, self.a), data.View(FLOAT, self.b)

        # Stages 1 to 3: product of the significands; exponents and exceptions beside it.
        m.submodules.multiplier = multiplier = Multiplier(24, 24, self.technology, signed=False)
        m.d.comb += multiplier.a.eq(significand(a))
        m.d.comb += multiplier.b.eq(significand(b))
        s1, s2, s3 = (Signal(FLAGS, name=f"s{n}", reset_less=True) for n in range(1, 4))
        any_zero     = Signal()
        any_infinite = Signal()
        m.d.comb += any_zero.eq(is_zero(a) | is_zero(b))
        m.d.comb += any_infinite.eq(is_infinite(a) | is_infinite(b))
        m.d.sync += [
            s1.exponent.eq(a.exponent + b.exponent - 127),
            s1.negative.eq(a.negative ^ b.negative),
            s1.nan.eq(is_nan(a) | is_nan(b) | (any_zero & any_infinite)),
            s1.infinite.eq(any_infinite),
            s1.zero.eq(any_zero),
            s2.eq(s1),
            s3.eq(s2),
        ]

        # Stage 4: normalise by at most one bit, round, and pack.
        s4_o      = Signal(32, reset_less=True)
        product   = multiplier.o
        carried   = product[47]
        increment = Signal()
        m.d.comb += increment.eq(Mux(carried, product[23] & (product[:23].any() | product[24]),
                                     product[22] & (product[:22].any() | product[23])))
        exponent = Signal(signed(10))
        m.d.comb += exponent.eq(Mux(carried, s3.exponent + 1, s3.exponent))
        m.d.sync += s4_o.eq(pack(
            m, negative=s3.negative, exponent=exponent, increment=increment,
            mantissa=Mux(carried, product[24:47], product[23:46]),
            zero=s3.zero | is_tiny(exponent), infinite=s3.infinite, nan=s3.nan))
        m.d.comb += self.o.eq(s4_o)
        return m
