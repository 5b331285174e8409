"""What a stream reader promises to memory and to its user."""

from amaranth import *
from amaranth.hdl import Assert, Assume
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.utils import bits_for, exact_log2

from hw.memory.reader import Reader


__all__ = ["ReaderSpec"]


class ReaderSpec(wiring.Component):
    """The reader asks for no more than it has room for, whatever memory, user and flushes do.

    The memory around it answers in order, after any time, and holds up to
    ``config.outstanding`` bursts. Bit 0 of a word says that it was asked for before a flush.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    fifo_bytes, item_words, cached
        As of :class:`hw.memory.reader.Reader`. Whole items never come among words of another one,
        nor across a flush.
    """

    def __init__(self, config, fifo_bytes, item_words, cached=False):
        self.config = config
        self.item_words = item_words
        self.reader = Reader(config, fifo_bytes, item_words, cached=cached)
        super().__init__({"d_valid": In(1), "d_address": In(8), "d_beats": In(4),
                          "grant": In(1), "answer": In(1), "take": In(1), "flush": In(1),
                          "whole": In(1)})

    def elaborate(self, platform):
        m = Module()
        reader, config = self.reader, self.config
        # The reader's parts can be watched.
        m.submodules.reader = inside = reader.elaborate(platform)
        parts = inside.submodules
        fifo, flight, joiner = parts.fifo, parts.flight, parts.joiner
        word = exact_log2(config.word_bytes)

        most = config.outstanding * config.burst
        owed, stale = Signal(range(most + 1)), Signal(range(most + 2 * config.burst + 1))
        asked, came = Signal(bits_for(config.burst)), Signal.like(parts.flight.came)
        whole, items = Signal(), self.item_words
        if reader.cached:
            m.d.comb += [whole.eq(self.whole & (owed >= items) & Mux(
                stale == 0, joiner.count == 0, stale >= items)), reader.data.p.whole.eq(whole)]
        request, following = reader.requests, parts.bursts.next
        m.d.comb += [
            Assume(~ResetSignal()),
            reader.descriptors.valid.eq(self.d_valid),
            reader.descriptors.p.address.eq(self.d_address << word),
            reader.descriptors.p.beats.eq(self.d_beats),
            reader.beats.ready.eq(self.take), reader.flush.eq(self.flush),
            request.ready.eq(self.grant & (owed + request.p.words <= most)),
            came.eq(Mux(self.answer & (owed != 0), Mux(whole, items, 1), 0)),
            # In a whole item, all words say so.
            reader.data.valid.eq(came != 0), reader.data.p.data.eq(
                Mux(stale != 0, sum(1 << n * config.word_bits for n in range(items)), 0)),
            asked.eq(Mux(request.valid & request.ready, request.p.words, 0)),
        ]
        m.d.sync += owed.eq(owed + asked - came)

        # What was asked before the last flush: in flight, and the request that waits.
        with m.If(self.flush):
            m.d.sync += stale.eq(owed - came + Mux(request.valid, request.p.words, 0))
        with m.Elif(stale != 0):
            m.d.sync += stale.eq(stale - came)

        m.d.comb += [
            # Room for every word that comes.
            Assert(~fifo.i.valid | fifo.i.ready), Assert(reader.data.ready),
            # Legal bursts.
            Assert(~request.valid | (request.p.words != 0) & (
                request.p.address[word:word + exact_log2(config.burst)] + request.p.words
                <= config.burst)),
            Assert((following.words == 0) | (
                following.address[word:word + exact_log2(config.burst)] + following.words
                <= config.burst)),
            # No word of before a flush is kept.
            *(Assert(~fifo.i.valid | ~fifo.i.payload[n * config.word_bits])
              for n in range(self.item_words)),
        ]

        # Why: every word of the FIFO is free, held, or asked for and wanted.
        waiting = Mux(request.valid, request.p.words, 0)
        m.d.comb += [
            Assert(parts.bursts.room + fifo.level * self.item_words + joiner.count
                   + flight.flying - flight.stale == reader.capacity),
            Assert(flight.flying == owed + waiting),
            Assert(flight.stale == stale), Assert(stale <= owed + waiting),
            Assert(owed <= most), Assert(request.p.words <= config.burst),
            *(Assert((joiner.count <= n) | ~joiner.o[(self.item_words - 2 - n) * config.word_bits])
              for n in range(self.item_words - 1)),
        ]

        # A request waits unchanged, even through a flush.
        stalled, before = Signal(), Signal.like(request.payload)
        m.d.sync += [stalled.eq(request.valid & ~request.ready), before.eq(request.payload)]
        with m.If(stalled):
            m.d.comb += Assert(request.valid & (request.payload.as_value() == before.as_value()))
        return m
