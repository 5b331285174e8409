"""Scalar functions of FP32 values."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from . import tables
from .formats import FLOAT, is_nan, is_zero, significand
from .quadratic import Quadratic
from .scale import FixedToFloat


__all__ = ["Function", "FunctionUnit"]


class Function(enum.Enum, shape=3):
    """Operations of :class:`FunctionUnit`."""

    EXP2       = 0
    LOG2       = 1
    RECIPROCAL = 2
    RSQRT      = 3
    PASS       = 4


#: The tables in the order of :class:`Function`.
TABLES = [*tables.EXP2, *tables.LOG2, *tables.RECIPROCAL, *tables.RSQRT]

#: Exponent of results that are to overflow.
HUGE = 1000

#: Bits of a result before rounding: 8 with the sign of a logarithm above the point, 30 below.
VALUE_BITS = 38

#: What becomes of the polynomial's value: ``(-1)^negate * value + offset``, or ``special``, an
#: integer, and the exponent of it.
TREATMENT = data.StructLayout({
    "exponent": signed(12), "nan": 1, "negate": 1, "offset": signed(8),
    "is_special": 1, "special": signed(2), "passed": 1,
})


class FunctionUnit(wiring.Component):
    """A function of an FP32 value, chosen with each value.

    The numerical references are the functions of the same names in
    :mod:`verif.reference.functions`; that of ``PASS`` is ``passed``.

    Latency
    -------
    :attr:`latency` cycles, for all functions.

    Throughput
    ----------
    One result each cycle.

    Parameters
    ----------
    technology : str
        As of :class:`hw.primitives.Multiplier`.

    Members
    -------
    op : ``In(Function)``
    i : ``In(32)``
    o : ``Out(32)``
    """

    latency = 3 + Quadratic.latency + FixedToFloat.latency

    op: In(Function)
    i: In(32)
    o: Out(32)

    def __init__(self, technology="generic"):
        self.parameters = (technology,)
        self.technology = technology
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.quadratic = quadratic = Quadratic(TABLES, self.technology)
        m.submodules.convert = convert = FixedToFloat(VALUE_BITS)

        # Stage 1: the operand as a fixed-point number with 25 fraction bits, for EXP2.
        s1_x         = Signal(FLOAT, reset_less=True)
        s1_op        = Signal(Function, reset_less=True)
        s1_magnitude = Signal(32, reset_less=True)
        m.d.sync += [s1_x.eq(self.i), s1_op.eq(self.op), s1_magnitude.eq(self.magnitude(m))]

        # Stage 2: argument of the polynomial, and what follows it.
        s2_segment   = Signal(9, reset_less=True)
        s2_s         = Signal(18, reset_less=True)
        s2_treatment = Signal(TREATMENT, reset_less=True)
        argument, treatment = self.reduce(m, s1_op, s1_x, s1_magnitude)
        m.d.sync += [
            s2_segment.eq(Cat(argument[18:], s1_op.as_value()[:2])),
            # The middle of the segment is zero.
            s2_s.eq(argument[:18] ^ (1 << 17)),
            s2_treatment.eq(treatment),
        ]

        # Stages 3 to 8: polynomial.
        m.d.comb += quadratic.segment.eq(s2_segment)
        m.d.comb += quadratic.s.eq(s2_s)
        mantissa, treatment = Cat(s2_s ^ (1 << 17), s2_segment[:7])[2:], s2_treatment
        for n in range(quadratic.latency):
            next_mantissa  = Signal(23, name=f"p{n}_mantissa", reset_less=True)
            next_treatment = Signal(TREATMENT, name=f"p{n}_treatment", reset_less=True)
            m.d.sync += [next_mantissa.eq(mantissa), next_treatment.eq(treatment)]
            mantissa, treatment = next_mantissa, next_treatment

        # Stage 9: exact end of the result.
        value    = Signal(VALUE_BITS)
        addend   = Signal(VALUE_BITS)
        s9       = Signal(TREATMENT, reset_less=True)
        s9_value = Signal(signed(VALUE_BITS), reset_less=True)
        m.d.comb += [
            value.eq(Mux(treatment.passed, Cat(Const(0, 7), mantissa, 1), quadratic.o)
                     ^ treatment.negate.replicate(VALUE_BITS)),
            addend.eq(Cat(treatment.negate, Const(0, 29), treatment.offset)),
        ]
        m.d.sync += s9.eq(treatment)
        m.d.sync += s9_value.eq(Mux(treatment.is_special, treatment.special, value + addend))

        # The other stages: rounding.
        m.d.comb += [
            convert.value.eq(s9_value),
            convert.exponent.eq(s9.exponent),
            convert.nan.eq(s9.nan),
            self.o.eq(convert.o),
        ]
        return m

    def magnitude(self, m):
        """The operand's magnitude, cut to 25 fraction bits; if it is below 128."""
        x = data.View(FLOAT, self.i)
        distance = Signal(8)
        m.d.comb += distance.eq(133 - x.exponent)
        bits = Cat(Const(0, 8), significand(x))
        for n in range(5):
            stage = Signal(32, name=f"shift_{n}")
            m.d.comb += stage.eq(Mux(distance[n], bits[1 << n:], bits))
            bits = stage
        return Mux(distance[5:].any(), 0, bits)

    @staticmethod
    def reduce(m, op, x, magnitude):
        """25-bit argument of the polynomial, and :data:`TREATMENT` of its value."""
        argument  = Signal(25)
        treatment = Signal(TREATMENT)
        fixed     = Signal(signed(33))
        negative  = Signal()
        large     = Signal()
        m.d.comb += [
            fixed.eq(Mux(x.negative, -magnitude, magnitude)),
            negative.eq(x.negative & ~is_zero(x)),
            argument.eq(Cat(Const(0, 2), x.mantissa)),
            treatment.nan.eq(is_nan(x)),
            large.eq(x.exponent == 255),
            treatment.is_special.eq(is_zero(x) | large),
        ]
        with m.Switch(op):
            with m.Case(Function.EXP2):
                m.d.comb += [
                    argument.eq(fixed),
                    treatment.exponent.eq((fixed >> 25) - 30),
                    treatment.is_special.eq(x.exponent > 133),
                    treatment.special.eq(~x.negative),
                ]
            with m.Case(Function.LOG2):
                m.d.comb += [
                    treatment.exponent.eq(-30),
                    treatment.offset.eq(x.exponent - 127),
                    treatment.special.eq(Mux(large, 1, -1)),
                    treatment.nan.eq(is_nan(x) | negative),
                ]
            with m.Case(Function.RECIPROCAL):
                m.d.comb += [
                    treatment.exponent.eq(127 - 31 - x.exponent),
                    treatment.negate.eq(x.negative),
                    treatment.special.eq(~large),
                ]
            with m.Case(Function.RSQRT):
                m.d.comb += [
                    argument.eq(Cat(Const(0, 1), x.mantissa, ~x.exponent[0])),
                    treatment.exponent.eq(-31 - ((x.exponent - 127) >> 1)),
                    treatment.special.eq(~large),
                    treatment.nan.eq(is_nan(x) | negative),
                ]
            with m.Default():
                m.d.comb += [
                    treatment.passed.eq(1),
                    treatment.exponent.eq(x.exponent - 127 - 30),
                    treatment.negate.eq(x.negative),
                    treatment.special.eq(Mux(large, Mux(x.negative, -1, 1), 0)),
                ]
        with m.If(treatment.is_special):
            m.d.comb += treatment.exponent.eq(HUGE)
        return argument, treatment
