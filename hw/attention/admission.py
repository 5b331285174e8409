"""Lets commands of the matrix unit in, one after another."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw import isa
from hw.attention.geometry import forward_job
from hw.attention.products import is_select, plain_product
from hw.memory.queue import Queue
from hw.memory.sizes import is_packed
from hw.signatures import Command, Raise, Take, array_command, command_fields


__all__ = ["UNDER_WAY", "Admission"]


#: Most commands of attention whose products are under way: keys of one may come before the last
#: values of the one before.
UNDER_WAY = 2


class Admission(wiring.Component):
    """Passes ``matmul`` on, and opens ``attend`` and ``select`` when their queries are there.

    The array works in the order of the commands: ``matmul`` and ``select`` wait until nothing is
    open. An ``attend`` is opened while others are, so that counters are taken meanwhile. One
    without tokens has no products: it waits its turn, and only raises ``raise1``.

    Latency
    -------
    0 for ``matmul``; a cycle for each block of queries and 2 more for the others.

    Throughput
    ----------
    One ``matmul`` a cycle. ``commands.ready`` depends on ``array.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    commands : ``In(stream.Signature(Command))``
    array : ``Out(stream.Signature(array_command(config)))``
        Products of ``matmul``.
    keys : ``Out(stream.Signature(Command))``
        ``attend`` and ``select`` whose keys may go. Taken with the last of them.
    values : ``Out(stream.Signature(isa.WORD_BITS))``
        ``attend`` whose values may go. Taken with the last of them.
    forwards : ``Out(stream.Signature(forward_job))``, only if ``config.forward``
        What the walks of ``attend`` need that are opened, if they have ``forward``.
    take0 : ``Take``
        Taken for each query block of all columns and groups; blocks of ``select`` have two parts.
    raise1 : ``Raise``
    resting : ``Out(1)``
        Nothing is open.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "commands": In(stream.Signature(Command)),
            "array":    Out(stream.Signature(array_command(config))),
            "keys":     Out(stream.Signature(Command)),
            "values":   Out(stream.Signature(isa.WORD_BITS)),
            **({"forwards": Out(stream.Signature(forward_job))} if config.forward else {}),
            "take0":    Out(Take),
            "raise1":   Out(Raise),
            "resting":  Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.keys   = keys   = Queue(Command, UNDER_WAY)
        m.submodules.values = values = Queue(isa.WORD_BITS, UNDER_WAY)
        wiring.connect(m, keys.o, wiring.flipped(self.keys))
        wiring.connect(m, values.o, wiring.flipped(self.values))

        command = self.commands.p
        attend, select = (command_fields(name, command.word) for name in ("attend", "select"))
        is_attend, selects, is_plain = Signal(), Signal(), Signal()
        empty, opens = Signal(), Signal()
        m.d.comb += [
            is_attend.eq(command.word[:isa.OPCODE_BITS] == isa.BY_NAME["attend"].opcode),
            empty.eq(is_attend & (command.count == 0)),
            selects.eq(is_select(command) if self.config.pages else 0),
            is_plain.eq(~is_attend & ~selects),
            self.resting.eq(~keys.o.valid & ~values.o.valid),
            self.array.payload.eq(plain_product(self.config, command.word)),
            keys.i.payload.eq(command), values.i.payload.eq(command.word),
            keys.i.valid.eq(opens), values.i.valid.eq(opens & is_attend),
            self.take0.id.eq(attend.take0), self.raise1.id.eq(attend.raise1),
        ]

        room = Const(1)
        if self.config.forward:
            forwards, job = Signal(), self.forwards.p
            room = ~forwards | self.forwards.ready
            m.d.comb += [
                forwards.eq(is_attend & (attend.heads != 0)),
                self.forwards.valid.eq(opens & forwards),
                *(job[name].eq(getattr(attend, name)) for name in ("heads", "head", "head_blocks")),
                job.packed.eq(is_packed(attend.kv)), job.token.eq(command.count - 1),
            ]

        # Query blocks, counted block by group by column.
        fields = {name: Mux(selects, getattr(select, name), getattr(attend, name))
                  for name in ("head_blocks", "groups", "columns")}
        limits = (fields["head_blocks"] << selects, fields["groups"], fields["columns"])
        if self.config.kv_groups == 1:
            limits = limits[0], limits[2]
        taken = Signal()
        steps = taken
        for n, limit in enumerate(limits):
            count, last = Signal.like(limit, name=f"count_{n}"), Signal(name=f"last_{n}")
            m.d.comb += last.eq(count + 1 == limit)
            with m.If(steps):
                m.d.sync += count.eq(Mux(last, 0, count + 1))
            steps &= last

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [
                    self.array.valid.eq(self.commands.valid & is_plain & self.resting),
                    self.commands.ready.eq(self.array.ready & is_plain & self.resting),
                ]
                with m.If(self.commands.valid & ~is_plain
                          & (self.resting | (is_attend & ~empty))):
                    m.next = "TAKE"
            with m.State("TAKE"):
                m.d.comb += [taken.eq(self.take0.ok), self.take0.take.eq(taken)]
                with m.If(steps):
                    m.next = "OPEN"
            with m.State("OPEN"):
                with m.If(empty):
                    m.d.comb += [self.raise1.en.eq(1), self.commands.ready.eq(1)]
                with m.Elif(keys.i.ready & values.i.ready & room):
                    m.d.comb += [opens.eq(1), self.commands.ready.eq(1)]
                with m.If(self.commands.ready):
                    m.next = "IDLE"
        return m
