"""Online softmax: scores in, blocks of probabilities out."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.attention.exponentials import Exponentials
from hw.attention.geometry import BLOCK, softmax_job
from hw.attention.logits import Logits
from hw.attention.probabilities import Probabilities, block_job
from hw.attention.sight import Sight
from hw.attention.totals import Totals
from hw.float.exp2 import Exp2Fixed
from hw.float.fixed import FloatToFixed
from hw.memory.queue import Queue
from hw.signatures import act_write, scores


__all__ = ["softmax_latency", "Softmax"]


#: Blocks of which probabilities are still to come.
BLOCKS = 8


def softmax_latency(config):
    """Cycles from the last scores of a vector to its first activation write."""
    lanes = config.softmax_lanes
    return (FloatToFixed.latency + Exp2Fixed.latency + 2 * exact_log2(lanes)
            + BLOCK // lanes + 16 // min(lanes, 16) + 13)


class Softmax(wiring.Component):
    """Turns the scores of KV blocks into blocks of probabilities, one for each column of a group.

    The numerical reference is :func:`verif.reference.softmax.softmax`. ::

        jobs ---> Sight     v_scales
                    v          v
        scores -> Logits -> Exponentials -> Probabilities -> act
                                                  '-> Totals -> sums

    A vector is what a column of a group has in a block. Vectors go from part to part in order,
    through a ring between each two, and those of a block follow those of the block before at once:
    each part works on another vector, often of another block.

    Latency
    -------
    :func:`softmax_latency` cycles from the last scores of a vector to the first half of its block,
    when the parts are free.

    Throughput
    ----------
    ``min(softmax_lanes, 16)`` elements a cycle, without a pause between blocks that have at least
    :attr:`Totals.interval` times as many elements; others take :attr:`Totals.interval` cycles.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    jobs : ``In(stream.Signature(softmax_job(config)))``
        One for each KV block, some blocks ahead of its scores.
    v_scales : ``In(stream.Signature(256))``
        E8M0 codes of the values of each block's 32 tokens, up to four blocks ahead.
    scores : ``In(stream.Signature(scores(config)))``
        32 of each vector: in order of tiles of keys, in a tile of groups, columns and tokens.
    act : ``Out(stream.Signature(act_write(config)))``
        The two halves of each vector's block, with the shift of what the column holds.
    sums : ``Out(stream.Signature(32))``
        ``l`` of each vector, after the last block of a head.
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
        config = self.config
        m.submodules.sight         = sight         = Sight(config)
        m.submodules.logits        = logits        = Logits(config)
        m.submodules.exponentials  = exponentials  = Exponentials(config, logits.places)
        m.submodules.probabilities = probabilities = Probabilities(config, exponentials.places)
        m.submodules.totals        = totals        = Totals(config)

        # Jobs: the first part and the one before the last need them.
        m.submodules.blocks = blocks = Queue(block_job(config), BLOCKS)
        m.d.comb += [
            self.jobs.ready.eq(sight.jobs.ready & blocks.i.ready),
            sight.jobs.valid.eq(self.jobs.valid & blocks.i.ready),
            blocks.i.valid.eq(self.jobs.valid & sight.jobs.ready),
            sight.jobs.p.eq(self.jobs.p),
        ]
        m.d.comb += [blocks.i.p[name].eq(self.jobs.p[name]) for name, _ in block_job(config)]
        wiring.connect(m, sight.o, logits.blocks)
        wiring.connect(m, blocks.o, probabilities.blocks)

        # From part to part.
        wiring.connect(m, wiring.flipped(self.scores), logits.scores)
        wiring.connect(m, wiring.flipped(self.v_scales), exponentials.v_scales)
        self.join(m, logits, exponentials, ("finished", "logits", "peak"),
                  ("vector", "position", "read_en", "release"))
        self.join(m, exponentials, probabilities, ("summed", "terms", "vector_sum"),
                  ("term_vector", "term_position", "term_en", "sum_en", "term_release"))
        self.join(m, probabilities, totals, ("update_en", "update", "reserve"), ("room",))
        wiring.connect(m, probabilities.act, wiring.flipped(self.act))
        wiring.connect(m, totals.sums, wiring.flipped(self.sums))
        m.d.comb += self.done.eq(probabilities.done)
        return m

    @staticmethod
    def join(m, before, after, forward, backward):
        """Connect members of the same name of two parts."""
        m.d.comb += [getattr(after, name).eq(getattr(before, name)) for name in forward]
        m.d.comb += [getattr(before, name).eq(getattr(after, name)) for name in backward]
