"""Scores in fixed point, and the largest of each vector."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.attention.geometry import BLOCK, vectors
from hw.attention.pipeline import delay, largest, tree
from hw.attention.sight import seen, sight
from hw.float.fixed import FloatToFixed
from hw.signatures import scores
from hw.verilog import shared


__all__ = ["LOGIT", "PEAK", "Logits"]


#: What a token that is not seen has as logit when the largest is looked for.
SMALLEST = -2**31

#: A score in fixed point, and whether its token is seen.
LOGIT = data.StructLayout({"value": signed(32), "seen": 1})

#: Of a vector: the largest logit rounded up to an integer, and whether its block ends.
PEAK = data.StructLayout({"maximum": signed(17), "last": 1})


class Logits(wiring.Component):
    """Converts scores to fixed point, keeps them, and finds the maximum of each vector.

    These are steps 2 and 3 of :func:`verif.reference.softmax.softmax`. A vector is what a column of
    a group has in a block: 32 scores. Vectors lie in a ring, in the order in which they begin, and
    leave it in that order: those of a block follow those of the block before at once.

    Latency
    -------
    That of :class:`FloatToFixed`, log2(lanes) and 3 cycles from the last scores of a vector to
    ``finished``.

    Throughput
    ----------
    ``softmax_lanes`` scores a cycle. A vector begins when the ring has room for it.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    blocks : ``In(stream.Signature(sight))``
        What columns see of each block. Taken with its last scores.
    scores : ``In(stream.Signature(scores(config)))``
        Those of a block in order of tiles, in a tile of groups, columns and tokens: 32 of each
        vector in all. The order alone says whose they are.
    finished : ``Out(1)``
        One more vector can be read, from the next cycle on.
    vector, position, read_en, logits : ``In``, ``In``, ``In(1)``, ``Out``
        Place of a vector in the ring, and beat in it; its :data:`LOGIT`\\ s in the cycle after.
    peak : ``Out(PEAK)``
        Of ``vector``, in the same cycle.
    release : ``In(1)``
        The oldest vector is read for the last time.

    Attributes
    ----------
    places : int
        Vectors in the ring: those that are on their way, and, if a vector comes in two tiles, all
        of a block.
    """

    def __init__(self, config):
        self.config = config
        self.lanes  = config.softmax_lanes
        self.beats  = BLOCK // self.lanes
        self.places = 2 + -(-(10 + exact_log2(self.lanes)) // self.beats)
        if config.key_tiles > 1:
            self.places += vectors(config)
        self.position_bits = exact_log2(self.beats)
        super().__init__({
            "blocks":   In(stream.Signature(sight)),
            "scores":   In(stream.Signature(scores(config))),
            "finished": Out(1),
            "vector":   In(range(self.places)),
            "position": In(self.position_bits),
            "read_en":  In(1),
            "logits":   Out(data.ArrayLayout(LOGIT, self.lanes)),
            "peak":     Out(PEAK),
            "release":  In(1),
        })

    def elaborate(self, platform):
        m = Module()
        s0 = self.walk(m)

        # Conversion to fixed point, and whether a token is seen; into the memory.
        cycles   = FloatToFixed.latency
        s1_fixed = []
        for n in range(self.lanes):
            m.submodules[f"convert_{n}"] = convert = shared(FloatToFixed())
            m.d.comb += convert.i.eq(self.scores.p.values[n])
            s1_fixed.append(convert.o)
        s1      = delay(m, s0, cycles, "s1")
        s1_en   = delay(m, self.accepted, cycles, "s1_en", reset_less=False)
        beat    = s0.position if self.position_bits else Const(0)
        s1_seen = delay(m, seen(m, self.blocks.p, self.column, beat, self.lanes), cycles - 2,
                        "s1_seen")
        m.submodules.memory = memory = Memory(
            shape=LOGIT.size * self.lanes, depth=self.places << self.position_bits, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.addr.eq(Cat(s1.position, s1.vector)),
            write.data.eq(Cat(Cat(fixed, s1_seen[n]) for n, fixed in enumerate(s1_fixed))),
            write.en.eq(s1_en),
            read.addr.eq(Cat(self.position, self.vector)),
            read.en.eq(self.read_en),
            Value.cast(self.logits).eq(read.data),
        ]

        # Largest logit of the beat that is seen, then of the vector.
        s2_logits = [Signal(signed(32), name=f"s2_logit_{n}", reset_less=True)
                     for n in range(self.lanes)]
        m.d.sync += [logit.eq(Mux(s1_seen[n], fixed, SMALLEST))
                     for n, (logit, fixed) in enumerate(zip(s2_logits, s1_fixed, strict=True))]
        s3_largest = tree(m, s2_logits, largest, "s3_largest")
        cycles     = 1 + exact_log2(self.lanes)
        self.peaks(m, delay(m, s1_en, cycles, "s3_en", reset_less=False),
                   delay(m, s1, cycles, "s3"), s3_largest)
        return m

    def walk(self, m):
        """Accept scores; returns what each belongs to."""
        config, view = self.config, self.blocks.p
        tile_beats = self.beats // config.key_tiles
        beat   = Signal(range(tile_beats))
        column = Signal(7)
        group  = Signal(4)
        tile   = Signal(range(config.key_tiles))
        vector = Signal(range(self.places))
        base   = Signal(range(self.places))             # of the block
        after  = Signal(range(self.places))
        free   = Signal(range(self.places + 1), init=self.places)
        begins, ends, last_column, last_vector, last_tile = (
            Signal(name=name) for name in ("begins", "ends", "last_column", "last_vector",
                                           "last_tile"))
        self.accepted, self.column = Signal(), column
        m.d.comb += [
            begins.eq((beat == 0) & (tile == 0)),
            ends.eq(beat == tile_beats - 1),
            last_column.eq(column == view.columns - 1),
            last_vector.eq(last_column & (group == view.groups - 1)),
            last_tile.eq(tile == config.key_tiles - 1),
            after.eq(Mux(vector == self.places - 1, 0, vector + 1)),
            self.scores.ready.eq(self.blocks.valid & (~begins | (free != 0))),
            self.accepted.eq(self.scores.valid & self.scores.ready),
            self.blocks.ready.eq(self.accepted & ends & last_vector & last_tile),
        ]
        m.d.sync += free.eq(free - (self.accepted & begins) + self.release)
        with m.If(self.accepted):
            m.d.sync += beat.eq(beat + 1)
            with m.If(ends):
                m.d.sync += [beat.eq(0), column.eq(column + 1), vector.eq(after)]
                with m.If(last_column):
                    m.d.sync += [column.eq(0), group.eq(group + 1)]
                with m.If(last_vector):
                    m.d.sync += [group.eq(0), tile.eq(Mux(last_tile, 0, tile + 1))]
                    # The next tile has the same vectors, the next block those behind.
                    m.d.sync += vector.eq(Mux(last_tile, after, base))
                    with m.If(last_tile):
                        m.d.sync += base.eq(after)
        s0 = Signal(data.StructLayout({"vector": vector.shape(), "position": self.position_bits,
                                       "first": 1, "ends": 1, "more": 1, "whole": 1, "last": 1}))
        m.d.comb += [
            s0.vector.eq(vector), s0.position.eq(Cat(beat, tile)), s0.first.eq(beat == 0),
            s0.ends.eq(ends), s0.more.eq(tile != 0), s0.whole.eq(last_tile),
            s0.last.eq(last_vector),
        ]
        return s0

    def peaks(self, m, s3_en, s3, s3_largest):
        """Keep the maximum of each vector, and tell which are complete."""
        # Stage 4: the largest of the tile so far.
        s4_en      = delay(m, s3_en & s3.ends, 1, "s4_en", reset_less=False)
        s4         = delay(m, s3, 1, "s4")
        s4_largest = Signal(signed(32), reset_less=True)
        with m.If(s3_en):
            m.d.sync += s4_largest.eq(Mux(s3.first, s3_largest, largest(s3_largest, s4_largest)))

        # Stage 5: rounded up, which leaves the order as it is; with that of the tile before.
        rounded    = Signal(signed(34))
        s5_en      = delay(m, s4_en, 1, "s5_en", reset_less=False)
        s5         = delay(m, s4, 1, "s5")
        s5_rounded = Signal(signed(17), reset_less=True)
        m.d.comb += rounded.eq(s4_largest + 0xFFFF)
        m.d.sync += s5_rounded.eq(rounded[16:])
        m.submodules.maxima = maxima = Memory(shape=PEAK, depth=self.places, init=[])
        write, asked = maxima.write_port(), maxima.read_port(domain="comb")
        m.d.comb += [
            write.addr.eq(s5.vector), write.data.maximum.eq(s5_rounded),
            write.data.last.eq(s5.last), write.en.eq(s5_en),
            asked.addr.eq(self.vector), self.peak.eq(asked.data),
            self.finished.eq(s5_en & s5.whole),
        ]
        if self.config.key_tiles > 1:
            own = maxima.read_port(domain="comb")
            m.d.comb += own.addr.eq(s5.vector)
            with m.If(s5.more):
                m.d.comb += write.data.maximum.eq(largest(s5_rounded, own.data.maximum))
