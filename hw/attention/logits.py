"""Scores in fixed point, and the largest of each column."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from hw.attention.geometry import BLOCK
from hw.attention.pipeline import delay, largest, tree
from hw.float.fixed import FloatToFixed
from hw.signatures import scores
from hw.verilog import shared


__all__ = ["Logits"]


#: What a token beyond the count has as logit: the smallest value.
SMALLEST = -2**31


class Logits(wiring.Component):
    """Converts the scores of a block to fixed point, keeps them, and finds each column's maximum.

    These are steps 2 and 3 of :func:`verif.reference.softmax.softmax`.

    Latency
    -------
    That of :class:`FloatToFixed`, log2(lanes) and 3 cycles from the last scores of a column until
    ``finished`` counts it.

    Throughput
    ----------
    ``softmax_lanes`` scores a cycle. Scores are accepted while those of the block are missing.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    start : ``In(1)``
        A block begins.
    columns, mask : ``In(7)``, ``In(32)``
        Columns of the block, and valid tokens: constant until all columns are finished.
    scores : ``In(stream.Signature(scores(config)))``
        32 of each column, in token order; columns may take turns. They end in ascending order.
    finished : ``Out(7)``
        Number of columns whose scores and maximum can be read.
    address, read_en, logits : ``In``, ``In(1)``, ``Out(data.ArrayLayout(signed(32), lanes))``
        Column and position in it, in beats; the logits of the cycle after.
    column, maximum : ``In``, ``Out(signed(17))``
        Column, and its maximum rounded up to an integer, in the same cycle.
    """

    def __init__(self, config):
        self.config = config
        self.lanes  = config.softmax_lanes
        self.beats  = BLOCK // self.lanes
        self.column_bits   = bits_for(config.columns - 1)
        self.position_bits = exact_log2(self.beats)
        super().__init__({
            "start":    In(1),
            "columns":  In(7),
            "mask":     In(BLOCK),
            "scores":   In(stream.Signature(scores(config))),
            "finished": Out(7),
            "address":  In(self.column_bits + self.position_bits),
            "read_en":  In(1),
            "logits":   Out(data.ArrayLayout(signed(32), self.lanes)),
            "column":   In(self.column_bits),
            "maximum":  Out(signed(17)),
        })

    def elaborate(self, platform):
        m = Module()

        # Control: scores are accepted until all have come; each column has a position of its own.
        missing   = Signal(range(self.config.columns * self.beats + 1))
        positions = Signal(max(1, self.position_bits) * self.config.columns)
        position  = Signal(self.position_bits)
        accepted  = Signal()
        m.d.comb += [
            self.scores.ready.eq(missing != 0),
            accepted.eq(self.scores.valid & self.scores.ready),
        ]
        with m.If(self.start):
            m.d.sync += missing.eq(self.columns << self.position_bits)
        with m.Elif(accepted):
            m.d.sync += missing.eq(missing - 1)
        if self.position_bits:
            own = positions.word_select(self.scores.p.column, self.position_bits)
            m.d.comb += position.eq(own)
            with m.If(accepted):
                m.d.sync += own.eq(position + 1)

        # Conversion to fixed point, into the memory.
        cycles   = FloatToFixed.latency
        s1_fixed = []
        for n in range(self.lanes):
            m.submodules[f"convert_{n}"] = convert = shared(FloatToFixed())
            m.d.comb += convert.i.eq(self.scores.p.values[n])
            s1_fixed.append(convert.o)
        s1_accepted = delay(m, accepted, cycles, "s1_accepted", reset_less=False)
        s1_place    = delay(m, Cat(position, self.scores.p.column), cycles, "s1_place")
        depth = self.beats << self.column_bits
        m.submodules.memory = memory = Memory(shape=32 * self.lanes, depth=depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.addr.eq(s1_place),
            write.data.eq(Cat(s1_fixed)),
            write.en.eq(s1_accepted),
            read.addr.eq(self.address),
            read.en.eq(self.read_en),
            self.logits.eq(read.data),
        ]

        # Largest valid logit of the beat, then of the column.
        valid  = self.mask.word_select(s1_place[:self.position_bits], self.lanes)
        masked = [Signal(signed(32), name=f"s2_logit_{n}", reset_less=True)
                  for n in range(self.lanes)]
        m.d.sync += [logit.eq(Mux(valid[n], fixed, SMALLEST))
                     for n, (logit, fixed) in enumerate(zip(masked, s1_fixed))]
        s3_largest  = tree(m, masked, largest, "s3_largest")
        cycles      = 1 + exact_log2(self.lanes)
        s3_accepted = delay(m, s1_accepted, cycles, "s3_accepted", reset_less=False)
        s3_place    = delay(m, s1_place, cycles, "s3_place")
        self.column_maximum(m, s3_accepted, s3_place, s3_largest)
        return m

    def column_maximum(self, m, accepted, place, value):
        """Keep the largest ``value`` of each column, and count columns that are complete."""
        m.submodules.maxima = maxima = Memory(shape=signed(32), depth=1 << self.column_bits,
                                              init=[])
        write = maxima.write_port()
        own, asked = (maxima.read_port(domain="comb") for _ in range(2))
        rounded = Signal(signed(34))

        # Stage 4: the maximum so far; in the next cycle, if it is being formed in this one.
        s4_accepted = delay(m, accepted, 1, "s4_accepted", reset_less=False)
        s4_value    = delay(m, value, 1, "s4_value")
        s4_place    = delay(m, place, 1, "s4_place")
        position, column = s4_place[:self.position_bits], s4_place[self.position_bits:]
        s4_first    = Signal(reset_less=True)
        s4_same     = Signal()
        s4_own      = Signal(signed(32), reset_less=True)
        s5_formed   = Signal(signed(32), reset_less=True)
        before      = Signal(signed(32))
        m.d.comb += own.addr.eq(place[self.position_bits:])
        m.d.sync += [
            s4_first.eq(place[:self.position_bits] == 0), s4_own.eq(own.data),
            s4_same.eq(s4_accepted & (place[self.position_bits:] == column)),
            s5_formed.eq(write.data),
        ]
        m.d.comb += [
            before.eq(Mux(s4_same, s5_formed, s4_own)),
            write.addr.eq(column),
            write.data.eq(Mux(s4_first, s4_value, largest(s4_value, before))),
            write.en.eq(s4_accepted),
            asked.addr.eq(self.column),
            rounded.eq(asked.data + 0xFFFF),
            self.maximum.eq(rounded[16:].as_signed()),
        ]
        with m.If(self.start):
            m.d.sync += self.finished.eq(0)
        with m.Elif(s4_accepted & (position == self.beats - 1)):
            m.d.sync += self.finished.eq(self.finished + 1)
