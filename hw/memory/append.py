"""Moves quantised keys and values of tokens from the staging memory into KV blocks."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2, exact_log2

from ..signatures import write_data
from .finder import Finder
from .sizes import product, sizes
from .staging import staging_block
from .words import Words


__all__ = ["Append"]


class Append(wiring.Component):
    """Writes each staged block to where the layout of KV blocks wants it.

    Each write is a word with strobes, as :class:`.Words` gives them. Bounds of a page are keys of
    ``2 * head_blocks`` blocks, without values.

    The reference is :func:`verif.reference.memory.append`.

    Staged are keys, then values: of each head those of all tokens. They are read in this order,
    those of a head and token when all of them were taken; those of the next are taken meanwhile.
    Tokens that follow each other lie in two KV blocks at most: both places are found before the
    first word is written.

    Throughput
    ----------
    That of :class:`.Words`, and one more cycle for the keys, and one for the values, of a head and
    token. Places are found while the command waits for its staging blocks.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    go : ``In(1)``
        High, with the operands constant, until ``done``.
    address, head_stride : ``In``
        Line of the first head's first KV block, and lines from one head to the next.
    count, more : ``In``
        Position of the first token, or number of the page; tokens, or pages, that follow it.
    heads, head_blocks : ``In``
        Geometry.
    packed : ``In(1)``
        Elements have 4 bits.
    behind : ``In(1)``
        The first staged block is not block 0, but lies behind those of another token.
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
            "more": In(4), "heads": In(5), "head_blocks": In(5), "packed": In(1), "behind": In(1),
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

        # The token at work: behind the end of the first one's KV block it lies in the second place.
        token, row, crosses = Signal.like(self.more), Signal(6), Signal()
        first_place, second_place = Signal(32), Signal(32)      # lines
        m.d.comb += [row.eq(self.count[:5] + token), crosses.eq((self.count[:5] + self.more)[5])]

        # Control. A run is the keys, or values, of a head and token: blocks that follow each other
        # in the staging memory.
        run, item = words.i.p, words.o.p
        start, shift = Signal(32), Signal(32)
        values, final, second = Signal(), Signal(), Signal()
        head, index, before = Signal.like(self.heads), Signal.like(self.index), Signal(11)
        blocks, last_token, last_head = Signal(5), Signal(), Signal()
        m.d.comb += [
            finder.i.p.address.eq(self.address), finder.i.p.number.eq(self.count[5:] + second),
            finder.i.p.ring.eq(self.ring), finder.i.p.sinks.eq(self.sinks),
            finder.i.p.lines.eq(lines), finder.i.p.direct.eq(bounds),
            finder.entries.eq(self.entries),
            self.lookup.eq(finder.lookup), self.entry.eq(finder.index),
            self.fault.eq(finder.fault), final.eq(values | bounds),
            blocks.eq(self.head_blocks << bounds),
            last_token.eq(token == self.more), last_head.eq(head + 1 == self.heads),
        ]
        # Known before the place is.
        m.d.sync += before.eq(product(self.heads, self.head_blocks) << 1)
        connect(m, flipped(self.found), finder.found)

        # Blocks are taken a run ahead: while one is written, those of the next.
        left, running = Signal.like(blocks), Signal()
        m.d.comb += self.take.eq(self.ok & (left != 0))
        with m.If(self.take):
            m.d.sync += left.eq(left - 1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += values.eq(0)
                m.d.comb += finder.i.valid.eq(self.go)
                with m.If(self.go):
                    m.d.sync += left.eq(blocks)
                    m.next = "FIND"
            with m.State("FIND"):
                m.d.comb += finder.o.ready.eq(1)
                m.d.sync += [second_place.eq(finder.o.payload),
                             index.eq(Mux(self.behind, before, 0))]
                with m.If(~second):
                    m.d.sync += first_place.eq(finder.o.payload)
                with m.If(finder.o.valid):
                    m.d.sync += second.eq(crosses & ~second)
                    m.next = "WRITE"
                    with m.If(crosses & ~second):
                        m.next = "AGAIN"
            with m.State("AGAIN"):
                m.d.comb += finder.i.valid.eq(1)
                m.next = "FIND"
            with m.State("WRITE"):
                m.d.comb += words.i.valid.eq(running | (left == 0))
                with m.If(~running & (left == 0)):
                    m.d.sync += [running.eq(1),
                                 left.eq(Mux(last_token & last_head & final, 0, blocks))]
                with m.If(words.i.ready):
                    m.d.sync += [running.eq(0), index.eq(index + blocks)]
                    m.next = "LEAVE"
            with m.State("LEAVE"):
                m.d.comb += self.marks.valid.eq(final & last_token)
                with m.If(~self.marks.valid | self.marks.ready):
                    m.d.sync += token.eq(Mux(last_token, 0, token + 1))
                    m.next = "WRITE"
                    with m.If(last_token):
                        m.d.sync += [head.eq(head + 1), shift.eq(shift + self.head_stride)]
                        with m.If(last_head):
                            m.d.sync += [head.eq(0), shift.eq(0), values.eq(1)]
                            with m.If(final):
                                m.d.comb += self.done.eq(1)
                                m.next = "IDLE"

        # Words of a run, at the place of its head and token: known when the first of them comes.
        word = exact_log2(config.word_bytes)
        address = Signal(config.address_bits)
        m.d.sync += start.eq(Mux(row[5], second_place, first_place) + shift)
        m.d.comb += [
            run.index.eq(index), run.head_blocks.eq(self.head_blocks), run.packed.eq(packed),
            run.token.eq(row[:5]), run.values.eq(values), run.bounds.eq(bounds),
            run.codes.eq(1), run.elements.eq(1),
            words.staging.eq(self.staging), self.read.eq(words.read),
            self.index.eq(words.index), self.released.eq(words.used),
            address.eq((start << exact_log2(config.line_bytes)) + item.offset),
            self.writes.p.address.eq(Cat(Const(0, word), address[word:])),
            self.writes.p.data.eq(item.data), self.writes.p.strobe.eq(item.strobe),
            self.writes.valid.eq(words.o.valid), words.o.ready.eq(self.writes.ready),
        ]
        return m
