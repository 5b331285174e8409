"""Cuts runs of words into bursts."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2, exact_log2

from ..signatures import read_request


__all__ = ["run", "Bursts"]


def run(config):
    """Consecutive words of memory."""
    return data.StructLayout({
        "address": config.address_bits,                 # byte address, a multiple of the word
        "words":   32 + ceil_log2(config.beat_words),
    })


class Bursts(wiring.Component):
    """Cuts runs at the borders of aligned bursts, and requests what there is room for.

    The reference is :func:`verif.reference.memory.bursts`.

    Latency
    -------
    Two cycles from a run to its first request.

    Throughput
    ----------
    One burst each cycle, without a gap between runs. ``runs.ready`` depends on ``requests.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    room : int
        Largest value of ``room``.

    Members
    -------
    runs : ``In(stream.Signature(run(config)))``
        A run of no words asks for nothing.
    requests : ``Out(stream.Signature(read_request(config)))``
    room : ``In(range(room + 1))``
        Words for which there is room now.
    reserved : ``Out``
        Words of the request that was formed in this cycle, or 0.
    next : ``Out(read_request(config))``
        The burst that will be requested when there is room; of no words if there is none.
    flush : ``In(1)``
        Forget the run. A request that already waits stays.
    busy : ``Out(1)``
        A run is not wholly requested.
    """

    def __init__(self, config, room):
        self.config = config
        super().__init__({
            "runs": In(stream.Signature(run(config))),
            "requests": Out(stream.Signature(read_request(config))),
            "room": In(range(room + 1)),
            "reserved": Out(bits_for(config.burst)),
            "next": Out(read_request(self.config)),
            "flush": In(1),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        burst = self.config.burst
        word = exact_log2(self.config.word_bytes)
        span = word + exact_log2(burst)

        # The next burst, and the words after it; all is known a cycle before it is asked for.
        address, words = self.next.address, self.next.words
        active, last   = Signal(), Signal()
        rest = Signal.like(self.runs.p.words)
        issue = Signal()
        m.d.comb += [
            active.eq(words != 0),
            issue.eq(active & (self.room >= words) & ~self.flush
                     & (~self.requests.valid | self.requests.ready)),
            self.reserved.eq(Mux(issue, words, 0)),
            self.runs.ready.eq((~active | (issue & last)) & ~self.flush),
            self.busy.eq(active | self.requests.valid),
        ]
        with m.If(self.requests.ready):
            m.d.sync += self.requests.valid.eq(0)
        with m.If(issue):
            m.d.sync += [
                self.requests.valid.eq(1),
                self.requests.p.address.eq(address), self.requests.p.words.eq(words),
            ]

        # A run's first burst goes up to the border, those that follow are aligned.
        border, first = Signal.like(self.reserved), self.runs.p.words
        whole, part = rest[exact_log2(burst):], rest[:exact_log2(burst)]
        m.d.comb += border.eq(burst - self.runs.p.address[word:span])
        with m.If(self.runs.ready):
            m.d.sync += [
                last.eq(first <= border), address.eq(self.runs.p.address),
                words.eq(Mux(self.runs.valid, Mux(first <= border, first, border), 0)),
                rest.eq(first - border),
            ]
        with m.Elif(issue):
            m.d.sync += [
                last.eq((whole == 0) | ((whole == 1) & (part == 0))),
                address.eq((address[span:] + 1) << span),
                words.eq(Mux(whole == 0, part, burst)), whole.eq(whole - 1),
            ]
        with m.If(self.flush):
            m.d.sync += words.eq(0)
        return m
