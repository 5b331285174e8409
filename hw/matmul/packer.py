"""Sums of the array as rows of the workspace, or as scores."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.geometry import BLOCK
from hw.signatures import Drain, scores

from .layouts import TILE_ROWS, drained_row, drained_sums, job, row_place


__all__ = ["RowPacker"]


#: FP32 1.
ONE = 0x3F800000


class RowPacker(wiring.Component):
    """Makes rows of ``lanes`` of the sums that come at a time, or scores for the softmax.

    Latency
    -------
    One cycle to ``rows``, none to ``scores``.

    Throughput
    ----------
    One row (half of one if a column has no more), or ``softmax_lanes`` scores, each cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    jobs : ``In(stream.Signature(job))``
    sums : ``In(stream.Signature(drained_sums))``
        For each job: for each column, the groups that hold ``height`` rows. What the last of them
        has besides is taken for zeros. Only a job of the last tile may end within a row of the
        workspace.
    factors : ``In(stream.Signature(32))``
        Factors of commands, before their first job.
    rows : ``Out(stream.Signature(drained_row))``
    scores : ``Out(stream.Signature(scores))``
    busy : ``Out(1)``
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "jobs": In(stream.Signature(job(config))),
            "sums": In(stream.Signature(drained_sums(config))),
            "rows": Out(stream.Signature(drained_row(config))),
            "factors": In(stream.Signature(32)),
            "scores": Out(stream.Signature(scores(config))),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        active, c = Signal(), Signal(job(config))
        to_scores = Signal()

        # What comes is taken in parts: rows, or scores.
        wide = Value.cast(self.sums.payload)
        each = 32 * config.softmax_lanes
        # Of more than 32 slices the first 32 have scores.
        rows, lots = max(1, len(wide) // config.row_bits), min(len(wide), 32 * BLOCK) // each
        part, last_part = Signal(range(max(2, rows, lots))), Signal()
        end_part = Signal.like(part)            # the one with the last sums
        go = Signal()
        m.d.comb += last_part.eq(part == Mux(to_scores, lots - 1, end_part))
        with m.If(go):
            m.d.sync += part.eq(Mux(last_part, 0, part + 1))

        # Where the next sums belong.
        within = exact_log2(config.drain_rows)
        group, column, last_group = Signal(4 - within), Signal(7), Signal()
        end = Signal(4)             # last row of the column
        ends_column, last_column, taken, fetch = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            end.eq(c.drain.height - 1), last_group.eq(group == end >> within),
            end_part.eq(rows - 1),
            to_scores.eq((c.drain.drain == Drain.SCORES) | (c.drain.drain == Drain.SELECT)),
            ends_column.eq(last_part & last_group),
            last_column.eq(column == c.drain.columns - 1),
            taken.eq(go & last_part),
            fetch.eq(~active | (go & ends_column & last_column)),
            self.jobs.ready.eq(fetch),
            self.busy.eq(active | self.jobs.valid | self.rows.valid),
        ]
        # Of the last group, the rows that there are, and what they fill.
        sums = wide
        if within:
            size, end_row = 32 * config.slices, end[:within]
            with m.If(last_group):
                m.d.comb += end_part.eq(
                    ((end_row + 1) * config.slices - 1) >> exact_log2(config.lanes))
            sums = Cat(Mux(last_group & (end_row < n), 0, wide[n * size:(n + 1) * size])
                       for n in range(config.drain_rows))
        with m.If(taken):
            m.d.sync += group.eq(group + 1)
        with m.If(go & ends_column):
            m.d.sync += [group.eq(0), column.eq(column + 1)]

        # The row of the workspace that the next sums belong to.
        place = Signal(row_place(config))
        block = Signal(16)          # of the column's first element
        start = Signal(5)           # element of the block at which the column starts
        with m.If(go):
            m.d.sync += place.eq(place + 1)
            with m.If(ends_column):
                m.d.sync += [place.eq(start >> exact_log2(config.lanes)),
                             block.eq(block + c.drain.stride)]
        row = Signal(drained_row(config))
        halves = config.lanes > TILE_ROWS * config.slices
        inside = place & (config.block_rows - 1)
        starts, ends = Signal(), Signal()
        m.d.comb += [
            row.keep_low.eq(start[4] & halves), row.keep_high.eq(~start[4] & halves),
            starts.eq((inside == 0) & ~row.keep_low),
            ends.eq((inside == config.block_rows - 1) & ~row.keep_high),
            row.address.eq((block << exact_log2(config.block_rows)) + place),
            row.add.eq(c.drain.drain == Drain.ADD),
            row.waits.eq((c.first | halves) & (column == 0) & (place == start >> exact_log2(
                config.lanes))),
            row.take1.eq(Mux(starts, c.drain.take1, 0)),
            # A vector of several tiles is complete with the last block of the last one.
            # The last block of a product may not be full.
            row.raise0.eq(Mux((ends | (c.last & ends_column)) & c.drain["raise"]
                              & Mux(c.each, ends_column, last_column), c.drain.raise0, 0)),
            row.raises.eq(Mux(c.each, c.drain.stride, 1)),
        ]

        # A register of its own, so that what the writer decides does not run back to the sums.
        m.d.comb += row.data.eq(Cat(sums, sums) if halves
                                else sums.word_select(part, config.row_bits))
        space = Signal()
        m.d.comb += space.eq(~self.rows.valid | self.rows.ready)
        with m.If(space):
            m.d.sync += [self.rows.valid.eq(go & ~to_scores), self.rows.payload.eq(row)]

        # The next job.
        following = self.jobs.p
        with m.If(fetch):
            m.d.sync += [
                active.eq(self.jobs.valid), c.eq(following), group.eq(0), column.eq(0),
                block.eq(following.drain.dst), start.eq(following.drain.offset),
                place.eq(following.drain.offset >> exact_log2(config.lanes)),
            ]

        # The factor of a command comes with its first job.
        if config.having("factor"):
            factor = Signal(32)
            m.d.comb += [row.factor.eq(factor), self.factors.ready.eq(
                fetch & self.jobs.valid & following.factor & following.first)]
            with m.If(self.factors.ready):
                m.d.sync += factor.eq(self.factors.payload)
            with m.Elif(fetch & self.jobs.valid & ~following.factor):
                m.d.sync += factor.eq(ONE)

        # Scores go as they come.
        m.d.comb += [
            self.scores.valid.eq(active & to_scores & self.sums.valid),
            self.scores.p.column.eq(column), self.scores.p.group.eq(c.drain.group),
            self.scores.p.values.eq(wide.word_select(part, each)),
            go.eq(active & self.sums.valid & Mux(to_scores, self.scores.ready, space)),
            self.sums.ready.eq(taken),
        ]
        if config.pages:
            m.d.comb += self.scores.p.bounds.eq(c.drain.drain == Drain.SELECT)
        return m
