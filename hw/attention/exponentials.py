"""Exponentials of logits, their sums, and their scaled exponents."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.attention.codes import Codes
from hw.attention.geometry import BLOCK
from hw.attention.logits import LOGIT, PEAK
from hw.attention.pipeline import delay, largest, tree
from hw.float.exp2 import Exp2Fixed
from hw.verilog import shared


__all__ = ["TERM", "VECTOR_SUM", "Exponentials"]


#: Shifts from this on give the same: nothing is left of the term. Tokens that are not seen have it
#: too: whatever their codes are, their exponents are so far below that of a block's largest term,
#: or below all that can be written if there is none, that their probabilities are 0.
FAR = 511

#: ``x_j`` and ``e_j`` of a token: its probability is x_j * 2^(e_j - 16), with its value's scale.
TERM = data.StructLayout({"x": 17, "e": signed(11)})

#: What is known of a vector: ``s``, ``E``, the block's maximum, and whether a token that is seen
#: has a value without finite scale.
VECTOR_SUM = data.StructLayout({"sum": 30, "largest": signed(11), "maximum": signed(17), "nan": 1})


class Exponentials(wiring.Component):
    """Computes ``x_j`` and ``e_j`` of each token, and ``s`` and ``E`` of each vector.

    These are steps 4, 5 and the start of 6 of :func:`verif.reference.softmax.softmax`. Terms lie in
    a ring of vectors.

    Latency
    -------
    That of :class:`Exp2Fixed`, log2(lanes) and 4 cycles from the read of a vector's last logits
    to ``summed``.

    Throughput
    ----------
    ``softmax_lanes`` exponentials a cycle, vectors in order. A vector begins when it is
    ``finished``, its block's codes come, and the ring of terms has room for it.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    vectors : int
        Vectors in the ring that is read.

    Members
    -------
    v_scales : ``In(stream.Signature(256))``
        E8M0 codes of the values of each block.
    finished, vector, position, read_en, logits, peak, release
        The other side of :class:`hw.attention.logits.Logits`.
    summed : ``Out(1)``
        One more vector can be read, from the next cycle on.
    term_vector, term_position, term_en, terms : ``In``, ``In``, ``In(1)``, ``Out``
        Place of a vector in the ring, and beat in it; its :data:`TERM`\\ s in the cycle after.
    sum_en, vector_sum : ``In(1)``, ``Out(VECTOR_SUM)``
        Of ``term_vector``, in the cycle after.
    term_release : ``In(1)``
        The oldest vector is read for the last time.

    Attributes
    ----------
    places : int
        Vectors in the ring: those that are on their way.
    """

    def __init__(self, config, vectors):
        self.config  = config
        self.lanes   = config.softmax_lanes
        self.beats   = BLOCK // self.lanes
        self.vectors = vectors
        self.position_bits = exact_log2(self.beats)
        # Probabilities of 32 lanes take two cycles.
        cycles = max(self.beats, 2)
        self.places = 1 << ceil_log2(2 + -(-(13 + exact_log2(self.lanes)) // cycles))
        super().__init__({
            "v_scales":      In(stream.Signature(8 * BLOCK)),
            "finished":      In(1),
            "vector":        Out(range(vectors)),
            "position":      Out(self.position_bits),
            "read_en":       Out(1),
            "logits":        In(data.ArrayLayout(LOGIT, self.lanes)),
            "peak":          In(PEAK),
            "release":       Out(1),
            "summed":        Out(1),
            "term_vector":   In(range(self.places)),
            "term_position": In(self.position_bits),
            "term_en":       In(1),
            "terms":         Out(data.ArrayLayout(TERM, self.lanes)),
            "sum_en":        In(1),
            "vector_sum":    Out(VECTOR_SUM),
            "term_release":  In(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.codes = codes = Codes(self.config)
        wiring.connect(m, wiring.flipped(self.v_scales), codes.i)
        s0_en, s0 = self.walk(m, codes.begins)

        # Stages 1 to 3, then those of exp2: the exponential of each lane.
        s1_maximum = delay(m, self.peak.maximum, 1, "s1_maximum")
        cycles     = 3 + Exp2Fixed.latency
        sx_maximum = delay(m, s1_maximum, cycles - 1, "sx_maximum")
        sw_en      = delay(m, s0_en, cycles - 1, "sw_en", reset_less=False)
        sw         = delay(m, s0, cycles - 1, "sw")
        sx_en      = delay(m, sw_en, 1, "sx_en", reset_less=False)
        sx         = delay(m, sw, 1, "sx")
        sx_lanes   = []
        for n in range(self.lanes):
            m.submodules[f"exp2_{n}"] = exp2 = shared(Exp2Fixed(self.config.technology))
            distance = self.split(m, n, s1_maximum, self.logits[n], exp2.f)
            sx_lanes.append((exp2.o, delay(m, distance, exp2.latency, f"sx_distance_{n}")))
        m.d.comb += [
            codes.position.eq(sw.position), codes.read_en.eq(sw_en),
            codes.release.eq(sw_en & sw.ends & sw.last),
        ]

        # The next stage: what each lane adds to the sum, and its exponent with the value's.
        sy_parts, sy_terms, sy_nans = [], [], []
        for n, (x, distance) in enumerate(sx_lanes):
            k, is_seen = distance[:-1], distance[-1]
            part = Signal(25, name=f"sy_part_{n}", reset_less=True)
            term = Signal(TERM, name=f"sy_term_{n}", reset_less=True)
            nan  = Signal(name=f"sy_nan_{n}", reset_less=True)
            code = codes.codes.word_select(n, 8)
            far  = Mux(k[5:].any(), 31, k[:5])
            m.d.sync += [
                part.eq(Cat(Const(0, 8), x) >> far),
                term.x.eq(x), term.e.eq(code - 127 - k),
                nan.eq(is_seen & code.all()),
            ]
            sy_parts.append(part)
            sy_terms.append(term)
            sy_nans.append(nan)
        sy_en      = delay(m, sx_en, 1, "sy_en", reset_less=False)
        sy         = delay(m, sx, 1, "sy")
        sy_maximum = delay(m, sx_maximum, 1, "sy_maximum")
        m.submodules.terms = memory = Memory(shape=len(Cat(sy_terms)),
                                             depth=self.places << self.position_bits, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.addr.eq(Cat(sy.position, sy.vector)), write.data.eq(Cat(sy_terms)),
            write.en.eq(sy_en),
            read.addr.eq(Cat(self.term_position, self.term_vector)), read.en.eq(self.term_en),
            Value.cast(self.terms).eq(read.data),
        ]

        # Over the lanes, then over the beats of a vector.
        cycles = exact_log2(self.lanes)
        self.reduce(m, delay(m, sy_en, cycles, "sz_en", reset_less=False),
                    delay(m, sy, cycles, "sz"), delay(m, sy_maximum, cycles, "sz_maximum"),
                    tree(m, sy_parts, lambda a, b: a + b, "sz_sum"),
                    tree(m, [term.e for term in sy_terms], largest, "sz_largest"),
                    tree(m, sy_nans, lambda a, b: a | b, "sz_nan"))
        return m

    def walk(self, m, begins):
        """Read vectors in order; returns what each beat belongs to."""
        vector   = Signal(range(self.vectors))
        slot     = Signal(range(self.places))           # the vector's place among the terms
        position = Signal(self.position_bits)
        ready    = Signal(range(self.vectors + 1))
        coded    = Signal(range(8))                     # blocks whose codes come, less those read
        free     = Signal(range(self.places + 1), init=self.places)
        first, ends, issue, start, finish = (
            Signal(name=name) for name in ("first", "ends", "issue", "start", "finish"))
        m.d.comb += [
            first.eq(position == 0 if self.position_bits else 1),
            ends.eq(position == self.beats - 1 if self.position_bits else 1),
            issue.eq(~first | ((ready != 0) & (coded != 0) & (free != 0))),
            start.eq(issue & first), finish.eq(issue & ends),
            self.vector.eq(vector), self.position.eq(position), self.read_en.eq(issue),
            self.release.eq(finish),
        ]
        m.d.sync += [
            position.eq(position + issue),
            ready.eq(ready + self.finished - start),
            coded.eq(coded + begins - (finish & self.peak.last)),
            free.eq(free - start + self.term_release),
        ]
        with m.If(finish):
            m.d.sync += [slot.eq(slot + 1),
                         vector.eq(Mux(vector == self.vectors - 1, 0, vector + 1))]
        s0 = Signal(data.StructLayout({"position": self.position_bits, "vector": slot.shape(),
                                       "first": 1, "ends": 1, "last": 1}))
        m.d.comb += [s0.position.eq(position), s0.vector.eq(slot), s0.first.eq(first),
                     s0.ends.eq(ends), s0.last.eq(self.peak.last)]
        return issue, s0

    @staticmethod
    def split(m, n, maximum, logit, fraction):
        """Stages 2 and 3 of lane ``n``: ``u``, then its parts; ``f`` goes to ``fraction``."""
        s2_u    = Signal(33, name=f"s2_u_{n}", reset_less=True)
        s2_seen = Signal(name=f"s2_seen_{n}", reset_less=True)
        s3_k    = Signal(range(FAR + 1), name=f"s3_k_{n}", reset_less=True)
        s3_seen = Signal(name=f"s3_seen_{n}", reset_less=True)
        s3_f    = Signal(16, name=f"s3_f_{n}", reset_less=True)
        up      = Signal(18, name=f"up_{n}")
        m.d.comb += up.eq(s2_u[16:] + s2_u[:16].any())
        m.d.sync += [
            s2_u.eq((maximum << 16) - logit.value), s2_seen.eq(logit.seen),
            s3_k.eq(Mux(~s2_seen | (up > FAR), FAR, up)), s3_seen.eq(s2_seen),
            s3_f.eq(-s2_u[:16]),
        ]
        m.d.comb += fraction.eq(s3_f)
        return Cat(s3_k, s3_seen)

    def reduce(self, m, en, place, maximum, lanes_sum, lanes_largest, lanes_nan):
        """Sum and largest exponent of each vector, and tell which have them."""
        m.submodules.sums = sums = Memory(shape=VECTOR_SUM, depth=self.places, init=[])
        write, read = sums.write_port(), sums.read_port()
        before = Signal(VECTOR_SUM)
        so_far = write.data
        m.d.comb += [
            write.addr.eq(place.vector), write.en.eq(en & place.ends),
            so_far.maximum.eq(maximum),
            so_far.sum.eq(Mux(place.first, 0, before.sum) + lanes_sum),
            so_far.largest.eq(Mux(place.first, lanes_largest,
                                  largest(lanes_largest, before.largest))),
            so_far.nan.eq((before.nan & ~place.first) | lanes_nan),
            self.summed.eq(write.en),
            read.addr.eq(self.term_vector), read.en.eq(self.sum_en),
            self.vector_sum.eq(read.data),
        ]
        with m.If(en):
            m.d.sync += before.eq(so_far)
