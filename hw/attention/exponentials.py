"""Exponentials of the logits of a block, their sums, and their scaled exponents."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from hw.attention.geometry import BLOCK
from hw.attention.pipeline import delay, largest, tree
from hw.float.exp2 import Exp2Fixed
from hw.verilog import shared


__all__ = ["TERM", "COLUMN_SUM", "Exponentials"]


#: Shifts above this give the same as this: nothing is left of the term.
FAR = 511

#: Exponent of a token beyond the count.
NONE = -1024

#: ``x_j`` and ``e_j`` of a token: its probability is x_j * 2^(e_j - 16), with its value's scale.
TERM = data.StructLayout({"x": 17, "e": signed(11)})

#: What is known of a column: ``s``, ``E``, and the block's maximum.
COLUMN_SUM = data.StructLayout({"sum": 30, "largest": signed(11), "maximum": signed(17)})


class Exponentials(wiring.Component):
    """Computes ``x_j`` and ``e_j`` of each token, and ``s`` and ``E`` of each column.

    These are steps 4, 5 and the start of 6 of :func:`verif.reference.softmax.softmax`.

    Latency
    -------
    That of :class:`Exp2Fixed`, log2(lanes) and 5 cycles from the read of a column's last logits
    until ``summed`` counts the column.

    Throughput
    ----------
    ``softmax_lanes`` exponentials a cycle, columns in order, each as soon as it is ``finished``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    start : ``In(1)``
        A block begins.
    mask, codes : ``In(32)``, ``In(256)``
        Valid tokens, and the E8M0 codes of their values.
    finished, address, read_en, logits, column, maximum
        The other side of :class:`hw.attention.logits.Logits`.
    summed : ``Out(7)``
        Number of columns whose terms and sums can be read.
    term_address, term_en, terms : ``In``, ``In(1)``, ``Out(data.ArrayLayout(TERM, lanes))``
        Column and position in it, in beats; the terms of the cycle after.
    sum_column, column_sum : ``In``, ``Out(COLUMN_SUM)``
        Column, and its sums in the same cycle.
    """

    def __init__(self, config):
        self.config = config
        self.lanes  = config.softmax_lanes
        self.beats  = BLOCK // self.lanes
        self.column_bits   = bits_for(config.columns - 1)
        self.position_bits = exact_log2(self.beats)
        place_bits = self.column_bits + self.position_bits
        super().__init__({
            "start":        In(1),
            "mask":         In(BLOCK),
            "codes":        In(8 * BLOCK),
            "finished":     In(7),
            "address":      Out(place_bits),
            "read_en":      Out(1),
            "logits":       In(data.ArrayLayout(signed(32), self.lanes)),
            "column":       Out(self.column_bits),
            "maximum":      In(signed(17)),
            "summed":       Out(7),
            "term_address": In(place_bits),
            "term_en":      In(1),
            "terms":        Out(data.ArrayLayout(TERM, self.lanes)),
            "sum_column":   In(self.column_bits),
            "column_sum":   Out(COLUMN_SUM),
        })

    def elaborate(self, platform):
        m = Module()

        # Control: columns in order, each when its maximum is known.
        column   = Signal(7)
        position = Signal(self.position_bits)
        issue    = Signal()
        place    = Cat(position, column[:self.column_bits])
        m.d.comb += [
            issue.eq((self.finished > column) & ~self.start),
            self.address.eq(place),
            self.read_en.eq(issue),
            self.column.eq(column),
        ]
        with m.If(self.start):
            m.d.sync += [column.eq(0), position.eq(0)]
        with m.Elif(issue):
            m.d.sync += Cat(position, column).eq(Cat(position, column) + 1)

        # Stages 1 to 3, then those of exp2: the exponential of each lane.
        s1_maximum = delay(m, self.maximum, 1, "s1_maximum")
        cycles = 3 + Exp2Fixed.latency
        sx_maximum = delay(m, s1_maximum, cycles - 1, "sx_maximum")
        sx_issued  = delay(m, issue, cycles, "sx_issued", reset_less=False)
        sx_place   = delay(m, place, cycles, "sx_place")
        sx_lanes   = []
        for n in range(self.lanes):
            m.submodules[f"exp2_{n}"] = exp2 = shared(Exp2Fixed(self.config.technology))
            k = self.split(m, n, s1_maximum, self.logits[n], exp2.f)
            sx_lanes.append((exp2.o, delay(m, k, exp2.latency, f"sx_k_{n}")))

        # The next stage: what each lane adds to the sum, and its exponent with the value's.
        beat  = sx_place[:self.position_bits]
        valid = self.mask.word_select(beat, self.lanes)
        codes = self.codes.word_select(beat, 8 * self.lanes)
        sy_parts, sy_terms = [], []
        for n, (x, k) in enumerate(sx_lanes):
            part = Signal(25, name=f"sy_part_{n}", reset_less=True)
            term = Signal(TERM, name=f"sy_term_{n}", reset_less=True)
            far  = Mux(k[5:].any(), 31, k[:5])
            m.d.sync += [
                part.eq(Mux(valid[n], Cat(Const(0, 8), x) >> far, 0)),
                term.x.eq(x),
                term.e.eq(Mux(valid[n], codes[8 * n:8 * n + 8] - 127 - k, NONE)),
            ]
            sy_parts.append(part)
            sy_terms.append(term)
        sy_issued  = delay(m, sx_issued, 1, "sy_issued", reset_less=False)
        sy_place   = delay(m, sx_place, 1, "sy_place")
        sy_maximum = delay(m, sx_maximum, 1, "sy_maximum")
        depth = self.beats << self.column_bits
        m.submodules.terms = memory = Memory(shape=len(Cat(sy_terms)), depth=depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.addr.eq(sy_place), write.data.eq(Cat(sy_terms)), write.en.eq(sy_issued),
            read.addr.eq(self.term_address), read.en.eq(self.term_en), self.terms.eq(read.data),
        ]

        # Over the lanes, then over the beats of a column.
        cycles = exact_log2(self.lanes)
        self.reduce(m, delay(m, sy_issued, cycles, "sz_issued", reset_less=False),
                    delay(m, sy_place, cycles, "sz_place"),
                    delay(m, sy_maximum, cycles, "sz_maximum"),
                    tree(m, sy_parts, lambda a, b: a + b, "sz_sum"),
                    tree(m, [term.e for term in sy_terms], largest, "sz_largest"))
        return m

    @staticmethod
    def split(m, n, maximum, logit, fraction):
        """Stages 2 and 3 of lane ``n``: ``u``, then its parts; ``f`` goes to ``fraction``."""
        s2_u = Signal(33, name=f"s2_u_{n}", reset_less=True)
        s3_k = Signal(range(FAR + 1), name=f"s3_k_{n}", reset_less=True)
        s3_f = Signal(16, name=f"s3_f_{n}", reset_less=True)
        up   = Signal(18, name=f"up_{n}")
        m.d.sync += s2_u.eq((maximum << 16) - logit)
        m.d.comb += up.eq(s2_u[16:] + s2_u[:16].any())
        m.d.sync += [
            s3_k.eq(Mux(up > FAR, FAR, up)),
            s3_f.eq(-s2_u[:16]),
        ]
        m.d.comb += fraction.eq(s3_f)
        return s3_k

    def reduce(self, m, issued, place, maximum, lanes_sum, lanes_largest):
        """Sum and largest exponent of each column, and the count of columns that have them."""
        position, column = place[:self.position_bits], place[self.position_bits:]
        m.submodules.sums = sums = Memory(shape=COLUMN_SUM, depth=1 << self.column_bits, init=[])
        write, read = sums.write_port(), sums.read_port(domain="comb")
        before = Signal(COLUMN_SUM)
        first  = Signal()
        m.d.comb += [
            first.eq(position == 0),
            write.addr.eq(column),
            write.data.sum.eq(Mux(first, 0, before.sum) + lanes_sum),
            write.data.largest.eq(Mux(first, lanes_largest, largest(lanes_largest,
                                                                    before.largest))),
            write.data.maximum.eq(maximum),
            write.en.eq(issued & (position == self.beats - 1)),
            read.addr.eq(self.sum_column),
            self.column_sum.eq(read.data),
        ]
        with m.If(issued):
            m.d.sync += before.eq(write.data)
        with m.If(self.start):
            m.d.sync += self.summed.eq(0)
        with m.Elif(write.en):
            m.d.sync += self.summed.eq(self.summed + 1)
