"""Sends the pages that are chosen."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.attention.page_keys import KEY_BITS
from hw.attention.page_memory import page_key
from hw.signatures import choice


__all__ = ["PageSender"]


class PageSender(wiring.Component):
    """Passes on pages with keys above a threshold, and the first ones of those equal to it.

    Latency
    -------
    One cycle.

    Throughput
    ----------
    A page each cycle, if its choice is taken. ``pages.ready`` depends on ``choices.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    start : ``In(1)``
        Pages will come, up to the last one.
    threshold, equals : ``In``
        How many equal pages are sent, with ``start``; the threshold, from the cycle after it on.
    none : ``In(1)``
        Send the end alone.
    pages : ``In(stream.Signature(page_key(config)))``
    choices : ``Out(stream.Signature(choice))``
        The pages, then the end.
    done : ``Out(1)``
        The end leaves in this cycle.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "start": In(1), "threshold": In(KEY_BITS), "equals": In(range(config.pages + 1)),
            "none": In(1),
            "pages": In(stream.Signature(page_key(config))),
            "choices": Out(stream.Signature(choice)),
            "done": Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        # Control: a page goes on if it is not sent, or taken.
        s1_valid, s1_above, s1_equal, s1_last = (
            Signal(name=f"s1_{name}") for name in ("valid", "above", "equal", "last"))
        s1_page = Signal.like(self.pages.p.page)
        ending  = Signal()
        left    = Signal.like(self.equals)
        chosen  = Signal()
        advance = Signal()
        m.d.comb += [
            chosen.eq(s1_valid & (s1_above | (s1_equal & (left != 0)))),
            advance.eq(~chosen | self.choices.ready),
            self.pages.ready.eq(advance),
            self.choices.valid.eq(chosen | ending),
            self.choices.p.page.eq(Mux(ending, 0, s1_page)), self.choices.p.end.eq(ending),
            self.done.eq(ending & self.choices.ready),
        ]
        with m.If(self.none | (advance & s1_valid & s1_last)):
            m.d.sync += ending.eq(1)
        with m.If(self.done):
            m.d.sync += ending.eq(0)
        with m.If(self.start):
            m.d.sync += left.eq(self.equals)
        with m.Elif(advance & s1_valid & s1_equal & (left != 0)):
            m.d.sync += left.eq(left - 1)

        # Stage 1: a page and how its key compares.
        with m.If(advance):
            m.d.sync += [
                s1_valid.eq(self.pages.valid), s1_page.eq(self.pages.p.page),
                s1_above.eq(self.pages.p.key > self.threshold),
                s1_equal.eq(self.pages.p.key == self.threshold),
                s1_last.eq(self.pages.p.last),
            ]
        return m
