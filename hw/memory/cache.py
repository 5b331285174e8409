"""The on-die cache: ranges of memory that the program pins."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from ..protected import memory_error
from ..signatures import cached_data, range_command, read_data, read_request, write_data
from .lookup import Lookup
from .preload import Preload
from .ranges import Ranges
from .replies import Replies
from .sram import Sram
from .through import Through


__all__ = ["Cache", "cache_errors", "cache_events"]


#: What the performance counters count.
cache_events = data.StructLayout({
    "hit": 1,           # a beat was read from the cache
    "miss": 1,          # a burst inside a range is read from memory
    "fill": 1,          # a line became valid
    "stall": 1,         # a beat waited for the SRAM
})


def cache_errors(config):
    """Member: what each bank of the SRAM found, at the number of a word."""
    return Out(memory_error(config.cache // config.word_bytes)).array(config.beat_words)


#: Requesters, the first one first. The last one only fills ranges.
NAMES = ("d", "w", "fill")


class Cache(wiring.Component):
    """Serves both streams from pinned ranges, as far as lines are valid, else from memory.

    A miss inside a range fills the lines of which it brings all words. Nothing is ever evicted.
    Writes go to memory, and in a range also to the SRAM, so that memory is always up to date: the
    block table and the mover read past the cache. ::

        d, w ──> lookup ──> replies of d ──> memory      (requests)
                   ^   └──> replies of w ──> memory
        preload ───┘    └─> replies of fill ─> memory
        memory ──> replies ─┬─> data                     (words)
                            └─> SRAM, valid bits
        SRAM ──> replies ───> data                       (beats)

    With ``config.ecc`` a write of a part of what shares check bits makes its line invalid.

    Hits of one stream do not wait for misses of the other: each has an order of its own. Memory
    answers in order over all of them, and a word waits until its stream's hits before it are read.

    The reference is :class:`verif.reference.cache.Cache`.

    Latency
    -------
    ``latency`` cycles from a request to the first beat of a hit; three from a request to that of
    memory.

    Throughput
    ----------
    One beat a cycle for both streams together, D first, and one word of memory. A write into a
    range stops a word that is to be filled for one cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`
        With ``cache``.

    Members
    -------
    d, w : ``In(stream.Signature(read_request(config)))``
        Requests, of whole beats.
    d_data, w_data : ``Out(stream.Signature(cached_data(config)))``
        Words or beats, in order; always taken.
    d_reads, w_reads, fill_reads : ``Out(stream.Signature(read_request(config)))``
    d_words, w_words, fill_words : ``In(stream.Signature(read_data(config)))``
        To memory, through the arbiter.
    writes, port_writes : ``In``, ``Out``, ``stream.Signature(write_data(config))``
        Passed through.
    written : ``In(1)``
        The oldest write was acknowledged, at the earliest two cycles after it was taken.
    ranges : ``In(stream.Signature(range_command(config)))``
    fault : ``Out(1)``
        From now on: a range is illegal; as of :class:`.Ranges`.
    events : ``Out(cache_events)``
    errors : ``cache_errors(config)``, with ``config.ecc``
    """

    #: The last cycle is that of the SRAM.
    latency = Lookup.latency + Replies.latency + 1

    def __init__(self, config):
        self.config = config
        super().__init__({
            **{name: In(stream.Signature(read_request(config))) for name in NAMES[:2]},
            **{f"{name}_data": Out(stream.Signature(cached_data(config)))
               for name in NAMES[:2]},
            **{f"{name}_reads": Out(stream.Signature(read_request(config))) for name in NAMES},
            **{f"{name}_words": In(stream.Signature(read_data(config))) for name in NAMES},
            "writes": In(stream.Signature(write_data(config))),
            "port_writes": Out(stream.Signature(write_data(config))),
            "written": In(1),
            "ranges": In(stream.Signature(range_command(config))), "fault": Out(1),
            "events": Out(cache_events),
            **({"errors": cache_errors(config)} if config.ecc else {}),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.ranges = ranges = Ranges(config)
        m.submodules.lookup = lookup = Lookup(config, NAMES)
        m.submodules.preload = preload = Preload(config)
        m.submodules.sram = sram = Sram(config)
        m.submodules.through = through = Through(config)
        # In flight are the port's bursts and one in the arbiter; half of them suffice to fill.
        replies = {name: Replies(config, depth, reads=name != "fill") for name, depth in zip(
            NAMES, (config.outstanding + 1, config.outstanding + 1, config.outstanding // 2))}

        # Ranges.
        connect(m, flipped(self.ranges), ranges.commands)
        m.d.comb += [
            self.fault.eq(ranges.fault), lookup.hold.eq(ranges.hold), lookup.live.eq(ranges.live),
            through.live.eq(ranges.live), through.begun.eq(ranges.begun),
            through.ended.eq(ranges.ended),
            lookup.clear.eq(ranges.clear), lookup.clear_row.eq(ranges.row),
            preload.start.eq(ranges.preload), preload.stop.eq(ranges.ended),
            ranges.quiet.eq(~(lookup.busy | Cat(r.busy for r in replies.values()).any())),
        ]
        for n in range(config.ranges):
            m.d.comb += [
                lookup.first[n].eq(ranges.first[n]), lookup.last[n].eq(ranges.last[n]),
                lookup.shift[n].eq(ranges.shift[n]),
                through.first[n].eq(ranges.first[n]), through.last[n].eq(ranges.last[n]),
                through.shift[n].eq(ranges.shift[n]),
                preload.first[n].eq(ranges.first[n]), preload.last[n].eq(ranges.last[n]),
            ]

        # Requests.
        for name, reply in replies.items():
            m.submodules[f"{name}_replies"] = reply
            port = preload.requests if name == "fill" else flipped(getattr(self, name))
            connect(m, port, getattr(lookup, name))
            request = getattr(lookup, name)
            m.d.comb += [
                getattr(lookup, f"{name}_room").eq(reply.room),
                reply.asked.eq(request.valid & request.ready),
                reply.found_valid.eq(getattr(lookup, f"{name}_valid")),
                reply.found.eq(lookup.found), reply.read_data.eq(sram.read_data),
            ]
            connect(m, reply.requests, flipped(getattr(self, f"{name}_reads")))
            connect(m, flipped(getattr(self, f"{name}_words")), reply.words)
            if name != "fill":
                connect(m, reply.data, flipped(getattr(self, f"{name}_data")))

        # Hits, D first.
        d, w = replies["d"], replies["w"]
        m.d.comb += [
            d.read_granted.eq(d.read_en), w.read_granted.eq(w.read_en & ~d.read_en),
            sram.read_en.eq(d.read_en | w.read_en),
            sram.read_row.eq(Mux(d.read_en, d.read_row, w.read_row)),
        ]

        # Writes into ranges, and fills, which wait for them.
        connect(m, flipped(self.writes), through.writes)
        connect(m, through.port_writes, flipped(self.port_writes))
        m.d.comb += [
            through.written.eq(self.written), sram.write_address.eq(through.address),
            sram.write_data.eq(through.data), sram.write_strobe.eq(through.strobe),
        ]
        for name, reply in replies.items():
            m.d.comb += [reply.fill_ready.eq(~through.inside), reply.spoil.eq(through.spoil)]
            with m.If(reply.fill.valid & reply.fill.fresh):
                m.d.comb += [
                    sram.write_address.eq(reply.fill.address),
                    sram.write_data.eq(getattr(self, f"{name}_words").p.data),
                    sram.write_strobe.eq(~0), lookup.set_lines.eq(reply.fill_lines),
                    lookup.set_row.eq(reply.fill.address[exact_log2(config.burst):]),
                ]
        if config.ecc:
            m.d.comb += ranges.stall.eq(through.partial)
            with m.If(through.partial):
                # No word is filled in this cycle.
                line, row = exact_log2(config.line_bytes // config.word_bytes), through.address
                m.d.comb += [
                    lookup.drop_lines.eq(1 << row[line:exact_log2(config.burst)]),
                    lookup.set_row.eq(row[exact_log2(config.burst):]),
                ]
            for outer, inner in zip(self.errors, sram.errors, strict=True):
                m.d.comb += outer.eq(inner)
        m.d.comb += [
            self.events.hit.eq(sram.read_en), self.events.stall.eq(d.read_en & w.read_en),
            self.events.miss.eq(lookup.found.fill & (lookup.d_valid | lookup.w_valid)),
            self.events.fill.eq(lookup.set_lines.any()),
        ]
        return m
