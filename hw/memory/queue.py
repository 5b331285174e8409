"""Small stream queue in registers or LUT memory."""

from amaranth import *
from amaranth.hdl import Shape
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out


__all__ = ["Queue"]


class Queue(wiring.Component):
    """First in, first out; for a few elements of any shape.

    Latency
    -------
    One cycle from ``i`` to ``o``; two if ``registered``.

    Throughput
    ----------
    One element each cycle if ``depth`` is at least 2. ``i.ready`` does not depend on ``o.ready``,
    nor ``o.valid`` on ``i.valid``: a queue of two cuts all paths through a stream.

    Parameters
    ----------
    shape : shape-like
        Shape of an element.
    depth : int
        Elements held.
    registered : bool
        The element at ``o`` waits in registers, one more than ``depth``: what is read from LUT
        memory comes late in a cycle.

    Members
    -------
    i : ``In(stream.Signature(shape))``
    o : ``Out(stream.Signature(shape))``
    level : ``Out``
        Elements held.
    """

    latency = 1

    def __init__(self, shape, depth, *, registered=False):
        self.shape = shape
        self.depth = depth
        self.registered = registered
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)),
            "level": Out(range(depth + registered + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = SyncFIFO(width=Shape.cast(self.shape).width, depth=self.depth)
        m.d.comb += [
            fifo.w_data.eq(self.i.payload),
            fifo.w_en.eq(self.i.valid),
            self.i.ready.eq(fifo.w_rdy),
        ]
        if not self.registered:
            m.d.comb += [
                Value.cast(self.o.payload).eq(fifo.r_data),
                self.o.valid.eq(fifo.r_rdy),
                fifo.r_en.eq(self.o.ready),
                self.level.eq(fifo.level),
            ]
            return m

        m.d.comb += [fifo.r_en.eq(~self.o.valid | self.o.ready),
                     self.level.eq(fifo.level + self.o.valid)]
        with m.If(fifo.r_en):
            m.d.sync += [Value.cast(self.o.payload).eq(fifo.r_data), self.o.valid.eq(fifo.r_rdy)]
        return m
