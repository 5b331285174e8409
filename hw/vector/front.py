"""Front of the vector unit: commands in, rows out."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.signatures import Command, Take

from .control import Control
from .decode import parameters
from .flight import Flight, token
from .issue import Issue
from .lane import LaneControl
from .steps import Length, Route, Step, Term, To
from .taker import Taker


__all__ = ["Front"]


class Front(wiring.Component):
    """Executes commands step by step: issues the rows of each, and tells when and where they end.

    Latency
    -------
    Three cycles from ``commands`` to the first row; a row arrives as late as its route takes.

    Throughput
    ----------
    One row each cycle, two cycles a row for pairs; blocks of a reduction ``spacing`` cycles apart.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    rows : int
        Rows of the scratch memory.
    lanes : :class:`hw.vector.lanes.Lanes`
        Its latencies are waited for.
    spacing : int
        That of :class:`hw.vector.reduction.Reduction`.

    Members
    -------
    commands : ``In(stream.Signature(Command))``
    take0, take1 : ``Out(Take)``
    command, step, coming : ``Out(parameters)``, ``Out(Step)``, ``Out(Step)``
        The command, its present step, and with ``enter`` the one that begins.
    begin, enter : ``Out(1)``
        A command begins; a step begins.
    fill, filled : ``Out(1)``, ``In(1)``
        The scratch memory is to be filled for the step; it is.
    batch_rows : ``Out``
        Rows of the step, or those of the scratch memory if that has less; from the second cycle
        of the step on.
    left, ready, covered : ``Out(12)``, ``Out(1)``, ``In(12)``
        Blocks of the command that remain; one of them is there; those of a batch of divisors.
    space, last : ``In(1)``
        What takes part lets a block, or a divisor's row, begin; that is the last divisor.
    go, row, start, end, final : ``Out(1)``
        A slot is issued; it is the last one of its row, the first or last one of a block, or the
        last one of the step.
    turn, told : ``In(1)``, ``Out(1)``
        The slot is the last one of a vector; when its block is done, counters are raised.
    term : ``Out(1)``
        The second term of a row is wanted.
    arrived : ``Out(token)``
        A row leaves the lanes.
    control : ``Out(LaneControl)``
        What the lanes do.
    resting, deliver, busy : ``In(1)``, ``Out(1)``, ``Out(1)``
        As of :class:`hw.vector.control.Control`.
    """

    def __init__(self, config, rows, lanes, spacing):
        self.config = config
        self.rows = rows
        self.latency = {route: 1 + latency for route, latency in lanes.latency.items()}
        self.term_delay = lanes.term_delay
        self.function_delay = lanes.function_delay
        self.spacing = spacing
        super().__init__({
            "commands": In(stream.Signature(Command)), "take0": Out(Take), "take1": Out(Take),
            "command": Out(parameters), "step": Out(Step), "coming": Out(Step),
            "begin": Out(1), "enter": Out(1), "fill": Out(1), "filled": In(1),
            "batch_rows": Out(range(rows + 1)),
            "left": Out(12), "ready": Out(1), "covered": In(12), "space": In(1), "last": In(1),
            "go": Out(1), "row": Out(1), "start": Out(1), "end": Out(1),
            "final": Out(1), "turn": In(1), "told": Out(1), "term": Out(1), "arrived": Out(token),
            "control": Out(LaneControl),
            "resting": In(1), "deliver": Out(1), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        block_rows = self.config.block_rows
        batch      = self.rows // block_rows
        m.submodules.control = control = Control(self.rows, block_rows)
        m.submodules.taker   = taker   = Taker()
        m.submodules.issue   = issue   = Issue(self.config, self.spacing)
        m.submodules.flight  = flight  = Flight(self.latency, self.term_delay,
                                                   self.function_delay)
        command, step, coming = control.command, control.step, control.coming

        # Commands and their steps.
        wiring.connect(m, wiring.flipped(self.commands), control.commands)
        m.d.comb += [
            self.command.eq(command), self.step.eq(step), self.coming.eq(coming),
            self.begin.eq(control.begin), self.enter.eq(control.enter),
            self.fill.eq(control.fill), control.filled.eq(self.filled),
            control.ready.eq(taker.ready), control.final.eq(issue.final),
            control.empty.eq(flight.count == 0), flight.next_route.eq(coming.route),
            control.clear.eq(flight.clear), control.resting.eq(self.resting),
            self.deliver.eq(control.deliver), self.busy.eq(control.busy),
            self.left.eq(control.left), control.covered.eq(self.covered),
            self.ready.eq(taker.ready != 0),
        ]

        # Source blocks. A norm first takes a, then the gain, both with the first vector:
        # what remains of either needs nothing, and is there whenever a step begins.
        by_block = Signal()
        no_a, no_b = Signal(), Signal()
        wiring.connect(m, taker.take0, wiring.flipped(self.take0))
        wiring.connect(m, taker.take1, wiring.flipped(self.take1))
        m.d.comb += [
            by_block.eq((step.length == Length.ALL) | (step.length == Length.HEADS)
                        | (step.length == Length.VECTORS)),
            no_a.eq(control.second | control.later),
            no_b.eq(command.vectors & (~control.second | control.later)),
            taker.start.eq(control.take), taker.blocks.eq(control.left),
            taker.id0.eq(Mux(no_a, 0, command.take0)), taker.id1.eq(Mux(no_b, 0, command.take1)),
            taker.period.eq(Mux(command.table, command.period, 0)),
            taker.both.eq(command.vectors),
        ]
        with m.If(control.enter & (coming.length == Length.BATCH)):
            m.d.comb += taker.used.eq(control.blocks)
        with m.Elif(by_block):
            m.d.comb += taker.used.eq(issue.begin)

        # Rows. A chained step uses a row of the step before when that has arrived; both have as
        # many, so that their number is here in time.
        m.d.sync += self.batch_rows.eq(
            Mux(control.count < batch, control.count * block_rows, self.rows))
        m.d.comb += [
            issue.load.eq(control.enter), issue.blocks.eq(control.blocks),
            issue.single.eq(coming.length == Length.DIVISORS),
            issue.last.eq(self.last), issue.start.eq(control.run),
            issue.twice.eq(step.term == Term.PAIR), issue.spaced.eq(step.to == To.REDUCTION),
            issue.cut.eq(command.halves != 0),
            issue.may_begin.eq((~by_block | self.ready) & self.space),
            issue.may_go.eq(~step.chain | (flight.count < self.batch_rows)),
            self.go.eq(issue.go), self.row.eq(issue.row),
            self.start.eq(issue.begin), self.end.eq(issue.end), self.final.eq(issue.final),
            flight.go.eq(issue.row), flight.i.to.eq(step.to),
            flight.i.last.eq(Mux(step.to == To.WORKSPACE, self.end & self.told,
                                 issue.final | ((step.to == To.REDUCTION) & self.turn))),
            flight.i.route.eq(step.route), flight.i.function.eq(step.function),
            self.term.eq(flight.term), self.arrived.eq(flight.o),
        ]

        # Of vectors, only blocks of the last one are told to others. Their number is that of the
        # step before the one that writes.
        last_batch, in_last = Signal(), Signal()
        with m.If(control.enter):
            m.d.sync += [
                last_batch.eq(control.count == control.left),
                in_last.eq((command.period == 0) | (control.count <= command.period)),
            ]
        with m.Elif(self.turn):
            m.d.sync += in_last.eq(issue.left <= command.period + 1)
        m.d.comb += self.told.eq(~command.vectors | (last_batch & in_last))

        # The lanes: the step as of the cycle in which the row whose turn it is was issued.
        term = step.term
        for stage in range(1 + self.term_delay):
            delayed = Signal(Term, name=f"term_{stage}")
            m.d.sync += delayed.eq(term)
            term = delayed
        slot = Signal()
        m.d.sync += slot.eq(issue.slot)
        m.d.comb += [
            self.control.x.eq(step.x), self.control.y.eq(step.y), self.control.slot.eq(slot),
            self.control.term.eq(term), self.control.smaller.eq(step.route == Route.MINIMUM),
            self.control.source.eq(flight.loading.route),
            self.control.function.eq(flight.applying.function),
            self.control.route.eq(flight.leaving.route),
        ]
        return m
