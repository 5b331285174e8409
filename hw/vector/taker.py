"""Waits for the counters of a command's source blocks."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.signatures import Take


__all__ = ["Taker"]


class Taker(wiring.Component):
    """Takes one unit a block from up to two counters, ahead of the work.

    Latency
    -------
    A block is counted in ``ready`` one cycle after its last take.

    Throughput
    ----------
    One take each cycle; blocks that need none are ready at once, all together if the command needs
    none. The takes depend combinationally on ``ok``.

    Members
    -------
    start : ``In(1)``
        Begin a command, and forget the one before. The other inputs are constant until the next.
    blocks : ``In(12)``
        Blocks of the command, or of the part of it that is taken next.
    id0, id1 : ``In(4)``
        Counters; for each block first ``id0``, then ``id1``. 0 is none.
    period, both : ``In(12)``, ``In(1)``
        ``id1``, or ``both``, are taken from for so many blocks only; 0 means for all.
    used : ``In(12)``
        Ready blocks that are being used in this cycle, to be subtracted.
    ready : ``Out(12)``
        Blocks all of whose units were taken.
    take0, take1 : ``Out(Take)``
    """

    start: In(1)
    blocks: In(12)
    id0: In(4)
    id1: In(4)
    period: In(12)
    both: In(1)
    used: In(12)
    ready: Out(12)
    take0: Out(Take)
    take1: Out(Take)

    def elaborate(self, platform):
        m = Module()

        # What the next block needs.
        left   = Signal(12)
        active = Signal()
        first  = Signal()     # its first take is due
        needs0, needs1 = Signal(), Signal()
        m.d.comb += [self.take0.id.eq(self.id0), self.take1.id.eq(self.id1)]
        taken0, granted = Signal(), Signal()
        m.d.comb += [
            taken0.eq(active & first & self.take0.ok),
            granted.eq(Mux(first, taken0 & ~needs1, active & (~needs1 | self.take1.ok))),
            self.take0.take.eq(taken0),
            self.take1.take.eq(active & ~first & needs1 & self.take1.ok),
        ]
        count = Signal(12)
        with m.If(taken0 & needs1):
            m.d.sync += first.eq(0)
        with m.If(granted):
            m.d.sync += [left.eq(left - 1), active.eq(left != 1), first.eq(needs0)]
            with m.If(needs1 | needs0):
                m.d.sync += count.eq(count + 1)
            with m.If(count + 1 == self.period):
                m.d.sync += needs1.eq(0)
                with m.If(self.both):
                    m.d.sync += [needs0.eq(0), first.eq(0)]

        m.d.sync += self.ready.eq(self.ready + granted - self.used)
        with m.If(self.start):
            free = (self.id0 == 0) & (self.id1 == 0)
            m.d.sync += [
                first.eq(self.id0 != 0), needs0.eq(self.id0 != 0), needs1.eq(self.id1 != 0),
                count.eq(0),
                left.eq(self.blocks), active.eq(~free & (self.blocks != 0)),
                self.ready.eq(Mux(free, self.blocks, 0)),
            ]
        return m
