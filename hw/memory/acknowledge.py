"""Raises counters when writes have reached memory."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..signatures import Raise
from .queue import Queue


__all__ = ["Acknowledge"]


class Acknowledge(wiring.Component):
    """Counts words in flight; raises a counter when all words before a mark are acknowledged.

    Latency
    -------
    Two cycles from the acknowledgement to the raise.

    Throughput
    ----------
    One mark each cycle; up to :attr:`depth` wait.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    issued, written : ``In(1)``
        A word set out, a word was acknowledged.
    marks : ``In(stream.Signature(4))``
        The counter to raise once all words issued before are acknowledged; a word issued in
        the same cycle comes after the mark.
    hold : ``In(1)``
        Raise nothing in this cycle.
    raise0 : ``Out(Raise)``
    busy : ``Out(1)``
        Words are in flight, or marks wait.
    """

    depth = 8

    def __init__(self, config):
        self.config = config
        super().__init__({
            "issued": In(1), "written": In(1),
            "marks": In(stream.Signature(4)),
            "hold": In(1),
            "raise0": Out(Raise),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        # Counts wrap; never more than half their range is in flight.
        bits = ceil_log2(self.config.words_written + 8) + 1
        issued, written, ahead = Signal(bits), Signal(bits), Signal(bits)
        m.submodules.marks = marks = Queue(data.StructLayout({"id": 4, "count": bits}), self.depth)
        reached = Signal()
        m.d.sync += [issued.eq(issued + self.issued), written.eq(written + self.written)]
        m.d.comb += [
            marks.i.valid.eq(self.marks.valid), self.marks.ready.eq(marks.i.ready),
            marks.i.p.id.eq(self.marks.payload), marks.i.p.count.eq(issued),
            ahead.eq(written - marks.o.p.count),
            reached.eq(marks.o.valid & ~ahead[-1]),
            self.raise0.id.eq(marks.o.p.id),
            self.raise0.en.eq(reached & ~self.hold),
            marks.o.ready.eq(self.raise0.en),
            self.busy.eq((issued != written) | marks.o.valid),
        ]
        return m
