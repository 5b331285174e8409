"""Moves a token's quantised keys and values from the staging memory into KV blocks."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2, exact_log2

from ..signatures import write_data
from .finder import Finder
from .sizes import sizes
from .staging import staging_block
from .words import Words


__all__ = ["Append"]


class Append(wiring.Component):
    """Writes each staged block to where the layout of KV blocks wants it.

    Each write is a word with strobes, as :class:`.Words` gives them: keys of all heads, then values
    of all heads. Bounds of a page are keys of ``2 * head_blocks`` blocks, without values.

    The reference is :func:`verif.reference.memory.append`.

    Throughput
    ----------
    That of :class:`.Words`, and one more cycle for the keys, and one for the values, of a head. The
    place of the KV block is found while the command waits for its staging blocks.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    go : ``In(1)``
        High, with the operands constant, until ``done``.
    address, head_stride : ``In``
        Line of the first head's first KV block, and lines from one head to the next.
    count, heads, head_blocks : ``In``
        Position of the token, or number of the page, and geometry.
    packed : ``In(1)``
        Elements have 4 bits.
    token : ``In(4)``
        Which of the tokens that are staged: as many blocks lie before it as each of them has.
    ring, sinks : ``In``
        The blocks that KV blocks use in turn, and the tokens that lie before them.
    bounds : ``In(1)``
        What is staged are bounds. They use neither ring nor table. Only if the machine has pages.
    entries, lookup, index, found, fault : as of :class:`.Finder`
        The block table. ``index`` is named ``entry``.
    done : ``Out(1)``
        The last head was marked.
    staging : ``In(staging_block)``
        The block at ``index``, a cycle after ``read``.
    read, index : ``Out(1)``, ``Out``
    writes : ``Out(stream.Signature(write_data(config)))``
    marks : ``Out(stream.Signature(0))``
        The last word of a head was handed over.
    ok, take : ``In(1)``, ``Out(1)``
        Permission for one staging block.
    released : ``Out(1)``
        A staging block has been written.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "go": In(1), "done": Out(1),
            "address": In(32), "head_stride": In(24), "count": In(32),
            "token": In(4), "heads": In(5), "head_blocks": In(5), "packed": In(1),
            "ring": In(16), "sinks": In(12), "bounds": In(1),
            "entries": In(20), "lookup": Out(1), "entry": Out(20),
            "found": In(stream.Signature(32)), "fault": Out(1),
            "staging": In(staging_block), "read": Out(1),
            "index": Out(ceil_log2(config.kv_staging)),
            "writes": Out(stream.Signature(write_data(config))),
            "marks": Out(stream.Signature(0)),
            "ok": In(1), "take": Out(1), "released": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.words = words = Words(config, bounds=bool(config.pages))
        m.submodules.finder = finder = Finder(config)
        bounds = self.bounds if config.pages else Const(0)
        packed = self.packed & config.packs
        lines = sizes(m, config, self, "lines", config.kv_lines)
        if config.pages:
            lines = Mux(bounds, sizes(m, config, self, "bounds_lines", config.bounds_lines), lines)

        # Control. Blocks that follow each other in the staging memory: keys of a head, or values.
        need, size = Signal(11), Signal(11)
        m.d.sync += size.eq(self.heads * self.head_blocks << 1)
        m.d.comb += [
            finder.i.p.address.eq(self.address), finder.i.p.number.eq(self.count[5:]),
            finder.i.p.ring.eq(self.ring), finder.i.p.sinks.eq(self.sinks),
            finder.i.p.lines.eq(lines), finder.i.p.direct.eq(bounds),
            finder.entries.eq(self.entries),
            self.lookup.eq(finder.lookup), self.entry.eq(finder.index),
            self.fault.eq(finder.fault),
        ]
        connect(m, flipped(self.found), finder.found)
        base, at_head = Signal(32), Signal(32)              # lines
        values, final, head = Signal(), Signal(), Signal.like(self.heads)
        index = Signal.like(self.index)                     # of the run
        m.d.comb += final.eq(values | bounds)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [
                    need.eq(self.heads * self.head_blocks << 1), values.eq(0), head.eq(0),
                ]
                m.d.comb += finder.i.valid.eq(self.go)
                with m.If(self.go):
                    m.next = "START"
            with m.State("START"):
                # All staging blocks, and the place.
                m.d.comb += [self.take.eq(self.ok & (need != 0)),
                             finder.o.ready.eq(need == 0)]
                with m.If(self.take):
                    m.d.sync += need.eq(need - 1)
                m.d.sync += [base.eq(finder.o.payload), at_head.eq(finder.o.payload),
                             index.eq(size * self.token)]
                with m.If(finder.o.valid & finder.o.ready):
                    m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += words.i.valid.eq(1)
                with m.If(words.i.ready):
                    m.d.sync += index.eq(index + (self.head_blocks << bounds))
                    m.next = "LEAVE"
            with m.State("LEAVE"):
                m.d.comb += self.marks.valid.eq(final)
                with m.If(~final | self.marks.ready):
                    m.d.sync += [head.eq(head + 1), at_head.eq(at_head + self.head_stride)]
                    m.next = "WRITE"
                    with m.If(head + 1 == self.heads):
                        m.d.sync += [head.eq(0), values.eq(1), at_head.eq(base)]
                        with m.If(final):
                            m.d.comb += self.done.eq(1)
                            m.next = "IDLE"

        # Words of a run, at its head's place.
        word, run, item = exact_log2(config.word_bytes), words.i.p, words.o.p
        address = Signal(config.address_bits)
        m.d.comb += [
            run.index.eq(index), run.head_blocks.eq(self.head_blocks), run.packed.eq(packed),
            run.token.eq(self.count[:5]), run.values.eq(values), run.bounds.eq(bounds),
            run.codes.eq(1), run.elements.eq(1),
            words.staging.eq(self.staging), self.read.eq(words.read),
            self.index.eq(words.index), self.released.eq(words.used),
            address.eq((at_head << exact_log2(config.line_bytes)) + item.offset),
            self.writes.p.address.eq(Cat(Const(0, word), address[word:])),
            self.writes.p.data.eq(item.data), self.writes.p.strobe.eq(item.strobe),
            self.writes.valid.eq(words.o.valid), words.o.ready.eq(self.writes.ready),
        ]
        return m
