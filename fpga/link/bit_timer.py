"""Times the bits of a serial line with a fraction of a clock cycle."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


__all__ = ["FRACTION", "BitTimer", "bit_period"]

#: Parts of a clock cycle in which a bit is measured.
FRACTION = 256

#: Cycles of the shortest bit that the receiver can sample near its middle.
SHORTEST = 4


def bit_period(clock_hz, baud):
    """Length of a bit in 256ths of a clock cycle; its error is below 0.05 %."""
    for name, value in (("clock_hz", clock_hz), ("baud", baud)):
        if not isinstance(value, int) or value <= 0:
            raise ValueError(f"{name} must be a positive integer, not {value!r}")
    period = round(clock_hz * FRACTION / baud)
    if period < SHORTEST * FRACTION:
        raise ValueError(f"a clock of {clock_hz} Hz allows up to {clock_hz // SHORTEST} baud, "
                         f"not {baud}")
    return period


class BitTimer(wiring.Component):
    """Says when a bit begins, without an error that grows.

    Ticks are a whole number of cycles apart, rounded each time so that their sum is right:
    8 1/3 cycles a bit are 8, 8 and 9.

    Latency
    -------
    The first tick is ``1 + floor(first / 256)`` cycles after ``restart``.

    Parameters
    ----------
    period : int
        Length of a bit in 256ths of a cycle, from :func:`bit_period`.
    first : int
        From a restart to the first tick, likewise.

    Members
    -------
    restart : ``In(1)``
    tick : ``Out(1)``
    """

    restart: In(1)
    tick: Out(1)

    def __init__(self, period, first):
        self.period, self.first = period, first
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        left = Signal(range(max(self.period + FRACTION, self.first + 1)))
        m.d.comb += self.tick.eq(left < FRACTION)
        m.d.sync += left.eq(left - FRACTION + Mux(self.tick, self.period, 0))
        with m.If(self.restart):
            m.d.sync += left.eq(self.first)
        return m
