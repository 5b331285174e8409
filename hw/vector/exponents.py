"""Scales of groups of rows."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .rounding import each, roundings


__all__ = ["Exponents"]


class Exponents(wiring.Component):
    """E8M0 code of the scale of all FP32 elements of a group of rows.

    It is the biased exponent of the largest magnitude, less that of the largest element, and not
    below 0. By rule ``up`` it is one more, up to 254, if the largest magnitude's significand is
    above that of the largest element. Infinities and NaNs, with exponent 255, make it 255; of
    zeros it is 0.

    What is compared is the exponent, and below it a bit that says whether the significand is
    above that limit: nothing else of a magnitude counts.

    Latency
    -------
    :attr:`latency` cycles from the last row to ``code``.

    Throughput
    ----------
    One row each cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    element, up : ``In(2)``, ``In(1)``
        Number of the element; the rule is ``up``. Constant while rows are under way.
    valid, last, row : ``In(1)``, ``In(1)``, ``In(config.row_bits)``
        Rows; ``last`` marks the end of a group.
    zero : ``In(max(lanes // 16, 1))``
        This half of the row, or the whole row if that has 16 elements or less, counts as zeros.
    done, code : ``Out(1)``, ``Out(8)``
        Code of a group, for one cycle.
    """

    def __init__(self, config):
        self.config = config
        self.latency = 2 + -(-exact_log2(config.lanes) // 2)
        super().__init__({
            "element": In(2), "up": In(1),
            "valid": In(1), "last": In(1), "row": In(config.row_bits),
            "zero": In(max(config.lanes // 16, 1)), "done": Out(1), "code": Out(8),
        })

    def elaborate(self, platform):
        m = Module()
        choices = roundings(self.config)

        # Stage 1: exponents, each with a bit below.
        stage, valid, last = 1, Signal(name="s1_valid"), Signal(name="s1_last")
        m.d.sync += [valid.eq(self.valid), last.eq(self.last)]
        largest = []
        for n in range(self.config.lanes):
            size = Signal(9, name=f"s1_size_{n}")
            mantissa, exponent = self.row[32 * n:32 * n + 23], self.row[32 * n + 23:32 * n + 31]
            above = Signal(name=f"above_{n}")
            for rounding in each(m, self.element, choices):
                m.d.comb += above.eq(mantissa[-rounding.ones:].all()
                                     & mantissa[:-rounding.ones].any())
            m.d.sync += size.eq(Mux(self.zero[n // 16], 0, Cat(above & self.up, exponent)))
            largest.append(size)

        # A stage for each two levels of comparisons.
        while len(largest) > 1:
            stage += 1
            before = valid, last
            valid, last = Signal(name=f"s{stage}_valid"), Signal(name=f"s{stage}_last")
            m.d.sync += [valid.eq(before[0]), last.eq(before[1])]
            reduced = []
            for n in range(0, len(largest), 4):
                size = Signal(9, name=f"s{stage}_size_{n // 4}")
                m.d.sync += size.eq(maximum(m, f"s{stage}_{n // 4}", largest[n:n + 4]))
                reduced.append(size)
            largest = reduced

        # Last stage: rows.
        before = Signal(9)
        starts = Signal(init=1)
        m.d.sync += self.done.eq(valid & last)
        with m.If(valid):
            m.d.sync += starts.eq(last)
            m.d.sync += before.eq(maximum(m, "rows", [Mux(starts, 0, before), largest[0]]))

        # The code.
        above, exponent = before[0], before[1:]
        code = Signal(signed(10))
        for rounding in each(m, self.element, choices):
            m.d.comb += code.eq(exponent + Mux(above, 1 - rounding.exponent, -rounding.exponent))
        with m.If(exponent == 255):
            m.d.comb += self.code.eq(255)
        with m.Elif(code == 255):
            m.d.comb += self.code.eq(254)
        with m.Elif((code >= 0) & (exponent != 0)):
            m.d.comb += self.code.eq(code)
        return m


def maximum(m, name, values):
    """The largest of a few values."""
    while len(values) > 1:
        pairs = []
        for n in range(0, len(values), 2):
            pair = Signal(9, name=f"{name}_maximum_{len(values)}_{n // 2}")
            a, b = values[n], values[n + 1]
            m.d.comb += pair.eq(Mux(a > b, a, b))
            pairs.append(pair)
        values = pairs
    return values[0]
