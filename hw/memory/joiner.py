"""Joins words to items."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2


__all__ = ["Joiner"]


class Joiner(wiring.Component):
    """Every ``words`` words make an item, the first word lowest; some items come whole.

    Latency
    -------
    None: an item is there in the cycle of its last word. Nothing waits.

    Parameters
    ----------
    width : int
        Bits of a word.
    words : int
        Words of an item, a power of two.

    Members
    -------
    i, i_valid : ``In(width)``, ``In(1)``
    item, whole : ``In(width * words)``, ``In(1)``
        An item that is whole, and whether it comes instead of a word; not among the words of
        another one.
    o, o_valid : ``Out(width * words)``, ``Out(1)``
    count : ``Out(range(words))``
        Words of an item that is not whole.
    flush : ``In(1)``
        Forget those.
    """

    def __init__(self, width, words):
        self.width = width
        self.words = words
        super().__init__({"i": In(width), "i_valid": In(1),
                          "item": In(width * words), "whole": In(1),
                          "o": Out(width * words), "o_valid": Out(1),
                          "count": Out(exact_log2(words)), "flush": In(1)})

    def elaborate(self, platform):
        m = Module()
        earlier = Signal(self.width * (self.words - 1))
        m.d.comb += [self.o.eq(Mux(self.whole, self.item, Cat(earlier, self.i))),
                     self.o_valid.eq(self.whole | (self.i_valid & self.count.all()))]
        with m.If(self.i_valid):
            m.d.sync += [self.count.eq(self.count + 1),
                         earlier.eq(Cat(earlier, self.i)[self.width:])]
        with m.If(self.flush):
            m.d.sync += self.count.eq(0)
        return m
