"""Raw beats of a stream into beats with their scales beside them."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .layouts import tile_beat, unpack_command


__all__ = ["Unpacker"]


#: Bytes of a piece, and pieces of scales of the longest group.
PIECE, GROUP_PIECES = 16, 16


class Unpacker(wiring.Component):
    """Takes the scales out of the tiles of a matrix (section 3.1 of interfaces.md).

    The numerical reference is :func:`verif.reference.tape.unpack`.

    Latency
    -------
    One cycle from ``i`` to ``o``. A command costs a cycle of its own only if it arrives late.

    Throughput
    ----------
    One beat of ``i`` each cycle. Beats of scales are accepted although ``o`` waits. ``i.ready``
    depends on ``o.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    scale_bytes : int
        2 for FP16, 1 for E8M0. Codes of one byte belong to 8-bit weights only.

    Members
    -------
    commands : ``In(stream.Signature(unpack_command))``
        What lies on ``i``.
    i : ``In(stream.Signature(8 * config.beat_bytes))``
    o : ``Out(stream.Signature(tile_beat))``
    """

    def __init__(self, config, scale_bytes):
        if scale_bytes not in (1, 2):
            raise ValueError(f"scale_bytes must be 1 or 2, not {scale_bytes!r}")
        self.config      = config
        self.scale_bytes = scale_bytes
        super().__init__({
            "commands": In(stream.Signature(unpack_command)),
            "i": In(stream.Signature(8 * config.beat_bytes)),
            "o": Out(stream.Signature(tile_beat(config))),
        })

    def elaborate(self, platform):
        m = Module()
        config, z = self.config, self.scale_bytes

        # Control: where in the command the next raw beat is.
        command = Signal(unpack_command)
        active  = Signal()
        tiles   = Signal(12)           # after this one
        height  = Signal(5)
        blocks  = Signal(12)           # of the tile, from this group on
        in_group = Signal(5)           # block of the group
        row     = Signal(4)            # or pair of rows
        half    = Signal()
        scaling = Signal()             # beats of scales come
        piece   = Signal(4)            # beat of scales, or the one that holds the next scale
        index   = Signal(3 if z == 2 else 4)   # scale in its piece

        # A group is as many blocks as fill whole pieces with scales.
        group = Signal(5)
        with m.Switch(height):
            for h in range(1, 17):
                with m.Case(h):
                    m.d.comb += group.eq(config.scale_group(h, z))
        number    = Signal(5)
        last_byte = Signal(9)
        m.d.comb += [
            number.eq(Mux(blocks < group, blocks, group)),
            last_byte.eq(number * height * z - 1),
        ]

        four  = command.four if z == 2 else Const(0)
        lines = Mux(four, height >> 1, height)
        last_block, last_half, last_row = Signal(), Signal(), Signal()
        m.d.comb += [
            last_block.eq(blocks == 1),
            last_half.eq(half | (last_block & command.halves[0])),
            last_row.eq(row == lines - 1),
        ]

        advance, accepted, weight = Signal(), Signal(), Signal()
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(active & (scaling | advance)),
            accepted.eq(self.i.valid & self.i.ready),
            weight.eq(accepted & ~scaling),
        ]
        tile_ends = Signal()
        m.d.comb += tile_ends.eq(last_half & last_row & last_block)

        with m.If(accepted & scaling):
            m.d.sync += piece.eq(piece + 1)
            with m.If(piece == last_byte[4:8]):
                m.d.sync += [scaling.eq(0), piece.eq(0)]
        with m.If(weight):
            m.d.sync += half.eq(~last_half)
            with m.If(last_half):
                m.d.sync += row.eq(row + 1)
            # 4-bit weights have a scale a beat: one for each row of the pair.
            with m.If(last_half | four):
                m.d.sync += Cat(index, piece).eq(Cat(index, piece) + 1)
            with m.If(last_half & last_row):
                m.d.sync += [row.eq(0), blocks.eq(blocks - 1), in_group.eq(in_group + 1)]
                with m.If(in_group == group - 1):
                    m.d.sync += [scaling.eq(1), in_group.eq(0), piece.eq(0), index.eq(0)]

        # The next tile; of the next command, if there is no other.
        start, fetch = Signal(), Signal()
        following = Signal(unpack_command)
        m.d.comb += [
            fetch.eq(~active | (weight & tile_ends & (tiles == 0))),
            start.eq(weight & tile_ends & (tiles != 0) | (fetch & self.commands.valid)),
            self.commands.ready.eq(fetch),
            following.eq(Mux(fetch, self.commands.payload, command)),
        ]
        with m.If(fetch):
            m.d.sync += [active.eq(self.commands.valid), command.eq(self.commands.payload)]
        with m.If(start):
            left = Signal(12)
            m.d.comb += left.eq(Mux(fetch, following.tiles, tiles) - 1)
            m.d.sync += [
                tiles.eq(left),
                height.eq(Mux(left == 0, following.tail, following.height)),
                blocks.eq((following.halves + 1) >> 1),
                in_group.eq(0), row.eq(0), half.eq(0), scaling.eq(1), piece.eq(0), index.eq(0),
            ]

        # Data: pieces of scales wait in a small memory.
        with m.If(advance):
            m.d.sync += self.o.valid.eq(weight)
        with m.If(weight):
            m.d.sync += self.o.p.last.eq(tile_ends)
        pieces, scales = [], []
        for s in range(config.slices):
            raw = Signal(8 * PIECE, name=f"raw_{s}")
            m.d.comb += raw.eq(self.i.payload[8 * PIECE * s:8 * PIECE * (s + 1)])
            memory = Memory(shape=8 * PIECE, depth=GROUP_PIECES, init=[])
            m.submodules[f"scales_{s}"] = memory
            write, read = memory.write_port(), memory.read_port(domain="comb")
            m.d.comb += [
                write.addr.eq(piece), write.data.eq(raw), write.en.eq(accepted & scaling),
                read.addr.eq(piece),
            ]
            pieces.append(raw)
            scales.append(read.data.word_select(index, 8 * z) | Const(0, 16))
        with m.If(weight):
            m.d.sync += self.o.p.beat.eq(Cat(*pieces, *(scale[:16] for scale in scales)))
        return m
