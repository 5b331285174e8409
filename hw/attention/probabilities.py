"""Probabilities as blocks of INT8 activations."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2, exact_log2

from hw.attention.exponentials import TERM, VECTOR_SUM
from hw.attention.geometry import BLOCK, vectors
from hw.attention.totals import Totals, vector_update
from hw.signatures import act_write


__all__ = ["block_job", "Probabilities"]


#: Elements of an activation write.
HALF = 16

#: Largest right shift of a term: nothing is left of it.
FAR = 15


def block_job(config):
    """Fields of a :func:`softmax_job` that matter here."""
    return data.StructLayout({
        "first":   1,
        "last":    1,
        "columns": 7,
        "groups":  4,
        "address": ceil_log2(config.act_blocks),
    })


class Probabilities(wiring.Component):
    """Quantises the terms of a block, and keeps the running maximum of each vector.

    These are step 6 and the first half of step 7 of :func:`verif.reference.softmax.softmax`.

    Latency
    -------
    ``5 + 16 / min(softmax_lanes, 16)`` cycles from the start of a vector to its first half.

    Throughput
    ----------
    ``min(softmax_lanes, 16)`` elements a cycle, vectors in order. A vector begins when it is
    ``summed`` and, in a last block, when totals have room for its sum; a block also
    :attr:`Totals.interval` cycles after the one before, not counting those in which that waited.
    While ``act`` waits for ``ready``, all stages hold.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    places : int
        Vectors in the ring that is read.

    Members
    -------
    blocks : ``In(stream.Signature(block_job(config)))``
        Taken with the block's last terms.
    summed, term_vector, term_position, term_en, terms, sum_en, vector_sum, term_release
        The other side of :class:`hw.attention.exponentials.Exponentials`.
    act : ``Out(stream.Signature(act_write(config)))``
        Both halves of each vector's block; those of group g belong to block ``address`` + g.
    done : ``Out(1)``
        The last half of a block leaves in this cycle.
    update_en, update, reserve, room
        The other side of :class:`hw.attention.totals.Totals`.
    """

    def __init__(self, config, places):
        self.config  = config
        self.places  = places
        self.lanes   = min(config.softmax_lanes, HALF)
        self.beats   = BLOCK // self.lanes
        self.gathers = HALF // self.lanes
        self.vector_bits   = bits_for(vectors(config) - 1)
        self.position_bits = exact_log2(self.beats)
        super().__init__({
            "blocks":        In(stream.Signature(block_job(config))),
            "summed":        In(1),
            "term_vector":   Out(range(places)),
            "term_position": Out(exact_log2(BLOCK // config.softmax_lanes)),
            "term_en":       Out(1),
            "terms":         In(data.ArrayLayout(TERM, config.softmax_lanes)),
            "sum_en":        Out(1),
            "vector_sum":    In(VECTOR_SUM),
            "term_release":  Out(1),
            "act":           Out(stream.Signature(act_write(config))),
            "done":          Out(1),
            "update_en":     Out(1),
            "update":        Out(vector_update(config)),
            "reserve":       Out(1),
            "room":          In(1),
        })

    def elaborate(self, platform):
        m = Module()
        advance = Signal()
        m.d.comb += advance.eq(~self.act.valid | self.act.ready)

        # Where each stage is: s0 is what walk() reads.
        s0 = self.walk(m, advance)
        s1, s2, s3, s4, s5 = (Signal(s0.shape(), name=f"s{n}") for n in range(1, 6))
        with m.If(advance):
            m.d.sync += [s1.eq(s0), s2.eq(s1), s3.eq(s2), s4.eq(s3), s5.eq(s4)]

        # Of the vector: its maximum, its shift and its code.
        self.vector_stages(m, advance, s0, s1, s2)

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
        s6_last  = Signal()
        half_end = (s5.position & (self.gathers - 1)) == self.gathers - 1
        with m.If(advance):
            m.d.sync += [
                Cat(self.act.p.data).eq(gathered[8 * self.lanes:]),
                self.act.valid.eq(s5.valid & half_end),
                self.act.p.column.eq(s5.column),
                self.act.p.address.eq(Cat(s5.position[-1], s5.address)),
                self.act.p.code.eq(self.s5_code),
                self.act.p.shift.eq(self.s5_shift),
                self.act.p.set_shift.eq(1),
                s6_last.eq(s5.ends),
            ]
        m.d.comb += self.done.eq(self.act.valid & self.act.ready & s6_last)
        return m

    def walk(self, m, advance):
        """Read vectors in order; returns what each beat belongs to."""
        job      = self.blocks.p
        slot     = Signal(range(self.places))           # the vector's place among the terms
        vector   = Signal(self.vector_bits)
        column   = Signal(7)
        group    = Signal(4)
        position = Signal(self.position_bits)
        ready    = Signal(range(self.places + 1))
        rested   = Signal()
        first, ends, last_column, last_vector, issue, start, finish = (
            Signal(name=name) for name in ("first", "ends", "last_column", "last_vector", "issue",
                                           "start", "finish"))
        m.d.comb += [
            first.eq(position == 0), ends.eq(position == self.beats - 1),
            last_column.eq(column == job.columns - 1),
            last_vector.eq(last_column & (group == job.groups - 1)),
            issue.eq(~first | (self.blocks.valid & (ready != 0) & rested
                               & (self.room | ~job.last))),
            start.eq(issue & first & advance), finish.eq(issue & ends & advance),
            self.blocks.ready.eq(finish & last_vector),
            self.reserve.eq(start & job.last),
            self.term_vector.eq(slot),
            # A beat of 32 lanes is read twice.
            self.term_position.eq(position[exact_log2(self.config.softmax_lanes // self.lanes):]),
            self.term_en.eq(issue & advance), self.sum_en.eq(start), self.term_release.eq(finish),
        ]
        m.d.sync += [
            position.eq(position + (issue & advance)),
            ready.eq(ready + self.summed - start),
        ]
        with m.If(finish):
            m.d.sync += [slot.eq(slot + 1), vector.eq(vector + 1), column.eq(column + 1)]
            with m.If(last_column):
                m.d.sync += [column.eq(0), group.eq(group + 1)]
            with m.If(last_vector):
                m.d.sync += [vector.eq(0), group.eq(0)]
        self.rest(m, advance, issue, (vector == 0) & first, rested)

        s0 = Signal(data.StructLayout({
            "valid": 1, "position": self.position_bits, "vector": self.vector_bits,
            "column": len(self.act.p.column), "address": len(job.address),
            "first": 1, "last": 1, "ends": 1}))
        m.d.comb += [
            s0.valid.eq(issue), s0.position.eq(position), s0.vector.eq(vector),
            s0.column.eq(column), s0.address.eq(job.address + group), s0.first.eq(job.first),
            s0.last.eq(job.last), s0.ends.eq(ends & last_vector),
        ]
        return s0

    def rest(self, m, advance, issue, border, rested):
        """Let a block begin only so late that each vector's sum of the block before is ready.

        ``border`` is between blocks. Cycles in which the stages hold are not counted, because the
        sums before are held as well; nor those in which a block under way waits: the vectors that
        it had begun are early then, and those that it had not are as late as it is.
        """
        if self.beats >= Totals.interval:
            m.d.comb += rested.eq(1)
            return
        left = Signal(range(Totals.interval))
        m.d.comb += rested.eq((left == 0) | ~border)
        with m.If(advance & issue & border):
            m.d.sync += left.eq(Totals.interval - 1)
        with m.Elif(advance & (issue | border) & (left != 0)):
            m.d.sync += left.eq(left - 1)

    def vector_stages(self, m, advance, s0, s1, s2):
        """Stages 1 to 5 of what is common to a vector; they change with its first beat."""
        m.submodules.maxima = maxima = Memory(shape=signed(17), depth=1 << self.vector_bits,
                                              init=[])
        write, read = maxima.write_port(), maxima.read_port(domain="comb")
        s1_sum    = self.vector_sum
        s1_before = Signal(signed(17))
        m.d.comb += read.addr.eq(s0.vector)
        with m.If(advance & (s0.position == 0)):
            m.d.sync += s1_before.eq(read.data)

        # Stage 2: the new maximum, and the distances to it.
        s1_start = Signal()
        rises    = Signal()
        rise     = Signal(signed(18))
        after    = Signal(signed(17))
        s2_below   = Signal(signed(18))
        s2_shift   = Signal(8)
        s2_largest = Signal(signed(11))
        s2_sum     = Signal(30)
        s2_nan     = Signal()
        m.d.comb += [
            s1_start.eq(s1.valid & (s1.position == 0)),
            rise.eq(s1_sum.maximum - s1_before),
            rises.eq(s1.first | (rise > 0)),
            after.eq(Mux(rises, s1_sum.maximum, s1_before)),
            write.addr.eq(s1.vector), write.data.eq(after), write.en.eq(advance & s1_start),
        ]
        with m.If(advance & s1_start):
            m.d.sync += [
                s2_below.eq(Mux(rises, 0, rise)),
                s2_shift.eq(Mux(s1.first | (rise < 0), 0, Mux(rise > 255, 255, rise))),
                s2_largest.eq(s1_sum.largest),
                s2_sum.eq(s1_sum.sum),
                s2_nan.eq(s1_sum.nan),
            ]
        m.d.comb += [
            self.update_en.eq(advance & s2.valid & (s2.position == 0)),
            self.update.vector.eq(s2.vector), self.update.first.eq(s2.first),
            self.update.last.eq(s2.last), self.update.sum.eq(s2_sum),
            self.update.below.eq(s2_below), self.update.shift.eq(s2_shift),
        ]

        # Stages 3 to 5: the code.
        s3_code, s4_code   = (Signal(signed(19), name=f"s{n}_code") for n in (3, 4))
        s3_shift, s4_shift = (Signal(8, name=f"s{n}_shift") for n in (3, 4))
        s3_nan, s4_nan     = (Signal(name=f"s{n}_nan") for n in (3, 4))
        self.s5_code, self.s5_shift, self.s5_zero = Signal(8), Signal(8), Signal()
        with m.If(advance):
            m.d.sync += [
                s3_code.eq(s2_largest + s2_below + 127), s4_code.eq(s3_code),
                s3_shift.eq(s2_shift), s4_shift.eq(s3_shift),
                s3_nan.eq(s2_nan), s4_nan.eq(s3_nan),
                self.s5_zero.eq(s4_code < 1),
                self.s5_code.eq(Mux(s4_nan, 255, Mux(s4_code < 0, 0,
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
