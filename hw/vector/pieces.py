"""Where the rows of pieces lie, such as heads that are not whole blocks."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2


__all__ = ["Part", "Pieces", "shape"]


#: Fields of ``quantise``: halves of a piece; whether the first one begins in the middle of a block;
#: halves of zeros behind each; pieces of a run, and blocks from one to the next; halves from the
#: first piece of a run to that of the next.
shape = data.StructLayout({"halves": 5, "middle": 1, "zeros": 4, "pieces": 8, "stride": 12,
                           "step": 5})

#: What is wanted of a row: nothing but zeros, whatever is read; and, where a row is a block, its
#: upper half instead of the lower one.
Part = data.StructLayout({"zero": 1, "upper": 1})


class Pieces(wiring.Component):
    """Leads a walker through pieces of the workspace, with zeros between them.

    A piece is some half blocks. Runs of pieces follow each other; the pieces of a run have a
    distance of whole blocks. Behind the rows of each piece stand rows of zeros, which are not
    read. The numerical reference is :func:`verif.reference.pieces.pieces`.

    With 32 lanes, where a row is a whole block, each half of a block goes by alone.

    Latency
    -------
    Combinational from ``row``; the first row may go by one cycle after ``start``.

    Throughput
    ----------
    One row each cycle, or half of one with 32 lanes.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    start, block : ``In(1)``, ``In(16)``
        A command begins, with the first piece in this block.
    shape : ``In(shape)``
        Constant until the next command; without halves rows follow each other.
    row : ``In(1)``
        A row goes by.
    part : ``Out(Part)``
        What is wanted of it.
    stay : ``Out(1)``
        The walker stays where it is, unless it jumps.
    jump, to : ``Out(1)``, ``Out(ceil_log2(config.rows))``
        The row behind it is this one.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "start": In(1), "block": In(16), "shape": In(shape), "row": In(1),
            "part": Out(Part), "stay": Out(1), "jump": Out(1), "to": Out(ceil_log2(config.rows)),
        })

    def elaborate(self, platform):
        m = Module()
        cut = self.shape.halves != 0
        # What goes by in a cycle: a row, or half of one.
        whole  = self.config.block_rows == 1
        blocks = exact_log2(max(self.config.block_rows, 2))
        halves = blocks - 1

        length = self.shape.halves << halves
        left   = Signal(range(32 << halves))           # of the piece
        zeros  = Signal.like(left)
        number = Signal(8)                             # piece of the run
        piece  = Signal(len(self.to) + whole)          # beginnings of the piece and of the run
        run    = Signal.like(piece)
        to     = Signal.like(piece)
        turn   = Signal()
        m.d.comb += [
            self.part.zero.eq(cut & (zeros != 0)),
            self.stay.eq(cut & (self.part.zero | (whole & ~self.part.upper))),
            turn.eq(number + 1 == self.shape.pieces),
            self.jump.eq(self.row & cut & ~self.part.zero & (left == 1)),
            to.eq(Mux(turn, run + (self.shape.step << halves),
                      piece + (self.shape.stride << blocks))),
            self.to.eq(to >> whole),
        ]
        with m.If(self.row & self.part.zero):
            m.d.sync += zeros.eq(zeros - 1)
        with m.Elif(self.jump):
            m.d.sync += [
                left.eq(length), zeros.eq(self.shape.zeros << halves), piece.eq(to),
                number.eq(Mux(turn, 0, number + 1)), self.part.upper.eq(to[0] & whole),
            ]
            with m.If(turn):
                m.d.sync += run.eq(to)
        with m.Elif(self.row):
            m.d.sync += [left.eq(left - 1), self.part.upper.eq(~self.part.upper & cut & whole)]
        with m.If(self.start):
            first = self.block << blocks | self.shape.middle << halves
            m.d.sync += [
                left.eq(length), zeros.eq(0), number.eq(0), piece.eq(first), run.eq(first),
                self.part.upper.eq(self.shape.middle & whole),
            ]
        return m
