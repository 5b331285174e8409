"""What the cache promises: what a write may have overtaken never becomes valid.

Two parts, each proven for itself. :class:`ThroughSpec`: a write into a range goes into the SRAM in
the cycle after it was taken, and the range is spoilt until it is acknowledged.
:class:`RepliesSpec`: under that condition no word that goes into the SRAM is older than the write.
"""

from amaranth import *
from amaranth.hdl import Assert, Assume
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.utils import bits_for, exact_log2

from hw.geometry import Geometry
from hw.memory.lookup import Lookup
from hw.memory.queue import Queue
from hw.memory.replies import Replies
from hw.memory.through import Through


__all__ = ["RepliesSpec", "ThroughSpec", "Tiny"]


class Tiny(Geometry):
    """A machine whose words are bytes: 64 of them, a cache of 16, bursts of 4, two words a beat."""

    channels, data_bits, address_bits = 1, 8, 6
    burst, outstanding, cache, ranges, ecc = 4, 2, 16, 1, 0
    beat_bytes = line_bytes = 2


class Star:
    """One write, chosen freely, between those before and behind it.

    Members
    -------
    now : the write is taken.
    flying : it was taken in a cycle before, and was not acknowledged before this cycle.
    known : it was taken in a cycle before.
    present : memory holds it; that comes at any time between.
    """

    def __init__(self, m, accepted, written, pending, star, land):
        self.now, self.known, self.present = Signal(), Signal(), Signal()
        self.flying = Signal()
        ahead, acknowledged = Signal.like(pending), Signal()
        m.d.comb += [self.now.eq(accepted & star & ~self.known),
                     self.flying.eq(self.known & ~acknowledged)]
        with m.If(self.now):
            m.d.sync += [self.known.eq(1), ahead.eq(pending - written)]
        with m.Elif(written & self.flying):
            m.d.sync += ahead.eq(ahead - 1)
            with m.If(ahead == 0):
                m.d.sync += [acknowledged.eq(1), self.present.eq(1)]
        with m.If(self.known & land):
            m.d.sync += self.present.eq(1)
        self.ahead = ahead
        # What an induction has to know.
        m.d.comb += [Assert(~self.flying | (ahead < pending)), Assert(self.known | ~acknowledged)]


def acknowledge(m, accepted, free):
    """``(pending, written)``: writes in flight, and whether the oldest one is acknowledged, at the
    earliest two cycles after it was taken."""
    pending, young, written = Signal(3), Signal(), Signal()
    m.d.comb += written.eq(free & (pending > young))
    m.d.sync += [young.eq(accepted), pending.eq(pending + accepted - written)]
    m.d.comb += Assert(young <= pending)
    return pending, written


class ThroughSpec(wiring.Component):
    """A write to a range is in the SRAM a cycle later, and spoils the range until it is in memory;
    also a range that begins while it is on its way."""

    def __init__(self):
        self.config = config = Tiny()
        super().__init__({
            "store": In(1), "address": In(config.address_bits), "data": In(config.word_bits),
            "grant": In(1), "acknowledge": In(1), "star": In(1),
            "begin": In(1), "end": In(1), "first": In(config.address_bits - 1),
            "last": In(config.address_bits - 1), "shift": In(2),
        })

    def elaborate(self, platform):
        m = Module()
        config, line = self.config, exact_log2(self.config.line_bytes)
        m.submodules.through = through = Through(config)
        write = through.writes
        accepted = Signal()
        pending, written = acknowledge(m, accepted, self.acknowledge)
        star = Star(m, accepted, written, pending, self.star, 0)
        m.d.comb += [
            Assume(~ResetSignal()),
            write.valid.eq(self.store), write.p.address.eq(self.address),
            write.p.data.eq(self.data), write.p.strobe.eq(1),
            through.port_writes.ready.eq(self.grant & (pending < 6)),
            accepted.eq(write.valid & write.ready), through.written.eq(written),
            Assert(through.port_writes.valid == self.store),
        ]

        # A range: it begins and ends.
        live, first, last, shift = through.live, through.first[0], through.last[0], (
            through.shift[0])
        is_live = Signal()
        m.d.comb += [live.eq(is_live), through.begun.eq(self.begin & ~is_live),
                     through.ended.eq(self.end & is_live)]
        with m.If(through.begun):
            m.d.sync += [is_live.eq(1), first.eq(self.first), last.eq(self.last),
                         shift.eq(self.shift)]
        with m.If(through.ended):
            m.d.sync += is_live.eq(0)

        # The chosen write.
        at, value, inside, before = Signal(config.address_bits), Signal(config.word_bits), (
            Signal()), Signal()
        with m.If(star.now):
            m.d.sync += [at.eq(self.address), value.eq(self.data)]
        m.d.comb += inside.eq(is_live & (at[line:] >= first) & (at[line:] <= last))
        first_cycle = Signal()
        m.d.sync += first_cycle.eq(star.now)
        m.d.comb += [Assert(through.flying == pending), Assert(through.wild[0] <= pending),
                     Assert(pending <= 6)]
        with m.If(star.flying & inside):
            m.d.comb += [Assert(through.spoil),
                         Assert(first_cycle | (through.wild[0] > star.ahead))]

        # In the cycle after, it goes to its place in the SRAM if it was in a range, and still is.
        row = Signal(2)
        m.d.sync += before.eq(star.now & is_live & (self.address[line:] >= first)
                              & (self.address[line:] <= last) & ~through.ended)
        m.d.comb += row.eq(at[2:] + shift)
        with m.If(before):
            m.d.comb += [Assert(through.inside), Assert(through.strobe == 1),
                         Assert(through.data == value),
                         Assert(through.address == Cat(at[:2], row))]
        return m


