"""Lists of chosen pages from two sources."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..signatures import choice
from .queue import Queue


__all__ = ["Lists"]


class Lists(wiring.Component):
    """Joins the lists of two sources: one whole list after another.

    Latency
    -------
    One cycle.

    Throughput
    ----------
    One page each cycle. A ``ready`` does not depend on ``o.ready``.

    Members
    -------
    choices, pages : ``In(stream.Signature(choice))``
        Of the selector, which goes first, and of the mover.
    o : ``Out(stream.Signature(choice))``
    """

    latency = 1

    def __init__(self):
        super().__init__({"choices": In(stream.Signature(choice)),
                          "pages": In(stream.Signature(choice)),
                          "o": Out(stream.Signature(choice))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = Queue(choice, 2)
        connect(m, queue.o, flipped(self.o))
        begun, second, source = Signal(), Signal(), Signal()
        m.d.comb += [
            source.eq(Mux(begun, second, ~self.choices.valid)),
            queue.i.valid.eq(Mux(source, self.pages.valid, self.choices.valid)),
            queue.i.payload.eq(Mux(source, self.pages.payload, self.choices.payload)),
            self.choices.ready.eq(queue.i.ready & ~source),
            self.pages.ready.eq(queue.i.ready & source),
        ]
        with m.If(queue.i.valid & queue.i.ready):
            m.d.sync += [begun.eq(~queue.i.p.end), second.eq(source)]
        return m
