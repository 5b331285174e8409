"""What one stream gets, in the order in which it asked: beats of the cache, and words of memory."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import bits_for, ceil_log2, exact_log2

from ..signatures import cached_data, read_data, read_request
from .lookup import Lookup, found
from .queue import Queue


__all__ = ["Replies", "fill"]


def fill(config):
    """A word that goes into the SRAM on its way."""
    return data.StructLayout({
        "valid":   1,
        "address": ceil_log2(config.cache // config.word_bytes),    # of the SRAM, in words
        "fresh":   1,                                               # no write has overtaken it
    })


class Replies(wiring.Component):
    """Asks memory for what is not in the cache, and reads what is, when it is its turn.

    Bursts that were looked up wait in a queue. The one at its head is read from the SRAM, a beat
    in each cycle in which the SRAM is granted, or is awaited from memory, a word a cycle. Words of
    memory are held back only while a burst before them is read from the SRAM; so they always come
    on. Whoever asks has room for what it asked for.

    Memory may answer a read before or after a write that is on its way. What could be old must not
    become valid: ``spoil`` marks all that is in the queue, range by range, and the words of marked
    bursts are not fresh. They reach the stream all the same, as they would without a cache.

    Latency
    -------
    ``latency`` cycles, one, from ``found`` to ``requests`` or ``read_en``, and one from a grant to
    the beat; none from ``words`` to ``data``.

    Throughput
    ----------
    One beat of the SRAM, or one word of memory, each cycle; between both one cycle is lost.
    ``words.ready`` depends on ``fill_ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    depth : int
        Bursts that may have been looked up and not come.
    reads : bool
        Whether what comes is wanted; else only fills count, and hits are forgotten.

    Members
    -------
    asked : ``In(1)``
        A request is being looked up; only while ``room``.
    room : ``Out(1)``
    found_valid, found : ``In(1)``, ``In(found(config))``
    requests : ``Out(stream.Signature(read_request(config)))``
    words : ``In(stream.Signature(read_data(config)))``
    read_en, read_row : ``Out``
        The next beat is wanted.
    read_granted : ``In(1)``
        It is read, and is at ``read_data`` in the next cycle.
    read_data : ``In(8 * config.beat_bytes)``
    data : ``Out(stream.Signature(cached_data(config)))``
        Always taken.
    fill : ``Out(fill(config))``
        The word at ``words`` goes into the SRAM if it is taken and fresh.
    fill_lines : ``Out(config.burst_lines)``
        The line of the burst that the word completes, as a mask.
    fill_ready : ``In(1)``
        The SRAM can be written.
    spoil : ``In(config.ranges)``
        A write to the range is on its way.
    busy : ``Out(1)``
    """

    latency = 1

    def __init__(self, config, depth, reads=True):
        self.config, self.depth, self.reads = config, depth, reads
        super().__init__({
            "asked": In(1), "room": Out(1),
            "found_valid": In(1), "found": In(found(config)),
            "requests": Out(stream.Signature(read_request(config))),
            "words": In(stream.Signature(read_data(config))),
            "read_en": Out(1), "read_row": Out(ceil_log2(config.cache // config.beat_bytes)),
            "read_granted": In(1), "read_data": In(8 * config.beat_bytes),
            "data": Out(stream.Signature(cached_data(config))),
            "fill": Out(fill(config)), "fill_lines": Out(config.burst_lines),
            "fill_ready": In(1), "spoil": In(config.ranges),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        word, beat = exact_log2(config.word_bytes), exact_log2(config.beat_words)
        offset = exact_log2(config.burst)
        entry = data.StructLayout({
            "hit": 1, "fill": 1, "slot": self.found.slot.shape(), "row": self.found.row.shape(),
            "word": max(offset, 1), "words": bits_for(config.burst)})
        m.submodules.order = order = Queue(entry, self.depth)
        # What is found while the arbiter does not take anything.
        m.submodules.misses = misses = Queue(read_request(config), Lookup.latency + 2)
        connect(m, misses.o, flipped(self.requests))

        # Room: for what is in the queue and what is being looked up.
        held, unsent = Signal(range(self.depth + 1)), Signal(range(misses.depth + 1))
        enter, leave, miss = Signal(), Signal(), Signal()
        request = self.found.request
        m.d.comb += [
            self.room.eq((held != self.depth) & (unsent != misses.depth)),
            miss.eq(self.found_valid & ~self.found.hit
                    & (Const(1) if self.reads else self.found.fill)),
            enter.eq(miss | (self.found_valid & self.found.hit if self.reads else Const(0))),
            order.i.valid.eq(enter),
            order.i.p.hit.eq(self.found.hit), order.i.p.fill.eq(self.found.fill),
            order.i.p.slot.eq(self.found.slot), order.i.p.row.eq(self.found.row),
            order.i.p.word.eq(request.address[word:word + offset]),
            order.i.p.words.eq(request.words),
            misses.i.valid.eq(miss), misses.i.payload.eq(request),
            self.busy.eq((held != 0) | self.data.p.whole),
        ]
        m.d.sync += [
            held.eq(held + self.asked - leave - (self.found_valid & ~enter)),
            unsent.eq(unsent + self.asked - (misses.o.valid & misses.o.ready)
                      - (self.found_valid & ~miss)),
        ]

        # The burst at the head: how many of its words have come.
        head, come, step = order.o.p, Signal(range(config.burst + 1)), Signal.like(request.words)
        position = Signal(max(offset, 1))
        came = Signal()                             # a word of memory came
        beat_came = Signal()                        # a beat comes from the SRAM
        last = Signal()
        m.d.comb += [
            position.eq(head.word + come),
            self.read_en.eq(order.o.valid & head.hit),
            self.read_row.eq(Cat(position[beat:offset], head.row)),
            self.words.ready.eq(order.o.valid & ~head.hit & ~beat_came
                                & (self.fill_ready | ~head.fill)),
            came.eq(self.words.valid & self.words.ready),
            step.eq(Mux(self.read_granted, config.beat_words, came)),
            last.eq(come + step == head.words),
            leave.eq((self.read_granted | came) & last), order.o.ready.eq(leave),
        ]
        m.d.sync += [come.eq(Mux(leave, 0, come + step)), beat_came.eq(self.read_granted)]

        # What comes.
        m.d.comb += [
            self.data.valid.eq(beat_came | came), self.data.p.whole.eq(beat_came),
            self.data.p.data.eq(Mux(beat_came, self.read_data, self.words.p.data)),
        ]

        # What a write may have overtaken: so many bursts, from the head on.
        stale = [Signal(range(self.depth + 1), name=f"stale_{n}") for n in range(config.ranges)]
        is_stale = Signal()
        for n, count in enumerate(stale):
            with m.If(self.spoil[n]):
                m.d.sync += count.eq(order.level - leave)
            with m.Elif(leave & (count != 0)):
                m.d.sync += count.eq(count - 1)
            with m.If((head.slot == n) & (count != 0)):
                m.d.comb += is_stale.eq(1)

        # Lines are valid when all their words have come.
        inside = exact_log2(config.line_bytes // config.word_bytes)
        whole, begin, end = Signal(), Signal(), Signal()
        m.d.comb += [
            begin.eq(position[:inside] == 0), end.eq(position[:inside].all()),
            self.fill.valid.eq(came & head.fill), self.fill.fresh.eq(~is_stale),
            self.fill.address.eq(Cat(position[:offset], head.row)),
            self.fill_lines.eq(Mux(self.fill.valid & ~is_stale & end & (whole | begin),
                                   1 << position[inside:offset], 0)),
        ]
        with m.If(came):
            m.d.sync += whole.eq((begin | whole) & ~leave)
        return m
