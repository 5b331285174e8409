"""Rows of the scratch memory that do not come from the lanes."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .decode import parameters
from .divisors import Divisors
from .noise import Noise
from .scratch import scratch_fill
from .steps import Fill


__all__ = ["Filler"]


class Filler(wiring.Component):
    """Puts totals of a reduction, divisors, or random numbers into the scratch memory.

    Latency
    -------
    A total goes out in the cycle in which it is there; random numbers come as late as
    :class:`hw.vector.noise.Noise` makes them, and divisors as
    :class:`hw.vector.divisors.Divisors` takes them.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    rows : int
        Rows of the scratch memory.

    Members
    -------
    fill, rows : ``In(1)``, ``In(range(rows + 1))``
        Fill so many rows with noise; until ``filled``.
    filled : ``Out(1)``
        The last of it goes out.
    enter, kind : ``In(1)``, ``In(Fill)``
        A step begins; what is to be filled from now on.
    total_valid, total : ``In(1)``, ``In(32)``
        A total of the reduction.
    sums : ``In(stream.Signature(32))``
        Divisors.
    left, ready, blocked, used : ``In(12)``, ``In(1)``, ``In(1)``, ``In(1)``
    there, last, covered : ``Out(1)``, ``Out(1)``, ``Out(12)``
        As of :class:`hw.vector.divisors.Divisors`.
    begin, command, seed : ``In(1)``, ``In(parameters)``, ``In(64)``
        A command begins; with its index and position, and the seed, of the noise.
    o : ``Out(scratch_fill(config, rows))``
    """

    def __init__(self, config, rows):
        self.config = config
        self.scratch_rows = rows
        super().__init__({
            "fill": In(1), "rows": In(range(rows + 1)), "filled": Out(1),
            "enter": In(1), "kind": In(Fill),
            "total_valid": In(1), "total": In(32), "sums": In(stream.Signature(32)),
            "left": In(12), "ready": In(1), "blocked": In(1), "used": In(1),
            "there": Out(1), "last": Out(1), "covered": Out(12),
            "begin": In(1), "command": In(parameters), "seed": In(64),
            "o": Out(scratch_fill(config, rows)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.noise    = noise    = Noise(self.config, self.scratch_rows)
        m.submodules.divisors = divisors = Divisors(self.config, self.scratch_rows)
        m.d.comb += [
            noise.start.eq(self.begin), noise.index.eq(self.command.index),
            noise.position.eq(self.command.position), noise.seed.eq(self.seed),
            noise.rows.eq(self.rows), noise.fill.eq(self.fill), self.filled.eq(noise.done),
        ]

        wiring.connect(m, wiring.flipped(self.sums), divisors.sums)
        m.d.comb += [
            divisors.start.eq(self.enter & ((self.kind == Fill.DIVISORS)
                                            | (self.kind == Fill.TOTALS))),
            divisors.totals.eq(self.kind == Fill.TOTALS),
            divisors.total_valid.eq(self.total_valid), divisors.total.eq(self.total),
            divisors.left.eq(self.left),
            divisors.period.eq(self.command.period), divisors.ready.eq(self.ready),
            divisors.blocked.eq(self.blocked), divisors.used.eq(self.used),
            self.there.eq(divisors.there), self.last.eq(divisors.last),
            self.covered.eq(divisors.covered),
        ]

        with m.If(self.fill):
            wiring.connect(m, noise.o, wiring.flipped(self.o))
        with m.Else():
            wiring.connect(m, divisors.o, wiring.flipped(self.o))
        return m
