"""Vector unit: FP32 operations on blocks of the workspace."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw import isa
from hw.memory.staging import staging_write
from hw.signatures import Command, Raise, Take, act_write, fixed_read, fixed_write

from .constants import Constants
from .filler import Filler
from .front import Front
from .lanes import Lanes
from .operands import Operands
from .picker import Picker
from .quantiser import Quantiser
from .raiser import Raiser
from .reduction import Reduction
from .scratch import Scratch
from .steps import Length, Term, To


__all__ = ["VectorUnit"]


class VectorUnit(wiring.Component):
    """Norm, rotary embedding, gate, division, sums, products, extremes, quantisation, and choice
    of a token.

    The numerical references are :func:`verif.reference.norm`, ``rope``, ``gate``, ``divide``,
    ``quantise`` and ``pick``; ``sum``, ``multiply``, ``maximum`` and ``minimum`` are those of
    :mod:`verif.reference.floats`. A machine without ``pages`` has no ``maximum`` and ``minimum``:
    there their results are unspecified. Commands are executed one at a time, in the steps that
    :mod:`hw.vector.steps` lists. All operations but ``quantise`` may write where they read, but
    ``norm`` not where its gain is.

    ``take0``, ``take1``: one unit for each block of a, and of b. ``raise0``: one for each block
    written. ``raise1``: one for each block of a read for the last time, and for ``gate`` two for
    each pair of source blocks. Of the vectors of a ``norm`` only the first one's blocks are taken,
    and only the last one's raised. ``blocks`` counts blocks of the result.

    Throughput
    ----------
    A row each cycle in every step. ``sum``, ``multiply``, ``maximum``, ``minimum``, ``divide``,
    ``pick``: 1 step; ``rope``: 1 step of two cycles a row; ``norm``: 3; ``gate``: 4. Steps with
    results in the scratch memory take as many blocks at once, ``divide`` as many divisors, as are
    there and as it holds; ``norm`` as many vectors.

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
    nan : ``Out(1)``
        A group was quantised that has a NaN or an infinity among its elements.
    busy : ``Out(1)``
        A command is being executed.
    """

    #: Rows of the scratch memory. As many rows at most go through each step of a batch, and the
    #: cycles between steps, 27 for ``gate``, come once a batch: a tenth of what its rows take. On
    #: an ECP5 so many rows become block RAM, one for each lane, which takes less lookup tables than
    #: 16 rows of distributed memory.
    scratch_rows = 64

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
            "seed": In(64), "nan": Out(1), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        reduction = Reduction(config)
        lanes     = Lanes(config)
        m.submodules.front     = front     = Front(config, self.scratch_rows, lanes,
                                                   reduction.spacing)
        m.submodules.operands  = operands  = Operands(config)
        m.submodules.scratch   = scratch   = Scratch(config, self.scratch_rows)
        m.submodules.filler    = filler    = Filler(config, self.scratch_rows)
        m.submodules.constants = constants = Constants()
        m.submodules.lanes     = lanes
        m.submodules.reduction = reduction
        m.submodules.picker    = picker    = Picker(config)
        m.submodules.quantiser = quantiser = Quantiser(config)
        m.submodules.raiser0   = raiser0   = Raiser()
        m.submodules.raiser1   = raiser1   = Raiser()
        command, step, coming = front.command, front.step, front.coming

        # Commands come in at the front, which issues rows; rows arrive somewhere.
        wiring.connect(m, wiring.flipped(self.commands), front.commands)
        wiring.connect(m, front.take0, wiring.flipped(self.take0))
        wiring.connect(m, front.take1, wiring.flipped(self.take1))
        arrives = {to: Signal(name=f"arrives_{to.name.lower()}") for to in To}
        m.d.comb += [signal.eq(front.arrived.to == to) for to, signal in arrives.items()]
        m.d.comb += [
            self.busy.eq(front.busy),
            front.resting.eq(~(raiser0.busy | raiser1.busy | picker.busy | quantiser.busy)),
        ]

        # Operands: the workspace and the scratch memory.
        m.d.comb += [
            operands.command.eq(command), operands.step.eq(step),
            operands.begin.eq(front.begin), operands.enter.eq(front.enter),
            operands.coming.eq(coming), front.turn.eq(operands.turn),
            operands.go.eq(front.go), operands.row.eq(front.row), operands.end.eq(front.end),
            operands.term.eq(front.term), operands.read.eq(quantiser.read),
            operands.write.eq(self.write.en),
            operands.rewrite.eq(arrives[To.AGAIN] & front.arrived.last),
            self.a.en.eq(operands.a_en), self.a.address.eq(operands.a),
            self.b.en.eq(operands.b_en), self.b.address.eq(operands.b),
            self.write.en.eq(arrives[To.WORKSPACE] | arrives[To.AGAIN]),
            self.write.address.eq(operands.dst),
            self.write.data.eq(lanes.o),
            scratch.enter.eq(front.enter), scratch.last.eq(front.arrived.last),
            scratch.read.eq(step.uses_s & Mux(step.term == Term.S, front.term, front.row)),
            scratch.stay.eq((step.length == Length.HEADS) & ~operands.turn),
            scratch.write.eq(arrives[To.SCRATCH]), scratch.i.eq(lanes.o),
            filler.fill.eq(front.fill), filler.rows.eq(front.batch_rows),
            front.filled.eq(filler.filled), filler.enter.eq(front.enter),
            filler.kind.eq(coming.fill),
            filler.begin.eq(front.begin), filler.command.eq(command), filler.seed.eq(self.seed),
        ]
        wiring.connect(m, wiring.flipped(self.sums), filler.sums)
        wiring.connect(m, filler.o, scratch.fill)
        divides = Signal()
        m.d.comb += [
            divides.eq(step.length == Length.DIVISORS),
            filler.left.eq(front.left), filler.ready.eq(front.ready),
            filler.blocked.eq(scratch.write), filler.used.eq(front.row & divides),
            front.last.eq(filler.last), front.covered.eq(filler.covered),
        ]

        # Lanes, and the reduction behind their tree.
        m.d.comb += [
            constants.enter.eq(front.enter), constants.factor.eq(coming.factor),
            constants.addend.eq(coming.addend), constants.immediate.eq(command.imm),
            lanes.factor.eq(constants.factor_bits), lanes.addend.eq(constants.addend_bits),
            lanes.control.eq(front.control),
            lanes.a.eq(self.a.data), lanes.b.eq(self.b.data), lanes.s.eq(scratch.o),
            reduction.addend.eq(command.imm),
            reduction.valid.eq(arrives[To.REDUCTION]), reduction.last.eq(front.arrived.last),
            reduction.i.eq(lanes.root),
            filler.total_valid.eq(reduction.done), filler.total.eq(reduction.total),
        ]

        # Picked indices, and quantised blocks.
        wiring.connect(m, picker.token, wiring.flipped(self.token))
        wiring.connect(m, quantiser.act, wiring.flipped(self.act))
        quantises = Signal()
        m.d.comb += [
            picker.start.eq(front.begin), picker.index.eq(command.index),
            picker.forget.eq(command.first), picker.deliver.eq(front.deliver),
            picker.valid.eq(arrives[To.PICK]), picker.values.eq(lanes.o),
            quantises.eq(step.to == To.QUANTISER),
            front.space.eq((~quantises | quantiser.space) & (~divides | filler.there)),
            quantiser.start.eq(front.begin & command.quantise),
            quantiser.row_read.eq(front.row & quantises),
            quantiser.block_begin.eq(front.start & quantises),
            quantiser.block_end.eq(front.end & quantises), quantiser.command_end.eq(front.final),
            quantiser.a.eq(self.a.data), quantiser.b.eq(self.b.data),
            quantiser.a_part.eq(operands.a_part), quantiser.b_part.eq(operands.b_part),
            quantiser.cut.eq(command.halves != 0),
            quantiser.staged.eq(command.target == isa.TARGETS.index("staging")),
            quantiser.up.eq(command.rule == isa.RULES.index("up")),
            self.staging.eq(quantiser.staging), self.nan.eq(quantiser.nan),
            *(getattr(quantiser, name).eq(command[name])
              for name in ("blocks", "group", "element", "sign", "dst", "per_vector",
                           "columns")),
        ]

        # Counters of what is written, and of what is no longer needed.
        wiring.connect(m, raiser0.o, wiring.flipped(self.raise0))
        wiring.connect(m, raiser1.o, wiring.flipped(self.raise1))
        written = arrives[To.WORKSPACE] & front.arrived.last
        m.d.comb += [
            raiser0.start.eq(front.begin), raiser0.id.eq(command.raise0),
            raiser0.add.eq(written | quantiser.written),
            raiser1.start.eq(front.begin), raiser1.id.eq(command.raise1),
            raiser1.add.eq(Mux(front.end & front.told, step.release, 0) | quantiser.released),
        ]
        return m
