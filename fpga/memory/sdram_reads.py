"""Words that an SDRAM gives, put together from beats, until the master takes them."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.memory.queue import Queue


__all__ = ["SdramReads"]


class SdramReads(wiring.Component):
    """Takes what the data pins carry a fixed time after a read.

    Latency
    -------
    ``cas + beats + trip`` cycles from a read to its word in the queue, and one to ``o``.

    Throughput
    ----------
    A word in ``beats`` cycles.

    Parameters
    ----------
    chip : :class:`.sdram_chip.SdramChip`
    beats : int
        Of a word.
    depth : int
        Words that wait or are under way.
    trip : int
        Cycles that registers between here and the chip take, there and back.

    Members
    -------
    read : ``In(1)``
        A read is chosen; its command is on the pins a cycle later. Only while ``room``.
    tag : ``In(2)``
        Goes with the word: its ID, and whether it is bad.
    last : ``In(1)``
    room : ``Out(1)``
    dq : ``In(pins)``
        The pins.
    o : ``Out(stream)``
        ``data``, ``tag``, ``last``.
    """

    def __init__(self, chip, beats, depth, trip=0):
        self.chip, self.beats, self.depth, self.trip = chip, beats, depth, trip
        self.word = data.StructLayout({"data": chip.pins * beats, "tag": 2, "last": 1})
        super().__init__({
            "read": In(1), "tag": In(2), "last": In(1), "room": Out(1), "dq": In(chip.pins),
            "o": Out(stream.Signature(self.word)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = Queue(self.word, self.depth)
        connect(m, queue.o, flipped(self.o))

        # Control: a place in the queue for each read.
        reserved = Signal(range(self.depth + 1))
        m.d.comb += self.room.eq(reserved != self.depth)
        m.d.sync += reserved.eq(reserved + self.read - (self.o.valid & self.o.ready))

        # Data: reads wait for theirs.
        beats = Signal(self.chip.pins * self.beats)
        mark = Cat(self.read, self.tag, self.last)
        for n in range(self.chip.cas + self.beats + self.trip):
            waits = Signal(4, name=f"s{n + 1}_mark")
            m.d.sync += waits.eq(mark)
            mark = waits
        m.d.sync += beats.eq(Cat(beats, self.dq)[self.chip.pins:])
        m.d.comb += [queue.i.valid.eq(mark[0]), queue.i.p.tag.eq(mark[1:3]),
                     queue.i.p.last.eq(mark[3]), queue.i.p.data.eq(beats)]
        return m
