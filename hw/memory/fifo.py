"""Deep stream FIFO in block memory."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2


__all__ = ["Fifo"]


class Fifo(wiring.Component):
    """First in, first out, in a memory with a synchronous read port.

    Latency
    -------
    Two cycles from ``i`` to ``o``.

    Throughput
    ----------
    One element each cycle. ``i.ready`` does not depend on ``o.ready``, nor ``o.valid`` on
    ``i.valid``.

    Parameters
    ----------
    shape : shape-like
        Shape of an element.
    depth : int
        Elements held in the memory, a power of two; one more waits in the output register.

    Members
    -------
    i : ``In(stream.Signature(shape))``
    o : ``Out(stream.Signature(shape))``
    fetched : ``Out(1)``
        An element left the memory for the output register: its place may be written.
    level : ``Out(range(depth + 1))``
        Elements in the memory.
    flush : ``In(1)``
        Forget everything. ``o`` may be withdrawn; an element at ``i`` in this cycle is lost.
    """

    latency = 2

    def __init__(self, shape, depth):
        self.shape = shape
        self.depth = depth
        exact_log2(depth)
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)),
            "fetched": Out(1),
            "level": Out(range(depth + 1)),
            "flush": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=Shape.cast(self.shape).width,
                                              depth=self.depth, init=[])
        write, read = memory.write_port(), memory.read_port()

        # Control: pointers have one bit more than addresses, to tell full from empty.
        bits = exact_log2(self.depth)
        produce, consume = Signal(bits + 1), Signal(bits + 1)
        accepted = Signal()
        m.d.comb += [
            self.level.eq(produce - consume),
            self.i.ready.eq(self.level != self.depth),
            accepted.eq(self.i.valid & self.i.ready),
            self.fetched.eq((self.level != 0) & (~self.o.valid | self.o.ready)),
        ]
        m.d.sync += [produce.eq(produce + accepted), consume.eq(consume + self.fetched)]
        with m.If(self.fetched | self.o.ready):
            m.d.sync += self.o.valid.eq(self.fetched)
        with m.If(self.flush):
            m.d.sync += [produce.eq(0), consume.eq(0), self.o.valid.eq(0)]

        # Data: the output register is the memory's own.
        m.d.comb += [
            write.addr.eq(produce[:bits]), write.data.eq(self.i.payload), write.en.eq(accepted),
            read.addr.eq(consume[:bits]), read.en.eq(self.fetched),
            Value.cast(self.o.payload).eq(read.data),
        ]
        return m
