"""Sums of the array as rows of the workspace, or as scores."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.signatures import Drain, scores

from .layouts import TILE_ROWS, drained_row, job, row_place


__all__ = ["RowPacker"]


#: FP32 1.
ONE = 0x3F800000


class RowPacker(wiring.Component):
    """Packs ``slices`` sums at a time into rows of ``lanes``, or passes them on as scores.

    Latency
    -------
    None from the sums that complete a row, if a row takes no more than them; else one cycle.

    Throughput
    ----------
    ``min(slices, lanes)`` sums each cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    jobs : ``In(stream.Signature(job))``
    sums : ``In(stream.Signature(ArrayLayout(32, slices)))``
        For each job: for each column, ``height`` times.
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
            "sums": In(stream.Signature(data.ArrayLayout(32, config.slices))),
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

        # Where the next sums belong.
        height, column = Signal(4), Signal(7)
        last_row, last_column, taken, fetch = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            to_scores.eq((c.drain.drain == Drain.SCORES) | (c.drain.drain == Drain.SELECT)),
            last_row.eq(height == c.drain.height - 1),
            last_column.eq(column == c.drain.columns - 1),
            taken.eq(self.sums.valid & self.sums.ready),
            fetch.eq(~active | (taken & last_row & last_column)),
            self.jobs.ready.eq(fetch),
            self.busy.eq(active | self.jobs.valid | self.rows.valid),
        ]
        with m.If(taken):
            m.d.sync += height.eq(Mux(last_row, 0, height + 1))
            with m.If(last_row):
                m.d.sync += column.eq(column + 1)

        # The row of the workspace that the next sums belong to, or complete.
        place = Signal(row_place(config))
        block = Signal(16)          # of the column's first element
        start = Signal(5)           # element of the block at which the column starts
        step, last_in_column = Signal(), Signal()
        with m.If(step):
            m.d.sync += place.eq(place + 1)
            with m.If(last_in_column):
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
            row.raise0.eq(Mux(ends & c.drain["raise"] & (c.each | last_column),
                              c.drain.raise0, 0)),
        ]

        # Sums to rows.
        wide, ready = Value.cast(self.sums.payload), Signal()
        if config.slices >= config.lanes:
            # A row is a part of what comes.
            parts = config.slices // config.lanes
            part  = Signal(range(max(2, parts)))
            m.d.comb += [
                row.data.eq(wide.word_select(part, config.row_bits)),
                self.rows.payload.eq(row),
                self.rows.valid.eq(active & ~to_scores & self.sums.valid),
                step.eq(self.rows.valid & self.rows.ready),
                ready.eq(self.rows.ready & (part == parts - 1)),
                last_in_column.eq(last_row & (part == parts - 1)),
            ]
            with m.If(step):
                m.d.sync += part.eq(Mux(part == parts - 1, 0, part + 1))
        else:
            # A row is collected.
            parts  = config.lanes // config.slices
            middle = TILE_ROWS if halves else 0
            part   = Signal(range(parts))
            gathered = [Signal(len(wide), name=f"gathered_{n}") for n in range(parts)]
            m.d.comb += [
                ready.eq(~self.rows.valid | self.rows.ready),
                last_in_column.eq(last_row),
                step.eq(taken & ~to_scores & ((part == parts - 1) | (last_row & halves))),
                self.rows.p.data.eq(Cat(gathered)),
            ]
            with m.If(self.rows.ready):
                m.d.sync += self.rows.valid.eq(0)
            with m.If(taken & ~to_scores):
                m.d.sync += part.eq(Mux(step, middle & start[4].replicate(5), part + 1))
                with m.Switch(part):
                    for n, signal in enumerate(gathered):
                        with m.Case(n):
                            m.d.sync += signal.eq(wide)
            with m.If(step):
                m.d.sync += self.rows.valid.eq(1)
                m.d.sync += [self.rows.p[key].eq(row[key]) for key, _ in drained_row(config)
                             if key != "data"]

        # The next job.
        following = self.jobs.p
        with m.If(fetch):
            m.d.sync += [
                active.eq(self.jobs.valid), c.eq(following), height.eq(0), column.eq(0),
                block.eq(following.drain.dst), start.eq(following.drain.offset),
                place.eq(following.drain.offset >> exact_log2(config.lanes)), part.eq(0),
            ]
            if halves:
                m.d.sync += part.eq(Mux(following.drain.offset[4], middle, 0))

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
            self.scores.p.values.eq(wide[:32 * config.softmax_lanes]),
            self.sums.ready.eq(active & Mux(to_scores, self.scores.ready, ready)),
        ]
        if config.pages:
            m.d.comb += self.scores.p.bounds.eq(c.drain.drain == Drain.SELECT)
        return m
