"""Numbers of the blocks that a walk reads."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..signatures import choice
from .plan import COMMON, Kind, plan


__all__ = ["numbered", "Pattern"]


#: A block of a walk, and where its walk lies.
numbered = data.StructLayout({
    **COMMON, "kept": plan["kept"].shape,
    "number": 32,                           # of a stream, its beats
    "first": 1, "last": 1,                  # of the walk
})


class Pattern(wiring.Component):
    """Numbers the blocks of one walk after another, ascending.

    First come blocks of sinks, then the chosen ones between these and the window, then those of
    the window up to the last token. The list of pages is taken up to its end always. ``take0``
    goes with the first block that holds a token of the chunk, or with ``forward`` with the first
    one, and with no other.

    A walk without blocks ends what walks behind it could be chained to.

    The reference is :func:`verif.reference.pattern.blocks_read`.

    Latency
    -------
    Two cycles from a walk without sinks to its first block.

    Throughput
    ----------
    One block each cycle; a cycle is lost between sinks and window, and four at each page.
    ``o.valid`` depends on ``i.valid``, ``i.ready`` and ``choices.ready`` on no ``ready``.

    Members
    -------
    i : ``In(stream.Signature(plan))``
        Taken when its last block was.
    choices : ``In(stream.Signature(choice))``
    o : ``Out(stream.Signature(numbered))``
    """

    latency = 2

    def __init__(self):
        super().__init__({
            "i": In(stream.Signature(plan)), "choices": In(stream.Signature(choice)),
            "o": Out(stream.Signature(numbered)),
        })

    def elaborate(self, platform):
        m = Module()
        i = self.i.p
        number, left = Signal(27), Signal(27)      # of the run being read
        window, fresh, broken = Signal(), Signal(), Signal()
        low, high, ended = Signal(30), Signal(30), Signal()

        # Control: what follows when a run is at its end.
        sent = Signal()
        m.d.comb += [self.o.valid.eq(left != 0), sent.eq(self.o.valid & self.o.ready)]
        with m.If(sent):
            m.d.sync += [number.eq(number + 1), left.eq(left - 1), fresh.eq(0), broken.eq(0)]
        to_window = [number.eq(i.first), left.eq(i.end - i.first), window.eq(1)]
        with m.FSM():
            with m.State("START"):
                with m.If(self.i.valid):
                    m.d.sync += [number.eq(0), left.eq(i.head), window.eq(0), fresh.eq(1)]
                    m.next = "SINKS"
            with m.State("SINKS"):
                with m.If(left == 0):
                    with m.If(i.chosen):
                        m.next = "PAGE"
                    with m.Else():
                        m.d.sync += to_window
                        m.next = "WINDOW"
            with m.State("PAGE"):
                m.d.comb += self.choices.ready.eq(1)
                with m.If(self.choices.valid):
                    m.next = "CLIP"
            with m.State("CLIP"):
                m.next = "MEASURE"
            with m.State("MEASURE"):
                with m.If(ended):
                    m.d.sync += to_window
                    m.next = "WINDOW"
                with m.Else():
                    m.d.sync += [number.eq(low), left.eq(Mux(high > low, high - low, 0))]
                    m.next = "CHOSEN"
            with m.State("CHOSEN"):
                with m.If(left == 0):
                    m.next = "PAGE"
            with m.State("WINDOW"):
                with m.If(left == 0):
                    m.d.comb += self.i.ready.eq(1)
                    with m.If(fresh):
                        m.d.sync += broken.eq(1)
                    m.next = "START"

        # A page's blocks that lie behind the sinks and before the window.
        page, start, stop = self.choices.p.page, Signal(30), Signal(30)
        with m.If(self.choices.ready):
            m.d.sync += [ended.eq(self.choices.p.end),
                         start.eq(page << i.page), stop.eq((page + 1) << i.page)]
        m.d.sync += [low.eq(Mux(start < i.head, i.head, start)),
                     high.eq(Mux(stop < i.first, stop, i.first))]

        # Blocks.
        m.d.comb += [
            *(self.o.p[name].eq(i[name]) for name in (*COMMON, "kept")),
            self.o.p.number.eq(Mux(i.kind == Kind.STREAM, i.beats, number)),
            self.o.p.first.eq(fresh), self.o.p.last.eq(window & (left == 1)),
            self.o.p.chain.eq(i.chain & ~broken),
            self.o.p.take0.eq(Mux(Mux(i.forward, fresh, number == i.chunk), i.take0, 0)),
        ]
        return m
