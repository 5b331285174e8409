"""Rows of the scratch memory that do not come from the lanes."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .decode import parameters
from .noise import Noise
from .scratch import scratch_fill
from .steps import Fill


__all__ = ["Filler"]


class Filler(wiring.Component):
    """Puts the total of a reduction, a divisor, or random numbers into the scratch memory.

    Latency
    -------
    A total or a divisor goes out in the cycle in which it is there; random numbers as late as
    :class:`hw.vector.noise.Noise` makes them.

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
            "begin": In(1), "command": In(parameters), "seed": In(64),
            "o": Out(scratch_fill(config, rows)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.noise = noise = Noise(self.config, self.scratch_rows)
        m.d.comb += [
            noise.start.eq(self.begin), noise.index.eq(self.command.index),
            noise.position.eq(self.command.position), noise.seed.eq(self.seed),
            noise.rows.eq(self.rows),
        ]

        scalar = Signal(32)
        valid  = Signal()
        with m.If(self.kind == Fill.TOTAL):
            m.d.comb += [scalar.eq(self.total), valid.eq(self.fill & self.total_valid)]
        with m.Else():
            m.d.comb += [scalar.eq(self.sums.payload), valid.eq(self.fill & self.sums.valid)]
        m.d.comb += self.sums.ready.eq(self.fill & (self.kind == Fill.DIVISOR))

        with m.If(self.kind == Fill.NOISE):
            m.d.comb += [
                noise.fill.eq(self.fill), self.filled.eq(noise.done),
                self.o.en.eq(noise.o.en), self.o.row.eq(noise.o.row),
                self.o.pairs.eq(noise.o.pairs), self.o.data.eq(noise.o.data),
            ]
        with m.Else():
            m.d.comb += [
                self.filled.eq(valid), self.o.en.eq(valid), self.o.pairs.eq(-1),
                self.o.data.eq(scalar.replicate(2)),
            ]
        return m
