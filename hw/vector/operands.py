"""Workspace addresses of a command's operands."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .decode import parameters
from .pieces import Part, Pieces, shape
from .steps import Step, Term, To
from .walker import Walker


__all__ = ["Operands"]


class Operands(wiring.Component):
    """Leads both read ports and the write port through the blocks of a command.

    Each operand goes on from step to step where it stopped, unless the step rewinds.

    Latency
    -------
    The enables are combinational; addresses are registers.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    command, step : ``In(parameters)``, ``In(Step)``
    begin : ``In(1)``
        A command begins.
    enter, coming : ``In(1)``, ``In(Step)``
        A step begins, this one.
    go, row, end : ``In(1)``
        A slot is issued; it is the last one of its row; of its block.
    term : ``In(1)``
        A row's second term is wanted.
    read : ``In(1)``
        The quantiser wants a row of b.
    write, rewrite : ``In(1)``
        A row of the result is there; it is the last one of those that the next step replaces.
    a_en, b_en : ``Out(1)``
    a, b, dst : ``Out(ceil_log2(config.rows))``
        Addresses.
    a_part, b_part : ``Out(Part)``
        What the quantiser wants of the row.
    turn : ``Out(1)``
        The slot is the last one of a period.
    """

    def __init__(self, config):
        self.config = config
        address = ceil_log2(config.rows)
        super().__init__({
            "command": In(parameters), "step": In(Step),
            "begin": In(1), "enter": In(1), "coming": In(Step),
            "go": In(1), "row": In(1), "end": In(1), "term": In(1), "read": In(1),
            "write": In(1), "rewrite": In(1),
            "a_en": Out(1), "b_en": Out(1),
            "a": Out(address), "b": Out(address), "dst": Out(address),
            "a_part": Out(Part), "b_part": Out(Part), "turn": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        command, step, coming = self.command, self.step, self.coming
        m.submodules.walker_a   = a   = Walker(self.config)
        m.submodules.walker_b   = b   = Walker(self.config)
        m.submodules.walker_dst = dst = Walker(self.config)
        m.d.comb += [self.a.eq(a.address), self.b.eq(b.address), self.dst.eq(dst.address)]
        for walker, block in (a, command.a), (b, command.b), (dst, command.dst):
            m.d.comb += [walker.load.eq(self.begin), walker.block.eq(block)]

        # The quantiser's two readings may go through pieces.
        m.submodules.pieces_a = pieces_a = Pieces(self.config)
        m.submodules.pieces_b = pieces_b = Pieces(self.config)
        m.d.comb += [
            pieces_a.row.eq(self.row), pieces_b.row.eq(self.read),
            self.a_part.eq(pieces_a.part), self.b_part.eq(pieces_b.part),
        ]
        for walker, pieces in (a, pieces_a), (b, pieces_b):
            m.d.comb += [walker.middle.eq(command.middle),
                         pieces.start.eq(self.begin), pieces.block.eq(command.a),
                         *(pieces.shape[key].eq(command[key]) for key, _ in shape)]

        skip = Signal()
        m.d.comb += skip.eq(self.end & command.alternate)
        m.d.comb += [
            self.a_en.eq(self.go & step.uses_a),
            a.advance.eq(self.row & step.uses_a & ~pieces_a.stay),
            a.skip.eq(skip),
            a.mark.eq(self.enter & (coming.mark | coming.again)),
            a.rewind.eq(self.enter & coming.rewind),
            a.jump.eq((self.enter & coming.again) | pieces_a.jump),
            a.to.eq(Mux(pieces_a.jump, pieces_a.to, dst.marked)),
        ]

        # A second term of b comes later, when its product is there.
        late = Signal()
        m.d.comb += late.eq(step.term == Term.B)
        m.d.comb += [
            self.b_en.eq(self.read | (step.uses_b & Mux(late, self.term, self.go))),
            b.jump.eq(pieces_b.jump), b.to.eq(pieces_b.to),
            b.advance.eq((self.read & ~pieces_b.stay)
                         | (step.uses_b & Mux(late, self.term, self.row))),
            b.skip.eq(skip),
            dst.advance.eq(self.write),
            dst.mark.eq(self.enter & (coming.to == To.AGAIN)),
            dst.rewind.eq(self.rewrite),
        ]

        # A table begins again after each period; so does a divisor, or a vector.
        block = Signal(12)
        with m.If(self.enter):
            m.d.sync += block.eq(0)
        with m.If(self.end & command.periodic & step.uses_a):
            m.d.sync += block.eq(block + 1)
            with m.If(block + 1 == command.period):
                m.d.comb += self.turn.eq(1)
                m.d.sync += block.eq(0)
        with m.If(self.turn):
            m.d.comb += b.load.eq(1)
        return m
