"""Line addresses of placed blocks, and the queue in which they wait to be read."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from ..primitives import Multiplier
from .plan import Kind
from .queue import Queue
from .sizes import sizes
from .table import placed


__all__ = ["block", "Lines"]


#: A block, or a stream, that is ready to be read.
block = data.StructLayout({
    "address": 32,                          # lines
    "number": 32,                           # of a stream, its beats
    "head_blocks": 5, "packed": 1, "last": 1, "forward": 1,
})

#: What decides when it is read.
ready_block = data.StructLayout({"kind": Kind, "first": 1, "chain": 1, "take0": 4, "data": block})




class Lines(wiring.Component):
    """Multiplies places by the size of a block, and adds what their walk starts with.

    The queue holds so many blocks that memory has enough to do while a ring's turn is divided out
    or a word of the block table is fetched: the bursts in flight before that word, and as many
    words again for memory's latency.

    Latency
    -------
    ``latency`` cycles, those of the multiplier and of a queue.

    Throughput
    ----------
    One block each cycle. ``i.ready`` does not depend on ``o.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    i : ``In(stream.Signature(placed))``
    o : ``Out(stream.Signature(ready_block))``
    busy : ``Out(1)``
        A block is here.
    """

    latency = Multiplier.latency_of(32, 1) + Queue.latency

    def __init__(self, config):
        self.config = config
        smallest = config.kv_beats(1, config.packs) * config.beat_words
        self.depth = 2 - (-2 * config.outstanding * config.burst // smallest)
        self.bits = bits_for(max(config.kv_lines(config.max_head_blocks),
                                 config.bounds_lines(config.max_head_blocks)))
        super().__init__({"i": In(stream.Signature(placed)),
                          "o": Out(stream.Signature(ready_block)), "busy": Out(1)})

    def elaborate(self, platform):
        m = Module()
        config, i, o = self.config, self.i.p, self.o.p
        m.submodules.multiplier = multiplier = Multiplier(32, self.bits, config.technology,
                                                          signed=False)
        m.submodules.blocks = blocks = Queue(ready_block, self.depth)
        m.submodules.products = products = Queue(32, self.depth)

        # A block waits in its queue for its product, for which the other queue then has room.
        multiplying = Signal(multiplier.latency)
        taken = Signal()
        m.d.comb += [
            self.i.ready.eq(blocks.i.ready), blocks.i.valid.eq(self.i.valid),
            products.i.valid.eq(multiplying[-1]), products.i.p.eq(multiplier.o),
            self.o.valid.eq(products.o.valid), taken.eq(self.o.valid & self.o.ready),
            blocks.o.ready.eq(taken), products.o.ready.eq(taken), self.busy.eq(blocks.o.valid),
        ]
        m.d.sync += multiplying.eq(Cat(self.i.valid & self.i.ready, multiplying))

        lines = sizes(m, config, i, "lines", config.kv_lines)
        bounds = sizes(m, config, i, "bounds", config.bounds_lines)
        m.d.comb += [
            *(blocks.i.p[name].eq(i[name]) for name, _ in ready_block if name != "data"),
            *(blocks.i.p.data[name].eq(i[name]) for name, _ in block),
            multiplier.a.eq(Mux(i.kind == Kind.STREAM, 0, i.place)),
            multiplier.b.eq(Mux(i.kind == Kind.BOUNDS, bounds, lines)),
            o.eq(blocks.o.p), o.data.address.eq(blocks.o.p.data.address + products.o.p),
        ]
        return m
