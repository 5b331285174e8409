"""Online softmax: scores in, blocks of probabilities out."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.attention.exponentials import Exponentials
from hw.attention.geometry import BLOCK, softmax_job
from hw.attention.logits import Logits
from hw.attention.probabilities import Probabilities
from hw.attention.totals import Totals
from hw.float.exp2 import Exp2Fixed
from hw.float.fixed import FloatToFixed
from hw.signatures import act_write, scores


__all__ = ["softmax_latency", "Softmax"]


def softmax_latency(config):
    """Cycles from the last scores of a column to its first activation write."""
    lanes = config.softmax_lanes
    return (FloatToFixed.latency + Exp2Fixed.latency + 2 * exact_log2(lanes)
            + BLOCK // lanes + 16 // min(lanes, 16) + 12)


class Softmax(wiring.Component):
    """Turns the scores of a KV block into a block of probabilities for each column.

    The numerical reference is :func:`verif.reference.softmax.softmax`. ::

        scores -> Logits -> Exponentials -> Probabilities -> act
                                                  '-> Totals -> sums

    Each part works on another column; a memory for all columns lies between each two.

    Latency
    -------
    :func:`softmax_latency` cycles from the last scores of a column to the first half of its block,
    when the parts are free.

    Throughput
    ----------
    ``softmax_lanes`` elements a cycle (16 at most towards ``act``), one block after another: a job
    is accepted when all of the one before is done.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    jobs : ``In(stream.Signature(softmax_job(config)))``
        One for each KV block. Accepted together with its codes.
    v_scales : ``In(stream.Signature(256))``
        E8M0 codes of the values of the block's 32 tokens.
    scores : ``In(stream.Signature(scores(config)))``
        32 of each column, in token order; columns end in ascending order.
    act : ``Out(stream.Signature(act_write(config)))``
        The two halves of each column's block, with the shift of what the column holds.
    sums : ``Out(stream.Signature(32))``
        ``l`` of each column, after the last block of a head.
    done : ``Out(1)``
        The last half of a block leaves in this cycle.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "jobs":     In(stream.Signature(softmax_job(config))),
            "v_scales": In(stream.Signature(8 * BLOCK)),
            "scores":   In(stream.Signature(scores(config))),
            "act":      Out(stream.Signature(act_write(config))),
            "sums":     Out(stream.Signature(32)),
            "done":     Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.logits        = logits        = Logits(self.config)
        m.submodules.exponentials  = exponentials  = Exponentials(self.config)
        m.submodules.probabilities = probabilities = Probabilities(self.config)
        m.submodules.totals        = totals        = Totals(self.config)

        # Control: one block at a time.
        active = Signal()
        start  = Signal()
        job    = Signal(softmax_job(self.config))
        codes  = Signal(8 * BLOCK)
        mask   = Signal(BLOCK)
        valid  = Cat(self.jobs.p.tokens > n for n in range(BLOCK))
        halves = Signal(8)
        free   = Signal()
        leaves = Signal()
        m.d.comb += [
            free.eq(~active & ~totals.busy & (totals.room | ~self.jobs.p.last)),
            self.jobs.ready.eq(free & self.v_scales.valid),
            self.v_scales.ready.eq(free & self.jobs.valid),
            start.eq(self.jobs.valid & self.jobs.ready),
            leaves.eq(self.act.valid & self.act.ready),
            self.done.eq(leaves & (halves == 1)),
        ]
        with m.If(start):
            m.d.sync += [
                active.eq(1), job.eq(self.jobs.p), mask.eq(valid), codes.eq(self.v_scales.payload),
                halves.eq(self.jobs.p.columns << 1),
            ]
        with m.If(leaves):
            m.d.sync += halves.eq(halves - 1)
        with m.If(self.done):
            m.d.sync += active.eq(0)

        # What all parts know of the block.
        nan  = Signal()
        invalid = Cat(codes.word_select(n, 8).all() for n in range(BLOCK))
        m.d.sync += nan.eq((invalid & mask).any())
        for part in (logits, exponentials, probabilities):
            m.d.comb += part.start.eq(start)
        m.d.comb += [
            logits.columns.eq(Mux(start, self.jobs.p.columns, job.columns)),
            logits.mask.eq(mask), exponentials.mask.eq(mask), exponentials.codes.eq(codes),
            probabilities.first.eq(job.first), probabilities.nan.eq(nan),
            probabilities.address.eq(job.address),
            totals.first.eq(job.first), totals.last.eq(job.last),
        ]

        # From part to part.
        wiring.connect(m, wiring.flipped(self.scores), logits.scores)
        self.join(m, logits, exponentials, ("finished", "logits", "maximum"),
                  ("address", "read_en", "column"))
        self.join(m, exponentials, probabilities, ("summed", "terms", "column_sum"),
                  ("term_address", "term_en", "sum_column"))
        self.join(m, probabilities, totals, ("update_en", "update"), ())
        wiring.connect(m, probabilities.act, wiring.flipped(self.act))
        wiring.connect(m, totals.sums, wiring.flipped(self.sums))
        return m

    @staticmethod
    def join(m, before, after, forward, backward):
        """Connect members of the same name of two parts."""
        m.d.comb += [getattr(after, name).eq(getattr(before, name)) for name in forward]
        m.d.comb += [getattr(before, name).eq(getattr(after, name)) for name in backward]
