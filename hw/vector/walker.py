"""Row address of one operand."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2


__all__ = ["Walker"]


class Walker(wiring.Component):
    """Walks through the rows of blocks of the workspace.

    Latency
    -------
    One cycle from any input to ``address``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    load, block, middle : ``In(1)``, ``In(16)``, ``In(1)``
        Go to the first row of a block, or of its upper half, and remember it. With 32 lanes a row
        has both halves.
    advance, skip : ``In(1)``
        Go to the next row; with ``skip`` over one block.
    mark, rewind : ``In(1)``
        Remember the address, and go back to where that was.
    jump, to : ``In(1)``, ``In(ceil_log2(config.rows))``
        Go to this row.
    address, marked : ``Out(ceil_log2(config.rows))``
        The current row, and the one that is remembered.
    """

    def __init__(self, config):
        self.config = config
        address = ceil_log2(config.rows)
        super().__init__({
            "load": In(1), "block": In(16), "middle": In(1), "advance": In(1), "skip": In(1),
            "mark": In(1), "rewind": In(1), "jump": In(1), "to": In(address),
            "address": Out(address), "marked": Out(address),
        })

    def elaborate(self, platform):
        m = Module()
        rows  = self.config.block_rows
        first = Signal.like(self.address)
        m.d.comb += first.eq(self.block << exact_log2(rows) | Mux(self.middle, rows >> 1, 0))
        with m.If(self.load):
            m.d.sync += self.address.eq(first)
        with m.Elif(self.rewind):
            m.d.sync += self.address.eq(self.marked)
        with m.Elif(self.jump):
            m.d.sync += self.address.eq(self.to)
        with m.Elif(self.advance):
            m.d.sync += self.address.eq(self.address + Mux(self.skip, rows + 1, 1))
        with m.If(self.load):
            m.d.sync += self.marked.eq(first)
        with m.Elif(self.mark):
            m.d.sync += self.marked.eq(self.address)
        return m
