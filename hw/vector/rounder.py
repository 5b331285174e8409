"""FP32 elements to INT8, INT4 or FP8 with a given scale."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.float.formats import FLOAT
from hw.isa import SIGNS

from .rounding import each


__all__ = ["Rounder"]


class Rounder(wiring.Component):
    """One element of a block: ``x / 2^(code - 127)``, rounded to nearest even and saturated.

    All elements are made by one shifter. It leaves as many bits of the significand as the element
    has, seven for INT8 and three for INT4, at its lower end. The code of a float is that plus its
    exponent field, less one for the leading one; so rounding may carry from one into the other.

    Latency
    -------
    :attr:`latency` cycles: 4, and 2 more if there are floats.

    Throughput
    ----------
    One element each cycle.

    Parameters
    ----------
    choices : tuple of :class:`hw.vector.rounding.Rounding`
        Elements that are made.

    Members
    -------
    i : ``In(32)``
    element : ``In(2)``
        Number of the element; constant while values are under way.
    least : ``In(signed(9))``
        Biased FP32 exponent of the smallest normal element: the block's code, and its exponent.
    none : ``In(1)``
        The result is 0 whatever the value.
    sign : ``In(2)``
        Number of :data:`hw.isa.SIGNS`: elements of another sign are 0. Constant like ``element``.
    o : ``Out(8)``
        Code of the element; of zero it is 0.
    """

    def __init__(self, choices):
        self.choices = choices
        self.floats = any(rounding.floating for rounding in choices)
        self.latency = 4 + 2 * self.floats
        self.parameters = tuple(rounding.name for rounding in choices)
        super().__init__({"i": In(32), "element": In(2), "least": In(signed(9)), "none": In(1),
                          "sign": In(2), "o": Out(8)})

    def elaborate(self, platform):
        m = Module()
        # Floats need two stages more.
        floats = "sync" if self.floats else "comb"

        # Stage 1: the operands, as memory gives them.
        s1_x     = Signal(FLOAT)
        s1_least = Signal(signed(9))
        s1_none  = Signal()
        m.d.sync += [s1_x.eq(self.i), s1_least.eq(self.least), s1_none.eq(self.none)]

        # Stage 2, of floats: how far the element is below the smallest normal numbers.
        s2_x        = Signal(FLOAT)
        s2_distance = Signal(signed(9) if self.floats else 8)
        s2_none     = Signal()
        unwanted    = Signal()
        m.d.comb += unwanted.eq(Mux(s1_x.negative, self.sign == SIGNS.index("positive"),
                                    self.sign == SIGNS.index("negative")))
        m.d[floats] += [
            s2_x.eq(s1_x), s2_distance.eq(s1_least - s1_x.exponent),
            s2_none.eq(s1_none | (s1_x.exponent == 0) | unwanted),
        ]

        # Stage 3: where its bits are. A number of no bits is less than half of the smallest one.
        s3_significand = Signal(24)
        s3_negative    = Signal()
        s3_none        = Signal()
        s3_shift       = Signal(3)
        s3_field       = Signal(7 * self.floats)
        normal         = Signal()
        m.d.comb += normal.eq(s2_distance < 0)
        m.d.sync += [s3_significand.eq(Cat(s2_x.mantissa, Const(1, 1))),
                     s3_negative.eq(s2_x.negative)]
        for rounding in each(m, self.element, self.choices):
            m.d.sync += [
                s3_shift.eq(7 - rounding.bits + Mux(normal, 0, s2_distance)),
                s3_field.eq(Mux(normal, -s2_distance, 0) << rounding.bits - 1),
                s3_none.eq(s2_none | (s2_distance > rounding.bits)),
            ]

        # Stage 4: seven bits, and what is below them.
        s4_kept     = Signal(7)
        s4_half     = Signal()
        s4_rest     = Signal()
        s4_negative = Signal()
        s4_field    = Signal(7 * self.floats)
        shifted     = Signal(24)
        lost        = Signal(7)
        m.d.comb += Cat(lost, shifted).eq(Cat(Const(0, 7), s3_significand) >> s3_shift)
        m.d.sync += [
            s4_kept.eq(shifted[17:]),
            s4_half.eq(shifted[16]),
            s4_rest.eq(shifted[:16].any() | lost.any()),
            s4_negative.eq(s3_negative),
            s4_field.eq(s3_field),
        ]
        with m.If(s3_none):
            m.d.sync += [s4_kept.eq(0), s4_half.eq(0), s4_rest.eq(0), s4_field.eq(0)]

        # Stage 5, of floats: rounded.
        s5_magnitude = Signal(8)
        s5_negative  = Signal()
        up           = s4_half & (s4_rest | s4_kept[0])
        m.d[floats] += [s5_magnitude.eq(s4_field + s4_kept + up), s5_negative.eq(s4_negative)]

        # Stage 6: saturated, with its sign.
        magnitude = Signal(7)
        for rounding in each(m, self.element, self.choices):
            largest = rounding.largest
            m.d.comb += magnitude.eq(Mux(s5_magnitude > largest, largest, s5_magnitude))
            if rounding.floating:
                m.d.sync += self.o.eq(Cat(magnitude, s5_negative & magnitude.any()))
            else:
                m.d.sync += self.o.eq(Mux(s5_negative, -magnitude, magnitude) << rounding.zeros)
        return m
