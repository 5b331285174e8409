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
    """Puts the total of a reduction, divisors, or random numbers into the scratch memory.

    Latency
    -------
    A total goes out in the cycle in which it is there; random numbers as late as
    :class:`hw.vector.noise.Noise` makes them, and divisors as
    :class:`hw.vector.divisors.Divisors` takes them.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    rows : int
        Rows of the scratch memory.

    Members
    -------
    fill, kind, rows : ``In(1)``, ``In(Fill)``, ``In(range(rows + 1))``
        Fill row 0, or with noise so many rows; until ``filled``.
    filled : ``Out(1)``
        The last of it goes out.
    total_valid, total : ``In(1)``, ``In(32)``
    sums : ``In(stream.Signature(32))``
        Divisors.
    divide, left, ready, blocked, used : ``In(1)``, ``In(12)``, ``In(1)``, ``In(1)``, ``In(1)``
    there, last, covered : ``Out(1)``, ``Out(1)``, ``Out(12)``
        As of :class:`hw.vector.divisors.Divisors`; ``divide`` is ``start`` there.
    begin, command, seed : ``In(1)``, ``In(parameters)``, ``In(64)``
        A command begins; with its index and position, and the seed, of the noise.
    o : ``Out(scratch_fill(config, rows))``
    """

    def __init__(self, config, rows):
        self.config = config
        self.scratch_rows = rows
        super().__init__({
            "fill": In(1), "kind": In(Fill), "rows": In(range(rows + 1)), "filled": Out(1),
            "total_valid": In(1), "total": In(32), "sums": In(stream.Signature(32)),
            "divide": In(1), "left": In(12), "ready": In(1), "blocked": In(1), "used": In(1),
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
            noise.rows.eq(self.rows),
        ]

        wiring.connect(m, wiring.flipped(self.sums), divisors.sums)
        m.d.comb += [
            divisors.start.eq(self.divide), divisors.left.eq(self.left),
            divisors.period.eq(self.command.period), divisors.ready.eq(self.ready),
            divisors.blocked.eq(self.blocked), divisors.used.eq(self.used),
            self.there.eq(divisors.there), self.last.eq(divisors.last),
            self.covered.eq(divisors.covered),
        ]

        with m.Switch(self.kind):
            with m.Case(Fill.NOISE):
                m.d.comb += [noise.fill.eq(self.fill), self.filled.eq(noise.done)]
                wiring.connect(m, noise.o, wiring.flipped(self.o))
            with m.Case(Fill.DIVISORS):
                wiring.connect(m, divisors.o, wiring.flipped(self.o))
            with m.Default():
                m.d.comb += [
                    self.filled.eq(self.fill & self.total_valid), self.o.en.eq(self.filled),
                    self.o.pairs.eq(-1), self.o.data.eq(self.total.replicate(2)),
                ]
        return m
