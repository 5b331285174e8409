"""Counts the rows of one step as they go out."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


__all__ = ["Issue"]


class Issue(wiring.Component):
    """Issues the rows of a step, block by block, one slot each cycle.

    Latency
    -------
    The first slot is issued in the cycle after ``start``.

    Throughput
    ----------
    One slot each cycle, if allowed. ``go`` depends combinationally on ``may_begin`` and ``may_go``.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    spacing : int
        Least cycles between the beginnings of blocks, where ``spaced``.

    Members
    -------
    load, blocks, single : ``In(1)``, ``In(12)``, ``In(1)``
        A step comes, of so many blocks, or, if ``single``, of single rows.
    last : ``In(1)``
        The next of single rows is the step's last.
    start : ``In(1)``
        Begin the step; with ``load`` or later.
    twice, spaced : ``In(1)``
        Rows take two slots; blocks keep their distance. Constant while ``busy``.
    cut : ``In(1)``
        Rows that are blocks go by as two halves. Constant while ``busy``.
    may_begin, may_go : ``In(1)``
        A block or a single row, or any slot, may be issued in this cycle.
    go, slot : ``Out(1)``
        A slot is issued: the first or the second one of its row.
    row, begin, end, final : ``Out(1)``
        With ``go``: this is the last slot of a row; the first slot of a block; the last slot of a
        block; the last slot of the step.
    left : ``Out(12)``
        Blocks that remain, with the present one.
    busy : ``Out(1)``
        Slots remain.
    """

    def __init__(self, config, spacing):
        self.config = config
        self.spacing = spacing
        super().__init__({
            "load": In(1), "blocks": In(12), "single": In(1), "last": In(1), "start": In(1),
            "twice": In(1), "spaced": In(1), "cut": In(1), "may_begin": In(1), "may_go": In(1),
            "go": Out(1), "slot": Out(1), "row": Out(1), "begin": Out(1), "end": Out(1),
            "final": Out(1), "left": Out(12), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        rows = self.config.block_rows

        left     = self.left
        row      = Signal(range(max(rows, 2)))
        last_row = self.cut & (rows == 1) | rows - 1
        at_begin = Signal()
        at_last  = Signal()
        single   = Signal()
        distance = Signal(range(self.spacing + 1))
        m.d.comb += [
            self.go.eq(self.busy & self.may_go & (~at_begin | (self.may_begin & (distance == 0)))),
            self.row.eq(self.go & (~self.twice | self.slot)),
            self.begin.eq(self.go & at_begin),
            self.end.eq(self.row & (row == last_row)),
            self.final.eq(self.row & Mux(single, self.last, at_last) & (row == last_row)),
        ]
        with m.If(self.go):
            m.d.sync += [at_begin.eq(0), self.slot.eq(self.twice & ~self.slot)]
        with m.If(self.row & ~single):
            m.d.sync += row.eq(Mux(self.end, 0, row + 1))
        with m.If(self.end):
            m.d.sync += [left.eq(left - 1), at_last.eq(left == 2), at_begin.eq(1)]
        with m.If(self.final):
            m.d.sync += self.busy.eq(0)

        with m.If(self.begin & self.spaced):
            m.d.sync += distance.eq(self.spacing - 1)
        with m.Elif(distance != 0):
            m.d.sync += distance.eq(distance - 1)

        with m.If(self.start):
            m.d.sync += self.busy.eq(1)
        with m.If(self.load):
            m.d.sync += [
                self.slot.eq(0), at_begin.eq(1), single.eq(self.single),
                row.eq(Mux(self.single, rows - 1, 0)),
                left.eq(self.blocks), at_last.eq(self.blocks == 1),
            ]
        return m
