"""Works out how the tiles of a matrix lie on a stream."""

from itertools import product

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import Config
from hw.formats import Span

from .layouts import TILE_ROWS, unpack_command


__all__ = ["TileShapes", "block_bits", "tile_shape", "shaped_command"]


def block_bits(spans):
    """Bits of a block's number in a group, for the :class:`hw.formats.Span` that occur."""
    return max({Span.BLOCK: 4, Span.FOUR: 6, Span.ROW: 12}[span] for span in spans)


def tile_shape(spans):
    """A tile: numbers that are counted to, so all are less by one."""
    return data.StructLayout({
        "rows":       4,                    # or pairs of rows
        "groups":     12,                   # of blocks whose scales come together
        "blocks":     block_bits(spans),    # of a group...
        "pieces":     4,                    # ...and pieces of its scales
        "end_blocks": block_bits(spans),    # the same of the last group
        "end_pieces": 4,
    })


def shaped_command(spans):
    """An ``unpack_command`` with the shapes of its tiles."""
    return data.StructLayout({
        "four": 1, "six": 1, "double": 1, "wide": 1, "span": Span, "factor": 1, "odd": 1,
        "tiles": 12, "full": tile_shape(spans), "tail": tile_shape(spans),
    })


#: What passes through.
SAME = ("four", "six", "double", "wide", "span", "factor", "tiles")


class TileShapes(wiring.Component):
    """Prepares commands, so that whoever follows them only counts.

    Latency
    -------
    :attr:`latency` cycles.

    Throughput
    ----------
    A command each ``latency + 1`` cycles.

    Parameters
    ----------
    scale_bytes : tuple of int
        Sizes of scale fields that occur: 1 for E8M0, 2 for the others.
    spans : set of :class:`hw.formats.Span`
        Those that occur.

    Members
    -------
    i : ``In(stream.Signature(unpack_command))``
    o : ``Out(stream.Signature(shaped_command(spans)))``
    """

    latency = 4

    def __init__(self, scale_bytes, spans):
        self.scale_bytes = scale_bytes
        self.spans       = spans
        super().__init__({"i": In(stream.Signature(unpack_command)),
                          "o": Out(stream.Signature(shaped_command(spans)))})

    def elaborate(self, platform):
        m = Module()
        command, age = Signal(unpack_command), Signal(range(self.latency + 1))
        m.d.comb += [
            self.i.ready.eq(age == 0),
            self.o.valid.eq(age == self.latency),
            *(self.o.p[name].eq(command[name]) for name in SAME),
            self.o.p.odd.eq(command.halves[0]),
        ]
        with m.If(age == 0):
            m.d.sync += [command.eq(self.i.payload), age.eq(self.i.valid)]
        with m.Elif((age != self.latency) | self.o.ready):
            m.d.sync += age.eq(Mux(age == self.latency, 0, age + 1))
        for name, height in (("full", command.height), ("tail", command.tail)):
            self.shape(m, name, command, height, self.o.p[name])
        return m

    def shape(self, m, name, command, height, shape):
        # Stage 1: groups of blocks whose scales fill whole pieces.
        s1_blocks = Signal(12, name=f"{name}_s1_blocks")
        s1_size   = Signal(3, name=f"{name}_s1_size")       # of a group, as a power of two
        s1_pieces = Signal(4, name=f"{name}_s1_pieces")
        m.d.sync += s1_blocks.eq(((command.halves + 1) >> 1) - 1)
        with m.Switch(Cat(height, command.wide)):
            for z, rows in product(self.scale_bytes, range(1, TILE_ROWS + 1)):
                with m.Case(f"{z - 1 if len(self.scale_bytes) == 2 else '-'}{rows:05b}"):
                    group = Config.scale_group(rows, z)
                    m.d.sync += [s1_size.eq(group.bit_length() - 1),
                                 s1_pieces.eq(group * rows * z // 16 - 1)]
        # Blocks that share a scale, as a power of two; a row is a group by itself.
        by_four, by_row = Signal(name=f"{name}_by_four"), Signal(name=f"{name}_by_row")
        m.d.comb += [by_four.eq((command.span == Span.FOUR) if Span.FOUR in self.spans else 0),
                     by_row.eq((command.span == Span.ROW) if Span.ROW in self.spans else 0)]
        size = Signal(4, name=f"{name}_size")
        m.d.comb += size.eq(s1_size + (by_four << 1))

        # Stage 2: how many groups, and blocks of the last one.
        last = Signal(12, name=f"{name}_last")
        m.d.comb += last.eq(s1_blocks & ((1 << size) - 1))
        m.d.sync += [
            shape.groups.eq(Mux(by_row, 0, s1_blocks >> size)),
            shape.blocks.eq((1 << size) - 1),
            shape.end_blocks.eq(Mux(by_row, s1_blocks, last)),
            shape.pieces.eq(s1_pieces),
            shape.rows.eq(Mux(command.four, height >> 1, height) - 1),
        ]
        s2_fields = Signal(5, name=f"{name}_s2_fields")      # of scales in a row of the last group
        m.d.sync += s2_fields.eq(Mux(by_row, 0, last >> (by_four << 1)) + 1)

        # Stage 3: pieces of the last group's scales. Not worth a hard multiplier.
        wide = command.wide if len(self.scale_bytes) == 2 else int(self.scale_bytes == (2,))
        s3_scales = Signal(9, name=f"{name}_s3_scales")
        m.d.sync += s3_scales.eq(sum(
            (Mux(height[bit], s2_fields, 0) << bit for bit in range(5)), 0))
        m.d.comb += shape.end_pieces.eq(((s3_scales << wide) - 1) >> 4)
