"""Writes on their way to memory, and past the SRAM of the cache."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2, exact_log2

from ..signatures import write_data
from .ranges import match


__all__ = ["Through"]


class Through(wiring.Component):
    """Passes writes on, puts those into a range into the SRAM as well, and knows which ranges have
    writes on their way.

    Latency
    -------
    None to the port; one cycle to the SRAM.

    Throughput
    ----------
    One write each cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    writes, port_writes : ``In``, ``Out``, ``stream.Signature(write_data(config))``
    written : ``In(1)``
        The oldest write was acknowledged, at the earliest two cycles after it was taken.
    live, first, last, shift, begun, ended : ``In``
        As of :class:`.Ranges`.
    strobe, address, data : ``Out``
        A word for the SRAM; the address counts words.
    inside : ``Out(1)``
        There is one.
    partial : ``Out(1)``
        It has not all bytes that share check bits, so that it is not written: its line has to
        become invalid. Never without ``config.ecc``.
    spoil : ``Out(config.ranges)``
        A write to the range was taken, in a cycle before, and is not yet acknowledged: what is
        read there now may be old.
    flying : ``Out``
        Writes on their way.
    wild : ``Out``, array
        Of each range, writes on their way up to the last one into it.
    """

    def __init__(self, config):
        self.config = config
        row, most = ceil_log2(config.cache_bursts), config.words_written + 8
        super().__init__({
            "writes": In(stream.Signature(write_data(config))),
            "port_writes": Out(stream.Signature(write_data(config))),
            "written": In(1),
            "live": In(config.ranges),
            "first": In(32).array(config.ranges), "last": In(32).array(config.ranges),
            "shift": In(row).array(config.ranges),
            "begun": In(config.ranges), "ended": In(config.ranges),
            "strobe": Out(config.word_bytes),
            "address": Out(ceil_log2(config.cache // config.word_bytes)),
            "data": Out(config.word_bits),
            "inside": Out(1), "partial": Out(1), "spoil": Out(config.ranges),
            "flying": Out(range(most)), "wild": Out(range(most)).array(config.ranges),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        word, line = exact_log2(config.word_bytes), exact_log2(config.line_bytes)
        span = exact_log2(config.burst_bytes)
        connect(m, flipped(self.writes), flipped(self.port_writes))
        accepted, flying = Signal(), self.flying
        m.d.comb += accepted.eq(self.writes.valid & self.writes.ready)
        m.d.sync += flying.eq(flying + accepted - self.written)

        # Stage 1: the range is known.
        s1_write, s1_match = Signal(write_data(config)), Signal(config.ranges)
        shift, row = Signal.like(self.shift[0]), Signal.like(self.shift[0])
        m.d.sync += [
            s1_write.eq(self.writes.payload),
            s1_match.eq(Mux(accepted, match(self, self.writes.p.address[line:]), 0) & ~self.ended),
        ]
        for n in range(config.ranges):
            with m.If(s1_match[n]):
                m.d.comb += shift.eq(self.shift[n])
        m.d.comb += [
            self.inside.eq(s1_match.any()), self.data.eq(s1_write.data),
            self.strobe.eq(Mux(self.inside & ~self.partial, s1_write.strobe, 0)),
            row.eq(s1_write.address[span:] + shift),
            self.address.eq(Cat(s1_write.address[word:span], row)),
        ]

        if config.ecc:
            size = config.cache_granule
            parts = [s1_write.strobe.word_select(n, size) for n in range(config.word_bytes // size)]
            m.d.comb += self.partial.eq(self.inside
                                        & Cat(part.any() & ~part.all() for part in parts).any())

        # A new range may have been written by any of those in flight.
        for n, wild in enumerate(self.wild):
            with m.If(self.begun[n]):
                m.d.sync += wild.eq(flying + accepted - self.written)
            with m.Elif(s1_match[n]):
                m.d.sync += wild.eq(flying - self.written)
            with m.Elif(self.written & (wild != 0)):
                m.d.sync += wild.eq(wild - 1)
            m.d.comb += self.spoil[n].eq(s1_match[n] | (wild != 0))
        return m
