"""Probabilities as blocks of INT8 activations."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2, exact_log2

from hw.attention.exponentials import COLUMN_SUM, TERM
from hw.attention.geometry import BLOCK
from hw.signatures import act_write


__all__ = ["column_update", "Probabilities"]


#: Elements of an activation write.
HALF = 16

#: Largest right shift of a term: nothing is left of it.
FAR = 15


def column_update(config):
    """How a block changes the sum of a column."""
    return data.StructLayout({
        "column": bits_for(config.columns - 1),
        "sum":    30,                                   # s
        "below":  signed(18),                           # mb - M'
        "shift":  8,                                    # d
    })


class Probabilities(wiring.Component):
    """Quantises the terms of a block, and keeps the running maximum of each column.

    These are step 6 and the first half of step 7 of :func:`verif.reference.softmax.softmax`.

    Latency
    -------
    ``5 + 16 / min(softmax_lanes, 16)`` cycles from ``summed`` counting a column to its first half.

    Throughput
    ----------
    ``min(softmax_lanes, 16)`` elements a cycle, columns in order. While ``act`` waits for
    ``ready``, all stages hold.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    start : ``In(1)``
        A block begins.
    first, nan, address : ``In(1)``, ``In(1)``, ``In``
        No block was before; a valid token's value has no finite scale; activation block. Constant
        during the block.
    summed, term_address, term_en, terms, sum_column, column_sum
        The other side of :class:`hw.attention.exponentials.Exponentials`.
    act : ``Out(stream.Signature(act_write(config)))``
        Both halves of each column's block.
    update_en, update : ``Out(1)``, ``Out(column_update(config))``
        Once for each column.
    """

    def __init__(self, config):
        self.config  = config
        self.lanes   = min(config.softmax_lanes, HALF)
        self.gathers = HALF // self.lanes
        self.column_bits   = bits_for(config.columns - 1)
        self.position_bits = exact_log2(BLOCK // self.lanes)
        place_bits = self.column_bits + exact_log2(BLOCK // config.softmax_lanes)
        super().__init__({
            "start":        In(1),
            "first":        In(1),
            "nan":          In(1),
            "address":      In(ceil_log2(config.act_blocks)),
            "summed":       In(7),
            "term_address": Out(place_bits),
            "term_en":      Out(1),
            "terms":        In(data.ArrayLayout(TERM, config.softmax_lanes)),
            "sum_column":   Out(self.column_bits),
            "column_sum":   In(COLUMN_SUM),
            "act":          Out(stream.Signature(act_write(config))),
            "update_en":    Out(1),
            "update":       Out(column_update(config)),
        })

    def elaborate(self, platform):
        m = Module()
        gather_bits = exact_log2(self.gathers)

        # Control: columns in order, each when its sums are known.
        advance  = Signal()
        column   = Signal(7)
        position = Signal(self.position_bits)
        issue    = Signal()
        m.d.comb += [
            advance.eq(~self.act.valid | self.act.ready),
            issue.eq((self.summed > column) & ~self.start),
            self.term_en.eq(issue & advance),
            # A beat of 32 lanes is read twice.
            self.term_address.eq(Cat(position, column)[exact_log2(self.config.softmax_lanes
                                                                  // self.lanes):]),
            self.sum_column.eq(column),
        ]
        with m.If(self.start):
            m.d.sync += [column.eq(0), position.eq(0)]
        with m.Elif(issue & advance):
            m.d.sync += Cat(position, column).eq(Cat(position, column) + 1)

        # Where each stage is.
        stage = data.StructLayout({"valid": 1, "column": self.column_bits,
                                   "position": self.position_bits})
        s0, s1, s2, s3, s4, s5 = (Signal(stage, name=f"s{n}") for n in range(6))
        m.d.comb += [s0.valid.eq(issue), s0.column.eq(column), s0.position.eq(position)]
        with m.If(advance):
            m.d.sync += [s1.eq(s0), s2.eq(s1), s3.eq(s2), s4.eq(s3), s5.eq(s4)]

        # Of the column: its maximum, its shift and its code.
        self.column_stages(m, advance, s0, s1, s2)

        # Of each element: distance, shift, rounding.
        elements = []
        for n in range(self.lanes):
            term = Signal(TERM, name=f"s1_term_{n}")
            m.d.comb += term.eq(self.terms[n])
            if self.config.softmax_lanes > self.lanes:
                with m.If(s1.position[0]):
                    m.d.comb += term.eq(self.terms[n + self.lanes])
            elements.append(self.quantise(m, n, advance, term))

        # Stage 6: elements gather in the payload until a half is complete.
        gathered = Cat(Cat(self.act.p.data), Mux(self.s5_zero, 0, Cat(elements)))
        with m.If(advance):
            m.d.sync += [
                Cat(self.act.p.data).eq(gathered[8 * self.lanes:]),
                self.act.valid.eq(s5.valid & s5.position[:gather_bits].all()),
                self.act.p.column.eq(s5.column),
                self.act.p.address.eq(Cat(s5.position[-1], self.address)),
                self.act.p.code.eq(self.s5_code),
                self.act.p.shift.eq(self.s5_shift),
                self.act.p.set_shift.eq(1),
            ]
        return m

    def column_stages(self, m, advance, s0, s1, s2):
        """Stages 1 to 5 of what is common to a column; they change with its first beat."""
        m.submodules.maxima = maxima = Memory(shape=signed(17), depth=1 << self.column_bits,
                                              init=[])
        write, read = maxima.write_port(), maxima.read_port(domain="comb")
        s1_sum    = Signal(COLUMN_SUM)
        s1_before = Signal(signed(17))
        m.d.comb += read.addr.eq(s0.column)
        with m.If(advance & (s0.position == 0)):
            m.d.sync += [s1_sum.eq(self.column_sum), s1_before.eq(read.data)]

        # Stage 2: the new maximum, and the distances to it.
        s1_first = Signal()
        rises    = Signal()
        rise     = Signal(signed(18))
        after    = Signal(signed(17))
        s2_below   = Signal(signed(18))
        s2_shift   = Signal(8)
        s2_largest = Signal(signed(11))
        s2_sum     = Signal(30)
        m.d.comb += [
            s1_first.eq(s1.valid & (s1.position == 0)),
            rise.eq(s1_sum.maximum - s1_before),
            rises.eq(self.first | (rise > 0)),
            after.eq(Mux(rises, s1_sum.maximum, s1_before)),
            write.addr.eq(s1.column), write.data.eq(after), write.en.eq(advance & s1_first),
        ]
        with m.If(advance & s1_first):
            m.d.sync += [
                s2_below.eq(Mux(rises, 0, rise)),
                s2_shift.eq(Mux(self.first | (rise < 0), 0, Mux(rise > 255, 255, rise))),
                s2_largest.eq(s1_sum.largest),
                s2_sum.eq(s1_sum.sum),
            ]
        m.d.comb += [
            self.update_en.eq(advance & s2.valid & (s2.position == 0)),
            self.update.column.eq(s2.column), self.update.sum.eq(s2_sum),
            self.update.below.eq(s2_below), self.update.shift.eq(s2_shift),
        ]

        # Stages 3 to 5: the code.
        s3_code, s4_code   = (Signal(signed(19), name=f"s{n}_code") for n in (3, 4))
        s3_shift, s4_shift = (Signal(8, name=f"s{n}_shift") for n in (3, 4))
        self.s5_code, self.s5_shift, self.s5_zero = Signal(8), Signal(8), Signal()
        with m.If(advance):
            m.d.sync += [
                s3_code.eq(s2_largest + s2_below + 127), s4_code.eq(s3_code),
                s3_shift.eq(s2_shift), s4_shift.eq(s3_shift),
                self.s5_zero.eq(s4_code < 1),
                self.s5_code.eq(Mux(self.nan, 255, Mux(s4_code < 0, 0,
                                                       Mux(s4_code > 254, 254, s4_code)))),
                self.s5_shift.eq(s4_shift),
            ]
        self.s2_largest = s2_largest

    def quantise(self, m, n, advance, term):
        """Stages 2 to 5 of one element: ``rne(x * 2^(e - E - 10))``, at most 127."""
        s2_term  = Signal(TERM, name=f"s2_term_{n}")
        distance = Signal(12, name=f"distance_{n}")
        s3_shift = Signal(range(FAR + 1), name=f"s3_shift_{n}")
        s3_x     = Signal(17, name=f"s3_x_{n}")
        s4_kept  = Signal(7, name=f"s4_kept_{n}")
        s4_up    = Signal(name=f"s4_up_{n}")
        s5_q     = Signal(7, name=f"s5_q_{n}")
        # 25 bits below the point: 10 of the format, and room for the shift.
        shifted  = Signal(32, name=f"shifted_{n}")
        m.d.comb += [
            distance.eq(self.s2_largest - s2_term.e),
            shifted.eq(Cat(Const(0, 15), s3_x) >> s3_shift),
        ]
        with m.If(advance):
            m.d.sync += [
                s2_term.eq(term),
                s3_shift.eq(Mux(distance > FAR, FAR, distance)),
                s3_x.eq(s2_term.x),
                s4_kept.eq(shifted[25:]),
                s4_up.eq(shifted[24] & (shifted[25] | shifted[:24].any()) & ~shifted[25:].all()),
                s5_q.eq(s4_kept + s4_up),
            ]
        return Cat(s5_q, Const(0, 1))
