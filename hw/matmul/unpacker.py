"""Raw beats of a stream into beats with their scales beside them."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from hw.formats import Span

from .gearbox import Gearbox
from .layouts import PIECE, tile_beat, unpack_command
from .tile_shapes import TileShapes, block_bits, shaped_command, tile_shape


__all__ = ["Unpacker"]


#: Pieces of scales of the longest group.
GROUP_PIECES = 16


class Unpacker(wiring.Component):
    """Takes the scales out of the tiles of a matrix (section 3.1 of interfaces.md).

    The numerical reference is :func:`verif.reference.tape.unpack`.

    Latency
    -------
    One cycle from ``i`` to ``o``. A command must come ``TileShapes.latency`` cycles before the end
    of the one before it, or it costs what is missing.

    Throughput
    ----------
    One beat of ``i`` each cycle. Beats of scales are accepted although ``o`` waits. ``i.ready``
    depends on ``o.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    formats : list of :class:`hw.formats.Format`
        Those that come.

    Members
    -------
    commands : ``In(stream.Signature(unpack_command))``
        What lies on ``i``.
    i : ``In(stream.Signature(8 * config.beat_bytes))``
    o : ``Out(stream.Signature(tile_beat))``
    factors : ``Out(stream.Signature(32))``
        Factor of each matrix that has one.
    """

    def __init__(self, config, formats):
        if not formats:
            raise ValueError("an unpacker needs at least one format")
        self.config      = config
        self.formats     = formats
        self.scale_bytes = tuple(sorted({format.scale.bytes for format in formats}))
        self.spans       = {format.span for format in formats}
        super().__init__({
            "commands": In(stream.Signature(unpack_command)),
            "i": In(stream.Signature(8 * config.beat_bytes)),
            "o": Out(stream.Signature(tile_beat(config))),
            "factors": Out(stream.Signature(32)),
        })

    def having(self, what):
        """Whether a format has the property of this name."""
        return any(getattr(format, what) for format in self.formats)

    def elaborate(self, platform):
        m = Module()
        m.submodules.shapes = shapes = TileShapes(self.scale_bytes, self.spans)
        connect(m, flipped(self.commands), shapes.i)

        # Control: where in the command the next raw beat is.
        active, command = Signal(), Signal(shaped_command(self.spans))
        tiles, shape    = Signal(12), Signal(tile_shape(self.spans))   # tiles after this one
        groups          = Signal(12)                     # after this one
        block           = Signal(block_bits(self.spans))
        row, half       = Signal(4), Signal()
        lower           = Signal()                       # lower bytes of 16 bits come
        scaling         = Signal()                       # beats of scales come
        heading         = Signal()                       # before them, that of the factor
        # Beat of scales; or where the next scale is, counted in the smallest ones.
        unit            = self.scale_bytes[0]
        piece, index    = Signal(4), Signal(exact_log2(PIECE // unit))
        wide            = command.wide if len(self.scale_bytes) == 2 else Const(0, 1)
        last_tile, last_group, last_block = Signal(), Signal(), Signal()
        last_piece, last_row, last_half, last_byte = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            last_tile.eq(tiles == 0),
            last_piece.eq(piece == Mux(last_group, shape.end_pieces, shape.pieces)),
            last_block.eq(block == Mux(last_group, shape.end_blocks, shape.blocks)),
            last_row.eq(row == shape.rows),
            last_byte.eq(lower | ~command.double if self.having("double") else 1),
            last_half.eq((half | (last_group & last_block & command.odd)) & last_byte),
        ]
        raw = self.i
        if self.having("six"):
            m.submodules.gearbox = gearbox = Gearbox(self.config.slices)
            connect(m, flipped(self.i), gearbox.i)
            m.d.comb += gearbox.packed.eq(command.six & ~heading & ~scaling)
            raw = gearbox.o
        advance, accepted, weight = Signal(), Signal(), Signal()
        ends_group, ends_tile = Signal(), Signal()
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            raw.ready.eq(active & Mux(heading, self.factors.ready, scaling | advance)),
            self.factors.valid.eq(active & heading & raw.valid),
            self.factors.payload.eq(raw.payload[:32]),
            accepted.eq(raw.valid & raw.ready & ~heading),
            weight.eq(accepted & ~scaling),
            ends_group.eq(last_half & last_row & last_block),
            ends_tile.eq(ends_group & last_group),
        ]

        def count(after):
            """Set the groups that come after the one at hand."""
            return [groups.eq(after), last_group.eq(after == 0)]

        # Where the scales of a block began, for those that follow with the same ones.
        begin, shared_scales = Signal(len(Cat(index, piece))), Signal()
        for span, ends in ((Span.FOUR, block[:2].all()), (Span.ROW, 0)):
            if span in self.spans:
                with m.If(command.span == span):
                    m.d.comb += shared_scales.eq(~ends if span == Span.FOUR else 1)
        after = Cat(index, piece) + Mux(wide, 2, 1)

        with m.If(raw.valid & raw.ready):
            m.d.sync += heading.eq(0)
        with m.If(accepted & scaling):
            m.d.sync += piece.eq(piece + 1)
            with m.If(last_piece):
                m.d.sync += [scaling.eq(0), piece.eq(0)]
        with m.If(weight):
            m.d.sync += [lower.eq(~last_byte), half.eq((half | last_byte) & ~last_half)]
            # 4-bit weights have a scale a beat: one for each row of the pair.
            with m.If(last_half | command.four):
                m.d.sync += Cat(index, piece).eq(after)
            with m.If(last_half):
                m.d.sync += row.eq(Mux(last_row, 0, row + 1))
                with m.If(last_row):
                    m.d.sync += block.eq(block + 1)
                    with m.If(shared_scales):
                        m.d.sync += Cat(index, piece).eq(begin)
                    with m.Else():
                        m.d.sync += begin.eq(after)
            with m.If(ends_group):
                m.d.sync += [*count((groups - 1)[:12]), block.eq(0), scaling.eq(1), piece.eq(0),
                             index.eq(0), begin.eq(0)]

        # The next tile; of the next command, if there is no other.
        fetch, following = Signal(), shapes.o.p
        m.d.comb += [
            fetch.eq(~active | (weight & ends_tile & last_tile)),
            shapes.o.ready.eq(fetch),
        ]
        with m.If(fetch):
            first = Signal(tile_shape(self.spans))
            m.d.comb += first.eq(Mux(following.tiles == 1, following.tail, following.full))
            m.d.sync += [
                active.eq(shapes.o.valid), command.eq(following), tiles.eq(following.tiles - 1),
                shape.eq(first), *count(first.groups),
                scaling.eq(1), block.eq(0), row.eq(0), half.eq(0), lower.eq(0), piece.eq(0),
                index.eq(0), begin.eq(0),
            ]
            if self.having("factor"):
                m.d.sync += heading.eq(following.factor)
        with m.Elif(weight & ends_tile):
            with m.If(tiles == 1):
                m.d.sync += [shape.eq(command.tail), *count(command.tail.groups)]
            with m.Else():
                m.d.sync += count(shape.groups)
            m.d.sync += tiles.eq(tiles - 1)

        # Data: pieces of scales wait in a small memory.
        with m.If(advance):
            m.d.sync += self.o.valid.eq(weight)
        with m.If(weight):
            m.d.sync += self.o.p.last.eq(ends_tile)
        pieces, scales = [], []
        for s in range(self.config.slices):
            own = Signal(8 * PIECE, name=f"raw_{s}")
            m.d.comb += own.eq(raw.payload[8 * PIECE * s:8 * PIECE * (s + 1)])
            memory = Memory(shape=8 * PIECE, depth=GROUP_PIECES, init=[])
            m.submodules[f"scales_{s}"] = memory
            write, read = memory.write_port(), memory.read_port(domain="comb")
            m.d.comb += [
                write.addr.eq(piece), write.data.eq(own), write.en.eq(accepted & scaling),
                read.addr.eq(piece),
            ]
            pieces.append(own)
            scale = Signal(16, name=f"scale_{s}")
            m.d.comb += scale.eq(read.data.word_select(index, 8 * unit))
            with m.If(wide):
                m.d.comb += scale[8:].eq(read.data.word_select(index | 1, 8))
            scales.append(scale)
        with m.If(weight):
            m.d.sync += self.o.p.beat.eq(Cat(*pieces, *scales))
        return m
