"""Moves quantised keys and values of tokens from the staging memory into KV blocks."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2, exact_log2

from ..geometry import BLOCK
from ..signatures import write_data
from .finder import Finder
from .place import Place
from .sizes import sizes
from .staging import staging_block


__all__ = ["Append"]


class Append(wiring.Component):
    """Writes each staged block to where the layout of KV blocks wants it.

    Each write is a word with strobes. A key block is two pieces of 16 bytes and a code, or one
    piece if it is packed. A value block is dealt out to the slices; the code of a head's values
    comes from its first block.
    Bounds of a page are keys of ``2 * head_blocks`` blocks, without values.

    The reference is :func:`verif.reference.memory.append`.

    Staged are keys, then values: of each head those of all tokens. They are read in this order,
    each block when it is there. Tokens that follow each other lie in two KV blocks at most: both
    places are found before the first word is written.

    Throughput
    ----------
    One cycle for each word written, and for each of a value block's words that has none of its
    bytes; two for the keys, and two for the values, of a head. The next block is read while one is
    written. Places are found while the command waits for its staging blocks.

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
            "more": In(4), "heads": In(5), "head_blocks": In(5), "packed": In(1),
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
        m.submodules.place = place = Place(config)
        m.submodules.finder = finder = Finder(config)
        bounds = self.bounds if config.pages else Const(0)
        packed = self.packed & config.packs

        def table(name, of_tokens, of_pages):
            """A number that follows from the head, for KV blocks or for bounds."""
            tokens = sizes(m, config, self, name, of_tokens)
            if not config.pages:
                return tokens
            return Mux(bounds, sizes(m, config, self, f"bounds_{name}", of_pages), tokens)

        key_beats = table("key_beats", config.key_beats,
                          lambda n, packed: config.key_beats(2 * n, packed))
        pitch = sizes(m, config, self, "pitch", lambda n, _: config.value_pitch(n))

        # The token at work: behind the end of the first one's KV block it lies in the second place.
        number, token, crosses = Signal.like(self.more), Signal(6), Signal()
        first_place, second_place = Signal(32), Signal(32)      # lines
        m.d.comb += [token.eq(self.count[:5] + number), crosses.eq((self.count[:5] + self.more)[5])]
        # With one slice the second half of the tokens is a tile of its own.
        first_beat = Mux(token[4], key_beats >> 1, 0) if config.key_tiles == 2 else Const(0)

        # Control. Blocks that follow each other in the staging memory: keys of a head, or values.
        run, start, shift = Signal(5), Signal(32), Signal(32)
        values, final, second, loaded = Signal(), Signal(), Signal(), Signal()
        head, block = Signal.like(self.heads), Signal.like(run)
        data_beat, code_beat = Signal.like(place.data_beat), Signal.like(place.code_beat)
        member, step = Signal.like(place.member), Signal.like(place.step)
        enter, wanted, written = (Signal(name=name) for name in ("enter", "wanted", "written"))
        m.d.comb += [
            run.eq(Mux(bounds, self.head_blocks << 1, self.head_blocks)),
            finder.i.p.address.eq(self.address), finder.i.p.number.eq(self.count[5:] + second),
            finder.i.p.ring.eq(self.ring), finder.i.p.sinks.eq(self.sinks),
            finder.i.p.lines.eq(table("lines", config.kv_lines, config.bounds_lines)),
            finder.i.p.direct.eq(bounds),
            finder.entries.eq(self.entries),
            self.lookup.eq(finder.lookup), self.entry.eq(finder.index),
            self.fault.eq(finder.fault),
            final.eq(values | bounds), self.read.eq(self.take),
        ]
        connect(m, flipped(self.found), finder.found)
        with m.If(self.take):
            m.d.sync += self.index.eq(self.index + 1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [self.index.eq(0), number.eq(0), head.eq(0), values.eq(0),
                             shift.eq(0)]
                m.d.comb += finder.i.valid.eq(self.go)
                with m.If(self.go):
                    m.next = "FIND"
            with m.State("FIND"):
                m.d.comb += finder.o.ready.eq(1)
                m.d.sync += second_place.eq(finder.o.payload)
                with m.If(~second):
                    m.d.sync += first_place.eq(finder.o.payload)
                with m.If(finder.o.valid):
                    m.d.sync += second.eq(crosses & ~second)
                    m.next = "ENTER"
                    with m.If(crosses & ~second):
                        m.next = "AGAIN"
            with m.State("AGAIN"):
                m.d.comb += finder.i.valid.eq(1)
                m.next = "FIND"
            with m.State("ENTER"):
                m.d.comb += [enter.eq(1), self.take.eq(self.ok)]
                m.d.sync += [block.eq(0), step.eq(0), loaded.eq(self.ok),
                             start.eq(Mux(token[5], second_place, first_place) + shift)]
                m.next = "WRITE"
            with m.State("WRITE"):
                with m.If(loaded & (self.writes.ready | ~wanted)):
                    m.d.sync += step.eq(step + 1)
                    with m.If(written):
                        m.d.comb += self.released.eq(1)
                        m.d.sync += [step.eq(0), block.eq(block + 1), loaded.eq(0)]
                        with m.If(block + 1 == run):
                            m.next = "LEAVE"
                with m.If(self.ok & Mux(loaded, self.released & (block + 1 != run), 1)):
                    m.d.comb += self.take.eq(1)
                    m.d.sync += loaded.eq(1)
            with m.State("LEAVE"):
                last = Signal()
                m.d.comb += [last.eq(number == self.more), self.marks.valid.eq(final & last)]
                with m.If(~self.marks.valid | self.marks.ready):
                    m.d.sync += number.eq(Mux(last, 0, number + 1))
                    m.next = "ENTER"
                    with m.If(last):
                        m.d.sync += [head.eq(head + 1), shift.eq(shift + self.head_stride)]
                        with m.If(head + 1 == self.heads):
                            m.d.sync += [head.eq(0), shift.eq(0), values.eq(1)]
                            with m.If(final):
                                m.d.comb += self.done.eq(1)
                                m.next = "IDLE"

        # Tokens of small heads share a beat: those of a half at a distance of `pitch`.
        half, inside, above = Signal(5), Signal(4), Signal(4)
        m.d.comb += [
            half.eq(Mux(token[4], pitch, 0)), inside.eq(token & (pitch - 1)),
            above.eq(token[:4] & ~(pitch - 1)),
        ]
        shared = above << exact_log2(config.slices) >> exact_log2(BLOCK)

        # Beats: where the head's first block lies, and then from block to block. Two rows of values
        # share a beat if they are packed.
        row, rows, group = Signal(5), Signal(range(2 * config.key_height + 1)), Signal(7)
        tiles = 2 if config.slices == 1 else 1
        m.d.comb += [
            row.eq((half | inside) >> packed),
            rows.eq(Mux(packed, config.key_height, 2 * config.key_height)),
            group.eq(Mux(packed, tiles * BLOCK // 2, tiles * BLOCK)),
        ]
        with m.If(enter):
            m.d.sync += [member.eq(Mux(values, shared, 0)),
                         code_beat.eq(Mux(values, key_beats, first_beat)),
                         data_beat.eq(Mux(values, key_beats + config.value_scale_beats + row,
                                          first_beat + 1))]
        with m.If(self.released & ~values):
            m.d.sync += [member.eq(member + 1), data_beat.eq(data_beat + rows)]
            with m.If(member == place.group - 1):
                m.d.sync += [member.eq(0), code_beat.eq(data_beat + rows),
                             data_beat.eq(data_beat + rows + 1)]
        with m.If(self.released & values):
            m.d.sync += member.eq(member + 1)
            with m.If(member == max(config.slices // 2, 1) - 1):
                m.d.sync += [member.eq(0), data_beat.eq(data_beat + group)]

        # Words. Some have no byte of this block; only the first block has the head's code.
        word = exact_log2(config.word_bytes)
        address = Signal(config.address_bits)
        m.d.comb += [
            place.block.eq(self.staging), place.values.eq(values), place.token.eq(token[:5]),
            place.packed.eq(packed),
            place.data_beat.eq(data_beat), place.code_beat.eq(code_beat),
            place.member.eq(member), place.step.eq(step),
            wanted.eq(place.strobe.any()),
            written.eq(Mux(values & (block != 0), step == place.value_words - 1, place.last)),
            address.eq((start << exact_log2(config.line_bytes)) + place.offset),
            self.writes.p.address.eq(Cat(Const(0, word), address[word:])),
            self.writes.p.data.eq(place.data), self.writes.p.strobe.eq(place.strobe),
            self.writes.valid.eq(loaded & wanted),
        ]
        return m
