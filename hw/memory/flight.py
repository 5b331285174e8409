"""Counts words on their way, and tells which of them nobody wants any more."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for


__all__ = ["Flight"]


class Flight(wiring.Component):
    """Words that were asked for and have not come; after a flush, all of them are stale.

    Words come in the order in which they were asked for.

    Latency
    -------
    ``wanted`` is combinational; counts follow a cycle later.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    most : int
        Words that come in a cycle.

    Members
    -------
    asked : ``In``
        Words asked for in this cycle.
    came : ``In(range(most + 1))``
        Words that came; all of them are stale, or none.
    flush : ``In(1)``
        All words asked for until now are stale, even one that comes in this cycle.
    wanted : ``Out(1)``
        The word that came is not stale.
    flying, stale : ``Out``
        Words on their way, and those of them that are stale.
    """

    def __init__(self, config, most=1):
        self.config = config
        # The port's bursts, one waiting in the arbiter and one in the reader; the cache has no
        # more.
        limit = (config.outstanding + 2) * config.burst
        super().__init__({
            "asked": In(bits_for(config.burst)), "came": In(range(most + 1)), "flush": In(1),
            "wanted": Out(1), "flying": Out(range(limit + 1)), "stale": Out(range(limit + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.wanted.eq(self.came.any() & (self.stale == 0) & ~self.flush)
        m.d.sync += self.flying.eq(self.flying + self.asked - self.came)
        with m.If(self.flush):
            m.d.sync += self.stale.eq(self.flying - self.came)
        with m.Elif(self.stale != 0):
            m.d.sync += self.stale.eq(self.stale - self.came)
        return m
