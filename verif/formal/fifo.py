"""What a FIFO promises, for any use of it."""

from amaranth import *
from amaranth.hdl import Assert, Assume
from amaranth.lib import wiring
from amaranth.lib.wiring import In


__all__ = ["FifoSpec"]


class FifoSpec(wiring.Component):
    """Nothing is lost, doubled, changed or reordered.

    One element, chosen freely, is followed from its entry to its exit.

    Parameters
    ----------
    fifo : ``wiring.Component``
        With streams ``i`` and ``o``, and perhaps ``flush``.
    places : int
        Most elements that it holds.
    latency : int
        Cycles after which the first element must be at ``o``.
    """

    def __init__(self, fifo, places, latency):
        self.fifo, self.places, self.latency = fifo, places, latency
        super().__init__({"i_valid": In(1), "i_payload": In(len(Value.cast(fifo.i.payload))),
                          "o_ready": In(1), "flush": In(1), "choose": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = self.fifo
        flush = Signal()
        if "flush" in fifo.signature.members:
            m.d.comb += [flush.eq(self.flush), fifo.flush.eq(flush)]
        m.d.comb += [
            Assume(~ResetSignal()),
            fifo.i.valid.eq(self.i_valid), fifo.i.payload.eq(self.i_payload),
            fifo.o.ready.eq(self.o_ready),
        ]

        # How many elements there must be.
        enter, leave, count = Signal(), Signal(), Signal(range(self.places + 2))
        m.d.comb += [enter.eq(fifo.i.valid & fifo.i.ready), leave.eq(fifo.o.valid & fifo.o.ready),
                     Assert(count <= self.places), Assert(~fifo.o.valid | (count != 0))]
        m.d.sync += count.eq(Mux(flush, 0, count + enter - leave))

        # The chosen element, and those ahead of it.
        chosen, value = Signal(), Signal.like(self.i_payload)
        ahead = Signal.like(count)
        with m.If(chosen & leave):
            m.d.sync += ahead.eq(ahead - 1)
            with m.If(ahead == 0):
                m.d.comb += Assert(fifo.o.payload == value)
                m.d.sync += chosen.eq(0)
        with m.If(~chosen & enter & self.choose):
            m.d.sync += [chosen.eq(1), value.eq(self.i_payload), ahead.eq(count - leave)]
        with m.If(flush):
            m.d.sync += chosen.eq(0)

        # An element appears in time, and waits unchanged.
        waited = Signal(range(self.latency + 1))
        m.d.sync += waited.eq(0)
        with m.If((count != 0) & ~fifo.o.valid & ~flush):
            m.d.comb += Assert(waited < self.latency - 1)
            m.d.sync += waited.eq(waited + 1)
        stalled, before = Signal(), Signal.like(value)
        m.d.sync += [stalled.eq(fifo.o.valid & ~fifo.o.ready & ~flush),
                     before.eq(fifo.o.payload)]
        with m.If(stalled):
            m.d.comb += Assert(fifo.o.valid & (fifo.o.payload == before))
        return m
