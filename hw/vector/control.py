"""Goes through the steps of vector commands."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.signatures import Command

from .decode import Decoder, parameters
from .steps import STEPS, Fill, Length, Step


__all__ = ["Control"]


class Control(wiring.Component):
    """Executes one command at a time, one step after the other.

    A step begins when the rows of the step before have left the lanes. One that chains begins
    when its rows cannot overtake those. The next command is accepted, and its blocks are taken,
    when the last row of a command has gone out, unless that command delivers what it has found.

    Latency
    -------
    Two cycles from ``commands`` to the first ``enter``, but that not before ``empty`` and
    ``resting``; one cycle from ``final``, or with ``empty``, to the next.

    Parameters
    ----------
    rows, block_rows : int
        Rows of the scratch memory, and of a block.

    Members
    -------
    commands : ``In(stream.Signature(Command))``
    command, step : ``Out(parameters)``, ``Out(Step)``
        What is being executed.
    take : ``Out(1)``
        Begin to take the blocks that remain.
    second, later : ``Out(1)``
        Only blocks of b, or none any more: ``take`` comes twice for each batch of a ``norm``, once
        for the vectors and once for their gain, which is that of all.
    begin : ``Out(1)``
        First ``enter`` of a command, or its end if it has no blocks.
    ready : ``In(12)``
        Blocks that are there.
    enter, coming : ``Out(1)``, ``Out(Step)``
        A step begins, this one; it is ``step`` from the next cycle on.
    left, covered : ``Out(12)``, ``In(12)``
        Blocks of the command that remain; those of the divisors of the step before.
    blocks, count : ``Out(12)``
        Blocks of the step, with ``enter``, and after it.
    fill, filled : ``Out(1)``, ``In(1)``
        The scratch memory is to be filled; it has been.
    run : ``Out(1)``
        Rows may go out from the next cycle on.
    final, empty, clear : ``In(1)``
        The last row goes out; no row is in the lanes; rows of the coming step do not overtake.
    resting : ``In(1)``
        Nothing remains to be done after the last row.
    deliver : ``Out(1)``
        A command that is to deliver its result is complete.
    busy : ``Out(1)``
    """

    def __init__(self, rows, block_rows):
        self.rows  = rows
        self.batch = rows // block_rows
        super().__init__({
            "commands": In(stream.Signature(Command)),
            "command": Out(parameters), "step": Out(Step),
            "take": Out(1), "second": Out(1), "later": Out(1),
            "begin": Out(1), "ready": In(12),
            "enter": Out(1), "coming": Out(Step),
            "left": Out(12), "covered": In(12), "blocks": Out(12), "count": Out(12),
            "fill": Out(1), "filled": In(1), "run": Out(1), "final": In(1), "empty": In(1),
            "clear": In(1), "resting": In(1), "deliver": Out(1), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        command, step, coming = self.command, self.step, self.coming
        m.submodules.decoder = decoder = Decoder()
        m.d.comb += decoder.i.eq(self.commands.p)

        number = Signal(range(len(STEPS)))
        with m.Switch(number):
            for n, fields in enumerate(STEPS):
                with m.Case(n):
                    m.d.comb += coming.eq(Step.const(fields))

        # Blocks of the coming step. Vectors are as many as the scratch memory has rows; their step
        # waits for the one before, and so for this register.
        most    = Signal(range(self.rows * 2**12))
        vectors = Signal(12)
        m.d.comb += most.eq(command.period * self.rows)
        m.d.sync += vectors.eq(
            Mux((command.period == 0) | (self.left < most), self.left, most))
        with m.Switch(coming.length):
            with m.Case(Length.ALL):
                m.d.comb += self.blocks.eq(self.left)
            with m.Case(Length.VECTORS):
                m.d.comb += self.blocks.eq(vectors)
            with m.Case(Length.HEADS):
                m.d.comb += self.blocks.eq(self.covered)
            with m.Case(Length.BATCH):
                m.d.comb += self.blocks.eq(Mux(self.ready > self.batch, self.batch, self.ready))
            with m.Default():
                m.d.comb += self.blocks.eq(self.count)

        fresh   = Signal()       # nothing of the command has gone out
        restart = Signal()
        m.d.sync += restart.eq(0)
        with m.If(self.enter):
            m.d.sync += [step.eq(coming), self.count.eq(self.blocks), fresh.eq(0)]
            with m.If(command.vectors & (coming.length == Length.DIVISORS)):
                m.d.sync += [restart.eq(1), self.second.eq(1)]
            with m.If((coming.length == Length.VECTORS) & self.second):
                m.d.sync += [restart.eq(1), self.second.eq(0), self.later.eq(1)]

        # What is found, and what the quantiser delivers, needs the command until the end.
        rests = Signal()
        m.d.comb += rests.eq(self.empty & self.resting)

        def accept():
            m.d.comb += self.commands.ready.eq(1)
            with m.If(self.commands.valid):
                m.d.sync += [
                    self.busy.eq(1), fresh.eq(1), self.second.eq(0), self.later.eq(0),
                    command.eq(decoder.o), number.eq(decoder.o.entry),
                    self.left.eq(decoder.o.blocks),
                ]
                m.next = "BEGIN"

        m.d.comb += self.take.eq(restart)
        with m.FSM():
            with m.State("REST"):
                accept()
            with m.State("BEGIN"):
                m.d.comb += self.take.eq(1)
                m.next = "ENTER"
                with m.If(command.blocks == 0):
                    m.next = "NOTHING"
            with m.State("NOTHING"):
                with m.If(rests):
                    m.d.comb += self.begin.eq(1)
                    m.next = "FINISH"
            with m.State("ENTER"):
                there = (coming.length != Length.BATCH) | (self.ready != 0)
                m.d.comb += [
                    self.enter.eq(there & Mux(fresh, rests,
                                              self.empty | (coming.chain & self.clear))),
                    self.begin.eq(self.enter & fresh),
                ]
                with m.If(self.enter):
                    m.next = "RUN"
                    with m.If(coming.fill != Fill.NOISE):
                        m.d.comb += self.run.eq(1)
                    with m.Else():
                        m.next = "FILL"
            with m.State("FILL"):
                m.d.comb += self.fill.eq(1)
                with m.If(self.filled):
                    m.d.comb += self.run.eq(1)
                    m.next = "RUN"
            with m.State("RUN"):
                with m.If(self.final):
                    m.d.sync += number.eq(number + 1)
                    m.next = "ENTER"
                    with m.If(step.last):
                        m.d.sync += [number.eq(step.loop),
                                         self.left.eq(self.left - self.count)]
                        with m.If(self.left == self.count):
                            m.next = "FINISH"
            with m.State("FINISH"):
                with m.If(rests):
                    m.d.sync += self.busy.eq(0)
                    m.next = "REST"
                    with m.If(command.last):
                        m.d.comb += self.deliver.eq(1)
                        m.d.sync += self.busy.eq(1)
                        m.next = "DELIVER"
                with m.If(~command.last & (~command.quantise | rests)):
                    accept()
            with m.State("DELIVER"):
                with m.If(self.resting):
                    m.d.sync += self.busy.eq(0)
                    m.next = "REST"
        return m
