"""Reads runs of memory far ahead of their use."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from ..signatures import cached_data, read_data, read_request
from .bursts import Bursts
from .fifo import Fifo
from .flight import Flight
from .joiner import Joiner


__all__ = ["descriptor", "Reader"]


def descriptor(config):
    """Consecutive items (beats, unless said otherwise) of memory."""
    return data.StructLayout({
        "address": config.address_bits,                 # byte address, a multiple of the word
        "beats":   32,
    })


class Reader(wiring.Component):
    """Turns descriptors into bursts, and the words that come into a stream of beats.

    Room in the FIFO is reserved before a burst is requested, so every word that comes is taken.

    The reference is :func:`verif.reference.memory.bursts`.

    Latency
    -------
    Two cycles from a descriptor to its first request, and three from the last word of a beat to
    the beat.

    Throughput
    ----------
    One word in and one beat out each cycle, without a gap between descriptors.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    fifo_bytes : int
        Size of the FIFO, a power of two: at least two bursts, and enough to cover the latency of
        memory.
    item_words : int
        Words of an item, a power of two; by default those of a beat.
    cached : bool
        Whether ``data`` brings whole beats as well.

    Members
    -------
    descriptors : ``In(stream.Signature(descriptor(config)))``
    requests : ``Out(stream.Signature(read_request(config)))``
    data : ``In(stream.Signature(read_data(config)))``, or ``cached_data(config)``
        Always ready. Words of a beat follow each other.
    beats : ``Out(stream.Signature(8 * word_bytes * item_words))``
        First word lowest.
    flush : ``In(1)``
        Forget the descriptor and all beats, held or in flight. ``beats`` may be withdrawn; a
        request that waits stays, and its words are discarded when they come.
    busy : ``Out(1)``
        A descriptor is not wholly requested.
    taken : ``Out(1)``
        For counters: a word came.
    """

    def __init__(self, config, fifo_bytes, item_words=None, *, cached=False):
        self.config = config
        self.cached = cached
        self.item_words = config.beat_words if item_words is None else item_words
        self.capacity = fifo_bytes // config.word_bytes
        if self.capacity < config.burst:
            raise ValueError(f"fifo_bytes must hold a burst of {config.burst} words of "
                             f"{config.word_bytes} bytes, not {fifo_bytes} bytes")
        super().__init__({
            "descriptors": In(stream.Signature(descriptor(config))),
            "requests": Out(stream.Signature(read_request(config))),
            "data": In(stream.Signature(cached_data(config)) if cached
                       else stream.Signature(read_data(config))),
            "beats": Out(stream.Signature(config.word_bits * self.item_words)),
            "flush": In(1),
            "busy": Out(1),
            "taken": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, items = self.config, self.item_words
        m.submodules.bursts = bursts = Bursts(config, self.capacity)
        m.submodules.fifo = fifo = Fifo(config.word_bits * items, self.capacity // items)
        m.submodules.flight = flight = Flight(config, items if self.cached else 1)
        m.submodules.joiner = joiner = Joiner(config.word_bits, items)
        connect(m, bursts.requests, flipped(self.requests))
        connect(m, fifo.o, flipped(self.beats))

        # Requests: room is counted in words that are neither held nor on their way.
        room = Signal(range(self.capacity + 1), init=self.capacity)
        m.d.comb += [
            bursts.runs.valid.eq(self.descriptors.valid),
            self.descriptors.ready.eq(bursts.runs.ready),
            bursts.runs.p.address.eq(self.descriptors.p.address),
            bursts.runs.p.words.eq(self.descriptors.p.beats << exact_log2(items)),
            bursts.room.eq(room), self.busy.eq(bursts.busy),
        ]
        m.d.sync += room.eq(room - bursts.reserved + Mux(fifo.fetched, items, 0))

        # Words: those that were requested before a flush are discarded.
        whole = self.data.p.whole if self.cached else Const(0)
        m.d.comb += [
            self.data.ready.eq(1), self.taken.eq(self.data.valid & ~whole),
            flight.asked.eq(bursts.reserved),
            flight.came.eq(Mux(self.data.valid, Mux(whole, items, 1), 0)),
            joiner.i.eq(self.data.p.data), joiner.item.eq(self.data.p.data),
            joiner.i_valid.eq(flight.wanted & ~whole), joiner.whole.eq(flight.wanted & whole),
            fifo.i.payload.eq(joiner.o), fifo.i.valid.eq(joiner.o_valid),
        ]

        m.d.comb += [part.flush.eq(self.flush) for part in (bursts, flight, joiner, fifo)]
        with m.If(self.flush):
            m.d.sync += room.eq(self.capacity)
        return m
