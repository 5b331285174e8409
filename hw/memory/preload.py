"""Reads ranges of the cache before anybody needs them."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import bits_for, exact_log2

from ..signatures import read_request
from .bursts import Bursts


__all__ = ["Preload"]


class Preload(wiring.Component):
    """Asks for all bursts of the ranges that are to be read, one range after another.

    Latency
    -------
    ``latency`` cycles from ``start`` to the first request.

    Throughput
    ----------
    One burst each cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    start, stop : ``In(config.ranges)``
        Read a range, from the cycle after on; forget it, if it is not read yet.
    first, last : ``In(32)``, arrays
        Lines of the ranges.
    requests : ``Out(stream.Signature(read_request(config)))``
        A request of a range that was stopped may still come.
    """

    latency = 4

    def __init__(self, config):
        self.config = config
        super().__init__({
            "start": In(config.ranges), "stop": In(config.ranges),
            "first": In(32).array(config.ranges), "last": In(32).array(config.ranges),
            "requests": Out(stream.Signature(read_request(config))),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        line, word = exact_log2(config.line_bytes), exact_log2(config.word_bytes)
        m.submodules.bursts = bursts = Bursts(config, config.burst)
        connect(m, bursts.requests, flipped(self.requests))
        m.d.comb += bursts.room.eq(config.burst)

        # The range that is read, and those that wait.
        waiting, busy, slot = Signal(config.ranges), Signal(), Signal(bits_for(config.ranges - 1))
        m.d.sync += waiting.eq((waiting | self.start) & ~self.stop)
        first, lines = Signal(32), Signal(32)
        for n in range(config.ranges):
            with m.If(~busy & waiting[n]):
                m.d.sync += [slot.eq(n), first.eq(self.first[n]), busy.eq(~self.stop[n]),
                             lines.eq(self.last[n] - self.first[n] + 1)]
        started = Signal()
        m.d.comb += [
            bursts.runs.p.address.eq(first << line), bursts.runs.p.words.eq(lines << line - word),
            bursts.runs.valid.eq(busy & ~started),
            bursts.flush.eq(busy & self.stop.bit_select(slot, 1)),
        ]
        with m.If(bursts.runs.valid & bursts.runs.ready):
            m.d.sync += started.eq(1)
        with m.If(bursts.flush | (started & ~bursts.busy)):
            m.d.sync += [busy.eq(0), started.eq(0), waiting.bit_select(slot, 1).eq(0)]
        return m
