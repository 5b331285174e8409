"""Keeps terms of the same accumulator row apart."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .layouts import TILE_ROWS
from .timing import Timing


__all__ = ["Hazard"]


class Hazard(wiring.Component):
    """Says when a beat may follow, so that no accumulator is read before it was written.

    A row of a block meets the same row of the block before. Terms of a row must be
    ``Timing.loop`` cycles apart, so that short blocks are followed by idle cycles. A product that
    adds to the accumulators of an earlier one waits for that one's last beat; rows of tiles and
    rows that are kept (from row 16 on) are told apart.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    beat : ``In(1)``
        A beat is issued.
    kept : ``In(1)``
        It belongs to rows from 16 on.
    ends_block : ``In(1)``
        It is the last one of its block, and the next block belongs to the same pass...
    next_is_half : ``In(1)``
        ...and has only one half.
    lines : ``In(5)``
        Rows, or pairs of rows, of the tile.
    double : ``In(1)``
        Each half of a row is two beats.
    joins : ``In(1)``
        The next beat adds to the accumulators of an earlier product.
    clear : ``Out(1)``
        The next beat may be issued.
    """

    beat:         In(1)
    kept:         In(1)
    ends_block:   In(1)
    next_is_half: In(1)
    lines:        In(5)
    double:       In(1)
    joins:        In(1)
    clear:        Out(1)

    def __init__(self, config):
        self.loop = Timing(config).loop
        assert self.loop <= TILE_ROWS
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        loop = self.loop

        # Idle cycles: what the shorter one of two blocks lacks.
        beats = Signal(7)
        idle  = Signal(range(loop + 1))
        m.d.comb += beats.eq(Mux(self.next_is_half, self.lines, self.lines << 1) << self.double)
        with m.If(self.ends_block):
            m.d.sync += idle.eq(Mux(beats < loop, loop - beats, 0))
        with m.Elif(idle != 0):
            m.d.sync += idle.eq(idle - 1)

        # Cycles since the last beat for rows of tiles, and for rows that are kept.
        since = Array(Signal(range(loop + 1), init=loop, name=f"since_{n}") for n in range(2))
        for n, cycles in enumerate(since):
            with m.If(self.beat & (self.kept == n)):
                m.d.sync += cycles.eq(0)
            with m.Elif(cycles != loop):
                m.d.sync += cycles.eq(cycles + 1)
        m.d.comb += self.clear.eq((idle == 0) & (~self.joins | (since[self.kept] == loop)))
        return m
