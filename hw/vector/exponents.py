"""Largest exponent of groups of rows."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2


__all__ = ["Exponents"]


class Exponents(wiring.Component):
    """Largest biased exponent of all FP32 elements of a group of rows: its E8M0 code.

    The exponent of the largest magnitude is the largest exponent; infinities and NaNs have 255.

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
    valid, last, row : ``In(1)``, ``In(1)``, ``In(config.row_bits)``
        Rows; ``last`` marks the end of a group.
    done, code : ``Out(1)``, ``Out(8)``
        Code of a group, for one cycle.
    """

    def __init__(self, config):
        self.config = config
        self.latency = 2 + -(-exact_log2(config.lanes) // 2)
        super().__init__({
            "valid": In(1), "last": In(1), "row": In(config.row_bits),
            "done": Out(1), "code": Out(8),
        })

    def elaborate(self, platform):
        m = Module()

        # Stage 1: exponents.
        stage, valid, last = 1, Signal(name="s1_valid"), Signal(name="s1_last")
        m.d.sync += [valid.eq(self.valid), last.eq(self.last)]
        largest = []
        for n in range(self.config.lanes):
            exponent = Signal(8, name=f"s1_exponent_{n}")
            m.d.sync += exponent.eq(self.row[32 * n + 23:32 * n + 31])
            largest.append(exponent)

        # A stage for each two levels of comparisons.
        while len(largest) > 1:
            stage += 1
            before = valid, last
            valid, last = Signal(name=f"s{stage}_valid"), Signal(name=f"s{stage}_last")
            m.d.sync += [valid.eq(before[0]), last.eq(before[1])]
            reduced = []
            for n in range(0, len(largest), 4):
                exponent = Signal(8, name=f"s{stage}_exponent_{n // 4}")
                m.d.sync += exponent.eq(maximum(m, f"s{stage}_{n // 4}", largest[n:n + 4]))
                reduced.append(exponent)
            largest = reduced

        # Last stage: rows.
        before = Signal(8)
        m.d.comb += self.code.eq(before)
        starts = Signal(init=1)
        m.d.sync += self.done.eq(valid & last)
        with m.If(valid):
            m.d.sync += starts.eq(last)
            m.d.sync += before.eq(maximum(m, "rows", [Mux(starts, 0, before), largest[0]]))
        return m


def maximum(m, name, values):
    """The largest of a few values."""
    while len(values) > 1:
        pairs = []
        for n in range(0, len(values), 2):
            pair = Signal(8, name=f"{name}_maximum_{len(values)}_{n // 2}")
            a, b = values[n], values[n + 1]
            m.d.comb += pair.eq(Mux(a > b, a, b))
            pairs.append(pair)
        values = pairs
    return values[0]