class RepliesSpec(wiring.Component):
    """No word that goes into the SRAM is older than a write that went there before.

    The write goes into the SRAM in the cycle after it was taken, when no word is filled. From then
    on each word that is filled and counted fresh must have been looked at when memory held the
    write, whichever word it is. Queues never overflow, each burst that was asked for comes once,
    and memory is asked for no more than what misses.

    Memory answers in order after any time, and looks at a word at any time between request and
    answer.
    """

    def __init__(self, reads=True):
        self.config = config = Tiny()
        self.reads = reads
        super().__init__({
            "ask": In(1), "hit": In(1), "fill": In(1), "address": In(config.address_bits),
            "words": In(bits_for(config.burst)), "row": In(2),
            "grant": In(1), "answer": In(1), "look": In(1), "read": In(1),
            "store": In(1), "acknowledge": In(1), "star": In(1), "land": In(1), "spoil": In(1),
            "stop": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, offset = self.config, exact_log2(self.config.burst)
        replies = Replies(config, config.outstanding + 1, self.reads)
        replies._MustUse__used = True
        m.submodules.replies = inside = replies.elaborate(platform)
        order, misses = inside.submodules.order, inside.submodules.misses

        # Requests, and what is found of them.
        asked, found = Signal(), Signal(Lookup.latency)
        m.d.comb += [
            Assume(~ResetSignal()), Assume(self.words != 0), Assume(~self.words[0]),
            Assume(self.address[:offset] + self.words <= config.burst), Assume(~self.address[0]),
            asked.eq(self.ask & replies.room), replies.asked.eq(asked),
            replies.found_valid.eq(found[-1]),
            replies.found.hit.eq(self.hit), replies.found.fill.eq(self.fill & ~self.hit),
            replies.found.row.eq(self.row), replies.found.request.address.eq(self.address),
            replies.found.request.words.eq(self.words),
            replies.read_granted.eq(replies.read_en & self.read),
            # There is always room.
            Assert(~order.i.valid | order.i.ready), Assert(~misses.i.valid | misses.i.ready),
        ]
        m.d.sync += found.eq(Cat(asked, found))

        # A write, and what it means to those that read.
        accepted = Signal()
        pending, written = acknowledge(m, accepted, self.acknowledge)
        m.d.comb += accepted.eq(self.store & (pending < 3))
        star = Star(m, accepted, written, pending, self.star, self.land)
        first = Signal()                            # the cycle after it was taken
        m.d.sync += first.eq(star.now)
        m.d.comb += [
            Assume(~star.flying | self.spoil), replies.spoil.eq(self.spoil),
            replies.fill_ready.eq(~(first | self.stop)),
        ]

        # Memory: of each burst on its way, whether it was asked for when memory held the write.
        m.submodules.flying = flying = Queue(1, config.outstanding)
        came = Signal()
        m.d.comb += [
            flying.i.valid.eq(replies.requests.valid & self.grant),
            flying.i.payload.eq(star.present),
            replies.requests.ready.eq(self.grant & flying.i.ready),
            replies.words.valid.eq(flying.o.valid & self.answer),
            replies.words.p.data.eq(flying.o.payload | (star.present & self.look)),
            came.eq(replies.words.valid & replies.words.ready),
            flying.o.ready.eq(came & order.o.ready),
            # Memory is asked only for what somebody waits for.
            Assert(~flying.o.valid | order.o.valid),
        ]

        with m.If(replies.fill.valid & replies.fill.fresh & star.known):
            m.d.comb += Assert(replies.words.p.data[0])
        return m
