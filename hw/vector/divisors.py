"""Divisors of a batch of heads, or totals of a batch of vectors."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .scratch import scratch_fill


__all__ = ["Divisors"]


class Divisors(wiring.Component):
    """Fills the scratch memory with divisors, a row for each, while the rows already go out.

    A batch ends when the scratch memory is full, when the command needs no more, or when no
    divisor is there although a block is: what can be divided does not wait for what cannot. The
    last row is held back until it is known to be the last.

    Totals of vectors do not wait for their place. So no row goes out, to come back to the scratch
    memory, before all totals are there; and all vectors that find room make a batch.

    Latency
    -------
    One cycle from ``start`` to the first divisor, and two from there to ``there``.

    Throughput
    ----------
    One divisor each cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    rows : int
        Rows of the scratch memory.

    Members
    -------
    start, left, period : ``In(1)``, ``In(12)``, ``In(12)``
        Begin a batch; blocks that remain, and blocks of a head or vector, 0 for all.
    totals : ``In(1)``
        With ``start``: the batch is one of totals.
    sums : ``In(stream.Signature(32))``
    total_valid, total : ``In(1)``, ``In(32)``
    ready : ``In(1)``
        A block is there to be divided.
    blocked : ``In(1)``
        The scratch memory is being written by others.
    o : ``Out(scratch_fill(config, rows))``
    there, last, used : ``Out(1)``, ``Out(1)``, ``In(1)``
        A row may go out; it is the batch's last; it goes.
    covered : ``Out(12)``
        Blocks of the batch, from the cycle after its last row on.
    """

    def __init__(self, config, rows):
        self.rows = rows
        super().__init__({
            "start": In(1), "left": In(12), "period": In(12), "totals": In(1),
            "sums": In(stream.Signature(32)), "total_valid": In(1), "total": In(32),
            "ready": In(1), "blocked": In(1),
            "o": Out(scratch_fill(config, rows)),
            "there": Out(1), "last": Out(1), "used": In(1), "covered": Out(12),
        })

    def elaborate(self, platform):
        m = Module()
        open_   = Signal()
        totals  = Signal()
        rest    = Signal(12)                  # blocks behind those of the divisors taken
        row     = Signal(range(self.rows))
        waiting = Signal(range(self.rows + 1))
        single, taken, final = Signal(), Signal(), Signal()
        m.d.comb += [
            single.eq(waiting == 1),
            self.sums.ready.eq(open_ & ~totals & ~self.blocked),
            taken.eq((self.sums.valid & self.sums.ready) | (open_ & totals & self.total_valid)),
            final.eq((self.period == 0) | (rest <= self.period) | (row == self.rows - 1)),
            self.o.en.eq(taken), self.o.row.eq(row), self.o.pairs.eq(-1),
            self.o.data.eq(Mux(totals, self.total, self.sums.payload).replicate(2)),
            self.there.eq((waiting != 0) & ((~single & ~totals) | ~open_)),
            self.last.eq(single & ~open_),
        ]
        m.d.sync += [
            waiting.eq(waiting + taken - self.used),
            self.covered.eq(self.left - rest),
        ]
        with m.If(taken):
            m.d.sync += [
                row.eq(row + 1),
                rest.eq(Mux((self.period == 0) | (rest <= self.period), 0, rest - self.period)),
            ]
        with m.If((taken & final) | (single & ~totals & ~self.sums.valid & self.ready)):
            m.d.sync += open_.eq(0)
        with m.If(self.start):
            m.d.sync += [open_.eq(1), totals.eq(self.totals), rest.eq(self.left), row.eq(0)]
        return m
