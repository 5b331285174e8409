"""What a walk reads, as three runs of block numbers."""

from amaranth import *
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from .. import isa
from ..geometry import BLOCK


__all__ = ["Kind", "walk", "plan", "Plan"]

#: Sinks lie in so many blocks at most.
KEPT = (4095 + BLOCK - 1) // BLOCK

BOUNDS, CHOSEN = isa.PATTERNS.index("bounds"), isa.PATTERNS.index("chosen")


class Kind(enum.Enum, shape=2):
    """What a command reads into the D stream."""

    STREAM = 0      # beats of which nothing is known
    BLOCK = 1       # KV blocks
    BOUNDS = 2      # blocks of bounds


#: What stays the same for all blocks of a walk.
COMMON = {
    "kind": Kind, "address": 32,            # of the first block, in lines
    "head_blocks": 5, "packed": 1, "ring": 16, "chain": 1, "forward": 1, "take0": 4,
    "table": 32, "entries": 20,             # line of the block table; no entries: there is none
}

#: A command for the D stream. A ``stream`` has its beats as count.
walk = data.StructLayout({
    **COMMON, "count": 32, "span": 7, "window": 20, "sinks": 12, "chosen": 1, "page": 3,
})

#: Blocks ``0..head-1`` are read, chosen ones between, then ``first..end-1``.
plan = data.StructLayout({
    **COMMON, "kept": range(KEPT + 1),      # blocks that hold sinks
    "head": range(KEPT + 1), "first": 27, "end": 27,
    "chunk": 27,                            # first block that holds a token of the chunk
    "beats": 32, "chosen": 1, "page": 3,
})


class Plan(wiring.Component):
    """Resolves a walk's tokens to blocks: one sum for each stage, as they are of many bits.

    A ``stream`` becomes a walk of one block. The reference is
    :func:`verif.reference.pattern.blocks_read`.

    Latency
    -------
    3 cycles from ``i`` to ``o``.

    Throughput
    ----------
    A walk every 3 cycles; the next one is computed while ``o`` waits. ``i.ready`` depends on
    ``o.ready``.

    Members
    -------
    i : ``In(stream.Signature(walk))``
    o : ``Out(stream.Signature(plan))``
    """

    latency = 3

    def __init__(self):
        super().__init__({"i": In(stream.Signature(walk)), "o": Out(stream.Signature(plan))})

    def elaborate(self, platform):
        m = Module()
        i, o = self.i.p, self.o.p
        stage, load = Signal(range(3)), Signal()
        m.d.comb += [load.eq((stage == 2) & (~self.o.valid | self.o.ready)),
                     self.i.ready.eq(load)]
        with m.If(self.i.valid & (stage != 2)):
            m.d.sync += stage.eq(stage + 1)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(load):
            m.d.sync += [stage.eq(0), self.o.valid.eq(1)]

        # Stage 1: tokens that all queries see the end of, and blocks up to the last token.
        s1_before, s1_end = Signal(signed(33)), Signal(27)
        s1_kept = Signal.like(o.kept)
        blocks = Signal()
        m.d.comb += blocks.eq(i.kind == Kind.BLOCK)
        m.d.sync += [
            s1_before.eq(i.count - i.span),
            s1_end.eq(Mux(i.kind == Kind.STREAM, 1, (i.count + BLOCK - 1) // BLOCK)),
            s1_kept.eq(Mux(blocks, (i.sinks + BLOCK - 1) // BLOCK, 0)),
        ]

        # Stage 2: first token of the chunk, and of the window of its first query.
        s2_chunk, s2_edge = Signal(27), Signal(signed(34))
        m.d.sync += [
            s2_chunk.eq(Mux(s1_before < 0, 0, s1_before // BLOCK)),
            s2_edge.eq(s1_before + 1 - i.window),
        ]

        # Stage 3: blocks of sinks end where the window begins.
        first = Signal(27)
        m.d.comb += first.eq(Mux(blocks & (i.window != 0) & (s2_edge > 0), s2_edge // BLOCK, 0))
        with m.If(load):
            m.d.sync += [
                *(o[name].eq(i[name]) for name in (*COMMON, "chosen", "page")),
                o.ring.eq(Mux(blocks, i.ring, 0)),
                o.kept.eq(s1_kept), o.head.eq(Mux(first < s1_kept, first, s1_kept)),
                o.first.eq(first), o.end.eq(s1_end), o.chunk.eq(s2_chunk), o.beats.eq(i.count),
            ]
        return m
