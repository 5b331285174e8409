"""Vector unit: FP32 operations on blocks of the workspace."""

import struct

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw import isa
from hw.memory.staging import staging_write
from hw.signatures import Command, Raise, Take, act_write, fixed_read, fixed_write

from .control import Control
from .flight import Flight
from .issue import Issue
from .lanes import Lanes
from .noise import Noise
from .operands import Operands
from .picker import Picker
from .quantiser import Quantiser
from .reduction import Reduction
from .scratch import Scratch
from .steps import Addend, Factor, Fill, Length, Term, To
from .taker import Taker


__all__ = ["VectorUnit"]


#: Constants that steps multiply by, and add.
FACTORS = {Factor.ONE: 1.0, Factor.MINUS_LOG2_E: -1.44269504, Factor.MINUS_LN_2: -0.6931472}
ADDENDS = {Addend.ONE: 1.0, Addend.UNIFORM: 2.0**-24 - 1}


def float_bits(x):
    """FP32 bits of a number."""
    return int.from_bytes(struct.pack("<f", x), "little")


class VectorUnit(wiring.Component):
    """Norm, rotary embedding, gate, division, sums, products, quantisation, and choice of a token.

    The numerical references are :func:`verif.reference.norm`, ``rope``, ``gate``, ``divide``,
    ``quantise`` and ``pick``; ``sum`` and ``multiply`` are those of
    :mod:`verif.reference.floats`. Commands are executed one at a time, in the steps that
    :mod:`hw.vector.steps` lists. All operations but ``quantise`` may write where they read.

    ``take0``, ``take1``: one unit for each block of a, and of b. ``raise0``: one for each block
    written. ``raise1``: one for each block of a read for the last time, and for ``gate`` two for
    each pair of source blocks. ``blocks`` counts blocks of the result.

    Throughput
    ----------
    A row each cycle in every step. ``sum``, ``multiply``, ``divide``, ``pick``: 1 step;
    ``rope``: 1 step of two cycles a row; ``norm``: 3; ``gate``: 4. Steps with results in the
    scratch memory take as many blocks at once as are there and as it holds.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    commands : ``In(stream.Signature(Command))``
    a, b : ``Out(fixed_read(config))``
        Operands from the workspace.
    write : ``Out(fixed_write(config))``
        Results to the workspace.
    act : ``Out(stream.Signature(act_write(config)))``
        Quantised vectors.
    staging : ``Out(staging_write(config))``
        Quantised keys and values.
    sums : ``In(stream.Signature(32))``
        Divisors, one for each head.
    token : ``Out(stream.Signature(32))``
        Picked indices.
    take0, take1 : ``Out(Take)``
    raise0, raise1 : ``Out(Raise)``
    seed : ``In(64)``
        Of the noise; constant during a run.
    busy : ``Out(1)``
        A command is being executed.
    """

    #: Rows of the scratch memory.
    scratch_rows = 16

    def __init__(self, config):
        self.config = config
        super().__init__({
            "commands": In(stream.Signature(Command)),
            "a": Out(fixed_read(config)), "b": Out(fixed_read(config)),
            "write": Out(fixed_write(config)),
            "act": Out(stream.Signature(act_write(config))),
            "staging": Out(staging_write(config)),
            "sums": In(stream.Signature(32)), "token": Out(stream.Signature(32)),
            "take0": Out(Take), "take1": Out(Take),
            "raise0": Out(Raise), "raise1": Out(Raise),
            "seed": In(64), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.control   = control   = Control(self.scratch_rows // config.block_rows)
        m.submodules.taker     = taker     = Taker()
        m.submodules.operands  = operands  = Operands(config)
        m.submodules.scratch   = scratch   = Scratch(config, self.scratch_rows)
        m.submodules.lanes     = lanes     = Lanes(config)
        m.submodules.reduction = reduction = Reduction(config)
        m.submodules.picker    = picker    = Picker(config)
        m.submodules.quantiser = quantiser = Quantiser(config)
        m.submodules.noise     = noise     = Noise(config, self.scratch_rows)
        m.submodules.issue     = issue     = Issue(config, reduction.spacing)
        m.submodules.flight    = flight    = Flight(
            {route: 1 + latency for route, latency in lanes.latency.items()}, lanes.term_delay)
        command, step = control.command, control.step

        # Commands and their steps.
        wiring.connect(m, wiring.flipped(self.commands), control.commands)
        m.d.comb += [
            self.busy.eq(control.busy),
            control.ready.eq(taker.ready), control.final.eq(issue.final),
            control.empty.eq(flight.count == 0),
        ]

        # Source blocks. A norm first takes all of a, then all of the gain.
        by_block = Signal()
        quantises = Signal()
        wiring.connect(m, taker.take0, wiring.flipped(self.take0))
        wiring.connect(m, taker.take1, wiring.flipped(self.take1))
        m.d.comb += [
            by_block.eq((step.length == Length.ALL) | (step.length == Length.HEAD)),
            quantises.eq(step.to == To.QUANTISER),
            taker.start.eq(control.begin | control.restart),
            taker.blocks.eq(command.blocks),
            taker.id0.eq(Mux(control.second, 0, command.take0)),
            taker.id1.eq(Mux(control.second | ~command.late_b, command.take1, 0)),
            taker.period.eq(Mux(command.table, command.period, 0)),
        ]
        with m.If(by_block):
            m.d.comb += taker.used.eq(issue.begin)
        with m.Elif(control.enter & (step.length == Length.BATCH)):
            m.d.comb += taker.used.eq(control.blocks)

        # Rows. A chained step uses a row of the step before when that has arrived.
        batch_rows = Signal(range(self.scratch_rows + 1))
        m.d.comb += [
            batch_rows.eq(control.count * config.block_rows),
            issue.start.eq(control.run), issue.blocks.eq(control.blocks),
            issue.single.eq(step.length == Length.ROW),
            issue.twice.eq(step.term == Term.PAIR), issue.spaced.eq(step.to == To.REDUCTION),
            issue.may_begin.eq((~by_block | (taker.ready != 0)) & (~quantises | quantiser.space)),
            issue.may_go.eq(~step.chain | (flight.count < batch_rows)),
            flight.go.eq(issue.row), flight.route.eq(step.route), flight.i.to.eq(step.to),
            flight.i.last.eq(Mux(step.to == To.REDUCTION, issue.final, issue.end)),
        ]
        arrives = {to: Signal(name=f"arrives_{to.name.lower()}") for to in To}
        m.d.comb += [signal.eq(flight.o.to == to) for to, signal in arrives.items()]

        # Operands.
        m.d.comb += [
            operands.command.eq(command), operands.step.eq(step),
            operands.begin.eq(control.begin), operands.enter.eq(control.enter),
            operands.go.eq(issue.go), operands.row.eq(issue.row), operands.end.eq(issue.end),
            operands.term.eq(flight.term), operands.read.eq(quantiser.read),
            operands.write.eq(self.write.en),
            self.a.en.eq(operands.a_en), self.a.address.eq(operands.a),
            self.b.en.eq(operands.b_en), self.b.address.eq(operands.b),
            self.write.en.eq(arrives[To.WORKSPACE]), self.write.address.eq(operands.dst),
            self.write.data.eq(lanes.o),
            scratch.enter.eq(control.enter), scratch.keep.eq(step.chain),
            scratch.read.eq(step.uses_s & Mux(step.term == Term.S, flight.term, issue.row)),
            scratch.write.eq(arrives[To.SCRATCH]), scratch.i.eq(lanes.o),
        ]

        # Lanes.
        scalar = Signal(32)
        with m.If(arrives[To.SCALAR]):
            m.d.sync += scalar.eq(lanes.o[:32])
        with m.If(control.enter):
            m.d.sync += lanes.addend.eq(select(step.addend, ADDENDS, {}))
            m.d.sync += lanes.factor.eq(select(step.factor, FACTORS, {
                Factor.SCALAR: scalar, Factor.IMMEDIATE: command.imm}))
        slot = Signal()
        m.d.sync += slot.eq(issue.slot)
        m.d.comb += [
            lanes.control.slot.eq(slot),
            lanes.a.eq(self.a.data), lanes.b.eq(self.b.data), lanes.s.eq(scratch.o),
            *(lanes.control[key].eq(step[key]) for key in ("x", "y", "term", "route", "function")),
            reduction.clear.eq(control.begin), reduction.addend.eq(command.imm),
            reduction.valid.eq(arrives[To.REDUCTION]), reduction.last.eq(flight.o.last),
            reduction.i.eq(lanes.root),
        ]

        # Rows that do not come from the lanes.
        fill, noisy = scratch.fill, Signal()
        m.d.comb += [
            noisy.eq(step.fill == Fill.NOISE),
            noise.start.eq(control.begin), noise.index.eq(command.index),
            noise.position.eq(command.position), noise.seed.eq(self.seed),
            noise.fill.eq(control.fill & noisy), noise.rows.eq(batch_rows),
        ]
        with m.Switch(step.fill):
            with m.Case(Fill.TOTAL):
                m.d.comb += [
                    control.filled.eq(reduction.done),
                    fill.data.eq(reduction.total.replicate(2)),
                ]
            with m.Case(Fill.DIVISOR):
                m.d.comb += [
                    control.filled.eq(self.sums.valid), self.sums.ready.eq(control.fill),
                    fill.data.eq(self.sums.payload.replicate(2)),
                ]
            with m.Default():
                m.d.comb += [
                    control.filled.eq(noise.done), fill.data.eq(noise.o.data),
                    fill.row.eq(noise.o.row),
                ]
        m.d.comb += [
            fill.en.eq(control.fill & Mux(noisy, noise.o.en, control.filled)),
            fill.pairs.eq(Mux(noisy, noise.o.pairs, -1)),
        ]

        # Picked indices, and quantised blocks.
        wiring.connect(m, picker.token, wiring.flipped(self.token))
        wiring.connect(m, quantiser.act, wiring.flipped(self.act))
        m.d.comb += [
            picker.start.eq(control.begin), picker.index.eq(command.index),
            picker.forget.eq(command.first), picker.deliver.eq(control.deliver),
            picker.valid.eq(arrives[To.PICK]), picker.values.eq(lanes.o),
            quantiser.start.eq(control.begin & command.quantise),
            quantiser.row_read.eq(issue.row & quantises),
            quantiser.begin.eq(issue.begin & quantises),
            quantiser.end.eq(issue.end & quantises), quantiser.final.eq(issue.final),
            quantiser.a.eq(self.a.data), quantiser.b.eq(self.b.data),
            quantiser.staged.eq(command.target == isa.TARGETS.index("staging")),
            self.staging.eq(quantiser.staging),
            *(getattr(quantiser, name).eq(command[name])
              for name in ("blocks", "group", "dst", "per_vector", "columns")),
        ]

        # Raises: one each cycle; the others wait.
        waiting = Signal(14)
        m.d.sync += self.raise0.en.eq((self.write.en & flight.o.last) | quantiser.written)
        m.d.sync += waiting.eq(waiting - self.raise1.en + quantiser.released
                               + Mux(issue.end, step.release, 0))
        m.d.comb += [
            self.raise0.id.eq(command.raise0), self.raise1.id.eq(command.raise1),
            self.raise1.en.eq(waiting != 0),
            control.resting.eq((waiting == 0) & ~self.raise0.en
                               & ~picker.busy & ~quantiser.busy),
        ]
        return m


def select(choice, numbers, signals):
    """What ``choice``, an enumeration, names: the FP32 bits of a number, or a signal."""
    values = {key: float_bits(number) for key, number in numbers.items()} | signals
    chosen = next(iter(values.values()))
    for key, value in values.items():
        chosen = Mux(choice == key, value, chosen)
    return chosen
