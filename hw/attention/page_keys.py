"""Keys of pages, by which they are chosen, out of the scores of their bounds."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.attention.geometry import BLOCK, select_job
from hw.attention.pipeline import largest
from hw.signatures import scores


__all__ = ["KEY_BITS", "rows", "tile_rows", "PageKeys"]


#: Bits of a key: those of a score that count.
KEY_BITS = 16


def rows(config):
    """Rows of ``softmax_lanes`` keys that hold those of all pages."""
    return config.pages // config.softmax_lanes


def tile_rows(config):
    """Pages in a tile of keys."""
    return min(BLOCK, config.key_height * config.slices)


class PageKeys(wiring.Component):
    """Makes a key of each page: the largest one of all columns and groups.

    The numerical reference is :func:`verif.reference.select.page_keys`. A tile's keys go round in
    a ring of registers, in which each column's are compared with those of the columns before.

    Latency
    -------
    Two cycles from scores of the last column to ``write``.

    Throughput
    ----------
    One beat of scores each cycle, one block after another. ``jobs.ready`` depends on
    ``scores.valid``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    jobs : ``In(stream.Signature(select_job(config)))``
        One for each block of bounds. If there are no pages, one, for which no scores come.
    scores : ``In(stream.Signature(scores(config)))``
        Of each tile of keys all columns of all groups, ascending; of each the pages in order.
    room : ``In(1)``
        The first job of a select may be taken.
    begin : ``Out(1)``
        It is, in this cycle.
    bank : ``Out(1)``
        In which its keys will be: that, and the other one, by turns.
    write : ``Out(1)``, ``address``, ``keys``
        A row of keys: those of page ``softmax_lanes * address`` and on, of bank ``address[-1]``.
        Pages beyond ``config.pages`` are not written.
    busy : ``Out(1)``
        Scores are missing.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "jobs":    In(stream.Signature(select_job(config))),
            "scores":  In(stream.Signature(scores(config))),
            "room":    In(1),
            "begin":   Out(1),
            "bank":    Out(1),
            "write":   Out(1),
            "address": Out(exact_log2(rows(config)) + 1),
            "keys":    Out(data.ArrayLayout(KEY_BITS, config.softmax_lanes)),
            "busy":    Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, lanes = self.config, self.config.softmax_lanes

        # Control: a job after the other; rows of keys are complete with the last column.
        job      = Signal(select_job(config))
        row      = Signal(range(BLOCK // lanes))
        bank     = Signal(init=1)
        accepted = Signal()
        first    = Signal()
        last     = Signal()
        ends     = Signal()
        m.d.comb += [
            self.scores.ready.eq(self.busy),
            accepted.eq(self.scores.valid & self.busy),
            first.eq((self.scores.p.column == 0) & (self.scores.p.group == 0)),
            last.eq((self.scores.p.column == job.columns - 1)
                    & (self.scores.p.group == job.groups - 1)),
            ends.eq(accepted & last & (row == BLOCK // lanes - 1)),
            self.jobs.ready.eq((~self.busy | ends) & (self.room | ~self.jobs.p.first)),
            self.begin.eq(self.jobs.valid & self.jobs.ready & self.jobs.p.first),
            self.bank.eq(~bank),
        ]
        with m.If(accepted & last):
            m.d.sync += row.eq(Mux(ends, 0, row + 1))
        with m.If(ends):
            m.d.sync += self.busy.eq(0)
        with m.If(self.jobs.valid & self.jobs.ready):
            m.d.sync += [job.eq(self.jobs.p), self.busy.eq(self.jobs.p.pages != 0)]
        m.d.sync += bank.eq(bank ^ self.begin)

        # Stage 1: scores as keys.
        s1_accepted = Signal()
        s1_first    = Signal(reset_less=True)
        s1_write    = Signal()
        s1_address  = Signal(self.address.shape(), reset_less=True)
        s1_keys     = [Signal(KEY_BITS, name=f"s1_key_{n}", reset_less=True) for n in range(lanes)]
        inside      = Signal()
        m.d.comb += inside.eq(job.number < config.pages // BLOCK)
        m.d.sync += [
            s1_accepted.eq(accepted), s1_first.eq(first),
            s1_write.eq(accepted & last & inside),
            s1_address.eq(Cat(row, job.number[:exact_log2(config.pages // BLOCK)], bank)),
            *(key.eq(key_of(value)) for key, value in zip(s1_keys, self.scores.p.values)),
        ]

        # Stage 2: the largest so far. The row before it in the tile comes after a turn.
        beats = tile_rows(config) // lanes
        ring  = [[Signal(KEY_BITS, name=f"s2_best_{beat}_{n}", reset_less=True)
                  for n in range(lanes)] for beat in range(beats)]
        m.d.sync += [self.write.eq(s1_write), self.address.eq(s1_address)]
        with m.If(s1_accepted):
            for n, key in enumerate(s1_keys):
                m.d.sync += ring[-1][n].eq(Mux(s1_first, key, largest(key, ring[0][n])))
            m.d.sync += [best.eq(after) for row, behind in zip(ring, ring[1:])
                         for best, after in zip(row, behind)]
        m.d.comb += [self.keys[n].eq(best) for n, best in enumerate(ring[-1])]
        return m


def key_of(score):
    """Key of a score that is no -0, and of which every NaN is 0x7FC00000."""
    high = score[32 - KEY_BITS:]
    return Mux(score[22:31].all(), 0, high ^ Cat(high[-1].replicate(KEY_BITS - 1), Const(1, 1)))
