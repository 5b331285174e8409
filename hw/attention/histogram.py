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
    latency = 256 + 4

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
        write, read = memory.write_port(), memory.read_port()

        # Control: all counts, from the highest byte down.
        searching = Signal(init=1)
        position  = Signal(8, init=255)
        m.d.sync += position.eq(position - searching)
        with m.If(position == 0):
            m.d.sync += searching.eq(0)
        with m.If(self.search):
            m.d.sync += searching.eq(1)

        # Stage 1: a count leaves the memory.
        s1_counts   = Signal()
        s1_searches = Signal()
        s1_byte     = Signal(8)
        m.d.comb += read.addr.eq(Mux(searching, position, self.byte))
        m.d.sync += [
            s1_counts.eq(self.count), s1_searches.eq(searching), s1_byte.eq(read.addr),
        ]

        # Stage 2: it goes back larger by one, or as 0. What the last two wrote was read too early.
        s2_counts   = Signal()
        s2_searches = Signal()
        s2_byte     = Signal(8)
        s2_read     = Signal.like(read.data)
        s2_count    = Signal.like(read.data)
        s2_written  = Signal.like(read.data)
        s2_same     = Signal(2)             # as the last byte, and as the one before
        s3_writes   = Signal()
        s3_byte     = Signal(8)
        s3_written  = Signal.like(read.data)
        s4_written  = Signal.like(read.data)
        m.d.sync += [
            s2_counts.eq(s1_counts), s2_searches.eq(s1_searches), s2_byte.eq(s1_byte),
            s2_read.eq(read.data),
            s2_same.eq(Cat(write.en & (s2_byte == s1_byte), s3_writes & (s3_byte == s1_byte))),
            s3_writes.eq(write.en), s3_byte.eq(s2_byte),
            s3_written.eq(s2_written), s4_written.eq(s3_written),
        ]
        m.d.comb += [
            s2_count.eq(Mux(s2_same[0], s3_written, Mux(s2_same[1], s4_written, s2_read))),
            s2_written.eq(Mux(s2_searches, 0, s2_count + 1)),
            write.en.eq(s2_counts | s2_searches), write.addr.eq(s2_byte),
            write.data.eq(s2_written),
        ]

        # Stage 3: fewer are left to find.
        s3_searches = Signal()
        s3_count    = Signal.like(read.data)
        looking     = Signal()
        m.d.sync += [
            s3_searches.eq(s2_searches), s3_count.eq(s2_count),
            self.done.eq(s3_searches & (s3_byte == 0)),
        ]
        with m.If(s3_searches & looking):
            m.d.sync += self.found.eq(s3_byte)
            with m.If(s3_count >= self.rest):
                m.d.sync += looking.eq(0)
            with m.Else():
                m.d.sync += self.rest.eq(self.rest - s3_count)
        with m.If(self.search):
            m.d.sync += [self.rest.eq(self.need), looking.eq(1)]
        return m
