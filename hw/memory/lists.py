"""Lists of chosen pages from two sources."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..signatures import choice


__all__ = ["Lists"]


class Lists(wiring.Component):
    """Joins the lists of two sources: one whole list after another. Combinational.

    Nothing waits here: a source is at the end of its list when a walk has taken all of it.

    Members
    -------
    choices, pages : ``In(stream.Signature(choice))``
        Of the selector, which goes first, and of the mover.
    o : ``Out(stream.Signature(choice))``
    """

    def __init__(self):
        super().__init__({"choices": In(stream.Signature(choice)),
                          "pages": In(stream.Signature(choice)),
                          "o": Out(stream.Signature(choice))})

    def elaborate(self, platform):
        m = Module()
        begun, second, source = Signal(), Signal(), Signal()
        m.d.comb += [
            source.eq(Mux(begun, second, ~self.choices.valid)),
            self.o.valid.eq(Mux(source, self.pages.valid, self.choices.valid)),
            self.o.payload.eq(Mux(source, self.pages.payload, self.choices.payload)),
            self.choices.ready.eq(self.o.ready & ~source),
            self.pages.ready.eq(self.o.ready & source),
        ]
        # A page that is offered stays, also if the other source comes meanwhile.
        with m.If(self.o.valid):
            m.d.sync += [begun.eq(~(self.o.ready & self.o.p.end)), second.eq(source)]
        return m
