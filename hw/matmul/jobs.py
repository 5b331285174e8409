"""Tells the drain of finished passes."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.memory.queue import Queue
from hw.signatures import Source, array_command

from .layouts import BANKS, job


__all__ = ["JobQueue"]


class JobQueue(wiring.Component):
    """Makes a job of each pass whose sums go to a bank, and holds it until they are there.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    next : ``In(array_command)``, ``start`` : ``In(1)``
        A command starts in the next cycle.
    command : ``In(array_command)``
        The command under way.
    height : ``In(5)``
        Rows a slice of its tile.
    push : ``In(1)``
        A pass ends whose sums go to a bank.
    last_group, ends_tile, last_tile : ``In(1)``
        It is the last one of its tile; the pass ends, and is; its tile is the last one.
    done : ``In(1)``
        The sums of a pass may be read two cycles later.
    jobs : ``Out(stream.Signature(job))``
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "next": In(array_command(config)), "start": In(1),
            "command": In(array_command(config)),
            "height": In(5),
            "push": In(1), "last_group": In(1), "ends_tile": In(1), "last_tile": In(1),
            "done": In(1),
            "jobs": Out(stream.Signature(job(config))),
        })

    def elaborate(self, platform):
        m = Module()
        c = self.command
        m.submodules.queue = queue = Queue(job(self.config), BANKS)

        # Where the tile and its vectors begin.
        tile  = Signal(16 + 5)      # element
        group = Signal(16)          # blocks from the first group on
        span  = Signal(16)          # blocks of a group
        first = Signal()
        number = Signal(range(self.config.kv_groups))   # of the group, where it matters
        with m.If(self.start):
            m.d.sync += [
                tile.eq(Cat(Const(0, 5), self.next.dst)), group.eq(0), number.eq(0), first.eq(1),
                span.eq(self.next.columns * self.next.stride),
            ]
        with m.If(self.push):
            m.d.sync += [group.eq(group + span), number.eq(number + 1), first.eq(0)]
        with m.If(self.ends_tile):
            m.d.sync += [
                tile.eq(tile + (self.height << exact_log2(self.config.slices))), group.eq(0),
                number.eq(0)]

        ready = Signal(range(BANKS + 1))
        m.d.sync += ready.eq(ready + self.done - (self.jobs.valid & self.jobs.ready))
        drain = queue.i.p.drain
        of_values = Signal()
        m.d.comb += [
            of_values.eq(c.source == Source.VALUES),
            drain.drain.eq(c.drain), drain.height.eq(self.height), drain.columns.eq(c.columns),
            drain.dst.eq(tile[5:] + group), drain.offset.eq(tile[:5]), drain.stride.eq(c.stride),
            drain.take1.eq(c.take1), drain.raise0.eq(c.raise0), drain.group.eq(number),
            # Of weights the last vector counts. Of values every one does, when it is complete:
            # tiles end with all vectors, and who waits takes vector after vector.
            drain["raise"].eq(Mux(of_values, self.last_tile, self.last_group)),
            queue.i.p.each.eq(of_values),
            queue.i.p.first.eq(first), queue.i.p.last.eq(self.last_tile),
            queue.i.p.factor.eq(c.factor),
            queue.i.valid.eq(self.push),
            self.jobs.payload.eq(queue.o.payload),
            self.jobs.valid.eq(queue.o.valid & (ready != 0)),
            queue.o.ready.eq(self.jobs.ready & (ready != 0)),
        ]
        return m
