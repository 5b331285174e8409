"""Counts of bytes, and which of them is the k-th largest."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


__all__ = ["Histogram"]


class Histogram(wiring.Component):
    """Counts bytes, then finds the largest one that is not below the ``need``-th largest.

    The search goes through all counts from 255 down, and clears them. One comes by itself after
    reset, as memories survive it.

    Latency
    -------
    :attr:`latency` cycles from ``search`` to ``done``.

    Throughput
    ----------
    One byte each cycle, but not during a search.

    Parameters
    ----------
    most : int
        Bytes that may be counted between two searches.

    Members
    -------
    count, byte : ``In(1)``, ``In(8)``
        Count a byte.
    search, need : ``In(1)``, ``In``
        Search, in the cycle of the last byte or later; at least ``need`` bytes, which is not
        0, were counted.
    done : ``Out(1)``
        The search is over; then ``found`` and ``rest`` hold until the next one.
    found : ``Out(8)``
        The byte.
    rest : ``Out``
        How many of the ``need`` largest are equal to it.
    """

    #: Counts, and from a count's address to what it does to the result.
    latency = 256 + 3

    def __init__(self, most):
        self.most = most
        super().__init__({
            "count": In(1), "byte": In(8),
            "search": In(1), "need": In(range(most + 1)),
            "done": Out(1), "found": Out(8), "rest": Out(range(most + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=range(self.most + 1), depth=256, init=[])
        write = memory.write_port()
        # A byte may be counted in the cycle after its equal.
        read  = memory.read_port(transparent_for=(write,))

        # Control: all counts, from the highest byte down.
        searching = Signal(init=1)
        position  = Signal(8, init=255)
        m.d.sync += position.eq(position - searching)
        with m.If(position == 0):
            m.d.sync += searching.eq(0)
        with m.If(self.search):
            m.d.sync += searching.eq(1)

        # Stage 1: a count leaves the memory, and comes back larger by one, or as 0.
        s1_counts   = Signal()
        s1_searches = Signal()
        s1_byte     = Signal(8)
        m.d.comb += [
            read.addr.eq(Mux(searching, position, self.byte)),
            write.en.eq(s1_counts | s1_searches), write.addr.eq(s1_byte),
            write.data.eq(Mux(s1_searches, 0, read.data + 1)),
        ]
        m.d.sync += [
            s1_counts.eq(self.count), s1_searches.eq(searching), s1_byte.eq(read.addr),
        ]

        # Stage 2: as many are left to find.
        s2_searches = Signal()
        s2_byte     = Signal(8)
        s2_count    = Signal(range(self.most + 1))
        open_       = Signal()
        m.d.sync += [
            s2_searches.eq(s1_searches), s2_byte.eq(s1_byte), s2_count.eq(read.data),
            self.done.eq(s2_searches & (s2_byte == 0)),
        ]
        with m.If(s2_searches & open_):
            m.d.sync += self.found.eq(s2_byte)
            with m.If(s2_count >= self.rest):
                m.d.sync += open_.eq(0)
            with m.Else():
                m.d.sync += self.rest.eq(self.rest - s2_count)
        with m.If(self.search):
            m.d.sync += [self.rest.eq(self.need), open_.eq(1)]
        return m
