"""What the cache promises: nothing old is ever read, and nothing comes that was not asked for."""

from amaranth import *
from amaranth.hdl import Assert, Assume
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, connect
from amaranth.utils import bits_for, exact_log2

from hw.geometry import Geometry
from hw.memory.arbiter import ReadArbiter
from hw.memory.cache import Cache
from hw.memory.queue import Queue
from hw.signatures import read_request


__all__ = ["CacheSpec", "Tiny"]


class Tiny(Geometry):
    """A machine whose words are bytes: 32 of them, a cache of 8, two words a beat.

    Parameters
    ----------
    line_words, ranges : int
    """

    channels, data_bits, address_bits = 1, 8, 5
    burst, outstanding, cache = 4, 2, 8
    beat_bytes = 2
    line_bytes = None

    def __init__(self, line_words, ranges):
        self.line_bytes, self.ranges = line_words, ranges


class CacheSpec(wiring.Component):
    """A read gives what the last write that was acknowledged before it has left, or later ones.

    One word of memory, chosen freely, is followed, and one write to it: the word is 0 before it
    and 1 from it on, whatever else is written there. A read of the word that is asked for after
    the write was acknowledged must give 1, and one that comes before the write gives 0. Other
    words are anything at any time.

    Memory answers in order after any time. It looks at a word at any time between request and
    answer, and a write reaches it at any time before it is acknowledged. Reads of both streams,
    writes, ``pin`` and ``drop`` come as they like. The table and the mover do not read.

    Parameters
    ----------
    config : :class:`Tiny`
    """

    def __init__(self, config):
        self.config = config
        bits = config.address_bits
        streams = {f"{name}_{what}": In(width) for name in ("d", "w") for what, width in (
            ("ask", 1), ("address", bits), ("words", bits_for(config.burst)))}
        super().__init__({
            **streams,
            "w_ask": In(1), "grant": In(1), "answer": In(1), "look": In(1), "others": In(1),
            "store": In(1), "store_address": In(bits), "store_data": In(1), "store_grant": In(1),
            "star": In(1), "land": In(1), "acknowledge": In(1),
            "change": In(1), "live": In(1), "preload": In(1), "slot": In(bits_for(config.ranges - 1)),
            "first": In(bits), "lines": In(bits), "place": In(2),
            "which": In(bits), "choose": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.cache = cache = Cache(config)
        m.submodules.arbiter = arbiter = ReadArbiter(config)
        for name in ("d", "w", "fill"):
            connect(m, getattr(cache, f"{name}_reads"), getattr(arbiter, name))
            connect(m, getattr(arbiter, f"{name}_data"), getattr(cache, f"{name}_words"))
        m.d.comb += Assume(~ResetSignal())

        # The chosen word stays the same.
        chosen, begun = Signal(config.address_bits), Signal()
        m.d.sync += [chosen.eq(self.which), begun.eq(1)]
        m.d.comb += Assume(~begun | (self.which == chosen))
        word = self.which

        acknowledged, present, stored = self._writes(m, cache, word)
        self._memory(m, arbiter, word, present)
        self._ranges(m, cache)
        for name in ("d", "w"):
            self._stream(m, cache, name, word, acknowledged, stored)
        return m

    def _writes(self, m, cache, word):
        """Writes on their way; whether the one that counts is acknowledged, in memory, taken."""
        pending, accepted = Signal(3), Signal()
        write = cache.writes
        m.d.comb += [
            write.valid.eq(self.store), write.p.address.eq(self.store_address),
            write.p.data.eq(self.store_data), write.p.strobe.eq(1),
            cache.port_writes.ready.eq(self.store_grant & (pending < 3)),
            accepted.eq(write.valid & write.ready),
        ]
        # A write is acknowledged two cycles after it was taken, or later.
        young = Signal(2)
        m.d.sync += young.eq(Cat(accepted, young[0]))
        m.d.comb += cache.written.eq(
            self.acknowledge & (pending > young[0] + young[1]))
        m.d.sync += pending.eq(pending + accepted - cache.written)

        taken, present, acknowledged = Signal(), Signal(), Signal()
        ahead, now = Signal(3), Signal()
        m.d.comb += [
            now.eq(accepted & (self.store_address == word) & self.star & ~taken),
            # What is written there is 0 before, and 1 from it on.
            Assume(~accepted | (self.store_address != word) | (self.store_data == (taken | now))),
        ]
        with m.If(now):
            m.d.sync += [taken.eq(1), ahead.eq(pending - cache.written)]
        with m.Elif(cache.written & taken & ~acknowledged):
            m.d.sync += ahead.eq(ahead - 1)
            with m.If(ahead == 0):
                m.d.sync += [acknowledged.eq(1), present.eq(1)]
        with m.If(taken & self.land):
            m.d.sync += present.eq(1)
        return acknowledged, present, taken | now

    def _memory(self, m, arbiter, word, present):
        """Bursts on their way, and what the chosen word was when they were asked for."""
        config = self.config
        m.submodules.flying = flying = Queue(data.StructLayout({
            "request": read_request(config), "before": 1}), config.outstanding)
        come, at = Signal(range(config.burst)), Signal(config.address_bits)
        head = flying.o.p
        m.d.comb += [
            flying.i.valid.eq(arbiter.reads.valid & self.grant),
            flying.i.p.request.eq(arbiter.reads.p), flying.i.p.before.eq(present),
            arbiter.reads.ready.eq(self.grant & flying.i.ready),
            at.eq(head.request.address + come),
            arbiter.data.valid.eq(flying.o.valid & self.answer),
            arbiter.data.p.data.eq(Mux(at == word, head.before | (present & self.look),
                                       self.others)),
        ]
        with m.If(arbiter.data.valid & arbiter.data.ready):
            m.d.sync += come.eq(come + 1)
            with m.If(come == head.request.words - 1):
                m.d.comb += flying.o.ready.eq(1)
                m.d.sync += come.eq(0)

    def _ranges(self, m, cache):
        """Commands, each held until it is taken."""
        command, held = cache.ranges, Signal()
        m.d.comb += command.valid.eq(held)
        with m.If(~held | command.ready):
            m.d.sync += [
                held.eq(self.change), command.p.live.eq(self.live), command.p.slot.eq(self.slot),
                command.p.preload.eq(self.preload), command.p.first.eq(self.first),
                command.p.lines.eq(self.lines), command.p.place.eq(self.place),
            ]
        m.d.comb += [Assume(self.slot < self.config.ranges), Assume(self.lines != 0)]

    def _stream(self, m, cache, name, word, acknowledged, stored):
        """A stream's requests; one of them that holds the word is followed to what comes."""
        config = self.config
        port, came = getattr(cache, name), getattr(cache, f"{name}_data")
        address, words = getattr(self, f"{name}_address"), getattr(self, f"{name}_words")
        beats, offset = exact_log2(config.beat_words), exact_log2(config.burst)
        m.d.comb += [
            came.ready.eq(1),
            # Whole beats of an aligned burst.
            Assume(address[:beats] == 0), Assume(words[:beats] == 0), Assume(words != 0),
            Assume(address[:offset] + words <= config.burst),
        ]
        with m.If(~port.valid | port.ready):
            m.d.sync += [port.valid.eq(getattr(self, f"{name}_ask")),
                         port.p.address.eq(address), port.p.words.eq(words)]

        owed, step = Signal(8, name=f"{name}_owed"), Signal(2, name=f"{name}_step")
        asked = Signal(bits_for(config.burst), name=f"{name}_asked")
        m.d.comb += [
            step.eq(Mux(came.valid, Mux(came.p.whole, config.beat_words, 1), 0)),
            asked.eq(Mux(port.valid & port.ready, port.p.words, 0)),
            Assert(step <= owed),
        ]
        m.d.sync += owed.eq(owed + asked - step)

        follows, ahead = Signal(name=f"{name}_follows"), Signal(8, name=f"{name}_ahead")
        must = Signal(name=f"{name}_must")
        place = Signal(config.address_bits, name=f"{name}_place")
        value = Signal(name=f"{name}_value")
        m.d.comb += [
            place.eq(word - port.p.address),
            value.eq(came.p.data.word_select(Mux(came.p.whole, ahead[:beats], 0),
                                             config.word_bits)[0]),
        ]
        with m.If(follows & (step > ahead)):
            m.d.comb += [Assert(value | ~must), Assert(~value | stored)]
            m.d.sync += follows.eq(0)
        with m.Elif(follows):
            m.d.sync += ahead.eq(ahead - step)
        with m.If(~follows & self.choose & (asked != 0) & (place < port.p.words)):
            m.d.sync += [follows.eq(1), ahead.eq(owed - step + place), must.eq(acknowledged)]
