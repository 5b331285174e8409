"""Moves blocks between memory and the workspace, and keys and values into the KV cache."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .. import isa
from ..signatures import (
    Command,
    Raise,
    Take,
    choice,
    command_fields,
    read_data,
    read_request,
    row_read,
    row_write,
    write_data,
)
from .acknowledge import Acknowledge
from .append import Append
from .gather import Gather
from .load import Load
from .pages import Pages
from .queue import Queue
from .reader import Reader
from .scatter import Scatter
from .sizes import is_packed
from .staging import Staging, staging_read, staging_write


__all__ = ["Mover"]


class Mover(wiring.Component):
    """Executes ``gather``, ``scatter``, ``append``, ``load`` and ``choose``, one after the other.

    What they take and raise is in the table of counters of ``docs/interfaces.md``. A command ends
    when its last word was handed over; its ``raise0`` may follow while the next one runs.

    The references are in :mod:`verif.reference.memory`.

    Throughput
    ----------
    ``gather`` requests all its bursts ahead, as far as its FIFO of four bursts reaches, and writes
    one row a cycle. See :class:`.Scatter`, :class:`.Append` and :class:`.Pages` for the others.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    commands : ``In(stream.Signature(Command))``
        A command is taken when it ends.
    reads, data : ``Out(stream.Signature(read_request(config)))``, ``In(..(read_data(config)))``
        To and from the arbiter; room is reserved before a request.
    writes, written : ``Out(stream.Signature(write_data(config)))``, ``In(1)``
        To the cache or port, and its acknowledgements.
    write : ``Out(stream.Signature(row_write(config)))``
    read : ``Out(row_read(config))``
        The workspace.
    staging : ``In(staging_write(config))``
        From the quantiser.
    staged : ``In(staging_read(config))``, only if ``config.forward``
        The staging memory, for attention.
    loaded : ``Out(stream.Signature(32))``
    choices : ``Out(stream.Signature(choice))``
        Pages of ``choose``.
    table, entries : ``In(32)``, ``In(20)``
        Line of the block table, and its entries; 0: there is none.
    table_fault, choice_fault : ``Out(1)``
        An ``append`` beyond the table, a list that is not ascending: the mover waits for a reset.
    take0, raise0, raise1 : ``Out(Take)``, ``Out(Raise)``
    busy : ``Out(1)``
        A command is being executed, or its words are on their way to memory.
    taken : ``Out(1)``
        For counters: a word came.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "commands": In(stream.Signature(Command)),
            "reads": Out(stream.Signature(read_request(config))),
            "data": In(stream.Signature(read_data(config))),
            "writes": Out(stream.Signature(write_data(config))),
            "written": In(1),
            "write": Out(stream.Signature(row_write(config))),
            "read": Out(row_read(config)),
            "staging": In(staging_write(config)),
            "loaded": Out(stream.Signature(32)), "choices": Out(stream.Signature(choice)),
            "table": In(32), "entries": In(20), "table_fault": Out(1), "choice_fault": Out(1),
            "take0": Out(Take), "raise0": Out(Raise), "raise1": Out(Raise),
            "busy": Out(1), "taken": Out(1),
            **({"staged": In(staging_read(config))} if config.forward else {}),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.reader = reader = Reader(config, 4 * config.burst * config.word_bytes,
                                              Gather.item_words(config))
        m.submodules.gather = gather = Gather(config)
        m.submodules.scatter = scatter = Scatter(config)
        m.submodules.append = append = Append(config)
        m.submodules.load = load = Load(config)
        m.submodules.pages = pages = Pages(config, Gather.item_words(config))
        m.submodules.staging = staging = Staging(config)
        m.submodules.acknowledge = acknowledge = Acknowledge(config)
        m.submodules.words = words = Queue(write_data(config), 2)

        # The command chooses one of the five; its operands go to all.
        command = self.commands.p
        line = exact_log2(config.line_bytes)
        units = {"gather": gather, "scatter": scatter, "append": append, "load": load,
                 "choose": pages}
        fields = {name: command_fields(name, command.word) for name in units}
        chosen = {name: Signal(name=f"is_{name}") for name in units}
        for name, unit in units.items():
            m.d.comb += [
                chosen[name].eq(self.commands.valid
                                & (command.word[:isa.OPCODE_BITS] == isa.BY_NAME[name].opcode)),
            ]
            with m.If(chosen[name] & unit.done):
                m.d.comb += self.commands.ready.eq(1)
            # An append looks up the block table by a load.
            m.d.comb += unit.go.eq(chosen[name] | (append.lookup if unit is load else 0))
        m.d.comb += [
            gather.address.eq(command.address << line),
            gather.dst.eq(fields["gather"].dst), gather.blocks.eq(fields["gather"].blocks),
            scatter.address.eq(command.address << line),
            scatter.a.eq(fields["scatter"].a), scatter.blocks.eq(fields["scatter"].blocks),
            append.more.eq(fields["append"].more), append.behind.eq(fields["append"].behind),
            append.address.eq(command.address), append.count.eq(command.count),
            append.heads.eq(fields["append"].heads),
            append.head_blocks.eq(fields["append"].head_blocks),
            append.head_stride.eq(fields["append"].head_stride),
            append.packed.eq(is_packed(fields["append"].kv)),
            append.ring.eq(fields["append"].ring), append.sinks.eq(fields["append"].sinks),
            append.bounds.eq(fields["append"].bounds), append.entries.eq(self.entries),
            load.address.eq((Mux(append.lookup, self.table, command.address) << line)
                            + (Mux(append.lookup, append.entry, command.count) << 2)),
            pages.address.eq(command.address << line), pages.count.eq(command.count),
            pages.entries.eq(fields["choose"].entries),
            self.table_fault.eq(append.fault), self.choice_fault.eq(pages.fault),
            self.busy.eq(self.commands.valid | acknowledge.busy),
        ]

        # Reads: gather and choose share the reader, load and append what reads single values.
        m.d.comb += [
            reader.descriptors.valid.eq(gather.descriptors.valid | pages.descriptors.valid),
            reader.descriptors.payload.eq(Mux(chosen["choose"], pages.descriptors.payload,
                                              gather.descriptors.payload)),
            reader.beats.ready.eq(Mux(chosen["choose"], pages.items.ready, gather.items.ready)),
            self.reads.valid.eq(reader.requests.valid | load.requests.valid),
            self.reads.payload.eq(Mux(load.go, load.requests.payload, reader.requests.payload)),
            reader.requests.ready.eq(self.reads.ready), load.requests.ready.eq(self.reads.ready),
            reader.data.payload.eq(self.data.payload), load.data.payload.eq(self.data.payload),
            reader.data.valid.eq(self.data.valid & ~load.go),
            load.data.valid.eq(self.data.valid & load.go),
            self.data.ready.eq(1),
            self.taken.eq(self.data.valid),
            self.loaded.payload.eq(load.loaded.payload),
            append.found.payload.eq(load.loaded.payload),
            self.loaded.valid.eq(load.loaded.valid & chosen["load"]),
            append.found.valid.eq(load.loaded.valid & append.lookup),
            load.loaded.ready.eq(Mux(append.lookup, append.found.ready, self.loaded.ready)),
        ]
        for unit in (gather, pages):
            m.d.comb += [unit.descriptors.ready.eq(reader.descriptors.ready),
                         unit.items.valid.eq(reader.beats.valid),
                         unit.items.payload.eq(reader.beats.payload)]
        connect(m, pages.choices, flipped(self.choices))

        # Workspace and staging memory.
        connect(m, gather.write, flipped(self.write))
        connect(m, scatter.read, flipped(self.read))
        m.d.comb += [staging.write.eq(self.staging), staging.address.eq(append.index),
                     staging.read.eq(append.read), append.staging.eq(staging.data)]
        if config.forward:
            connect(m, flipped(self.staged), staging.forwarded)

        # Writes.
        connect(m, words.o, flipped(self.writes))
        m.d.comb += [
            words.i.valid.eq(scatter.writes.valid | append.writes.valid),
            words.i.payload.eq(Mux(chosen["append"], append.writes.payload,
                                   scatter.writes.payload)),
            scatter.writes.ready.eq(words.i.ready), append.writes.ready.eq(words.i.ready),
            acknowledge.issued.eq(words.i.valid & words.i.ready),
            acknowledge.written.eq(self.written),
            acknowledge.marks.valid.eq(scatter.marks.valid | append.marks.valid),
            acknowledge.marks.payload.eq(fields["scatter"].raise0),
            scatter.marks.ready.eq(acknowledge.marks.ready),
            append.marks.ready.eq(acknowledge.marks.ready),
        ]

        # Counters: the fields lie alike in the three commands that have them.
        sync = fields["gather"]
        m.d.comb += [
            self.take0.id.eq(sync.take0),
            *(unit.ok.eq(self.take0.ok) for unit in (gather, scatter, append)),
            self.take0.take.eq(gather.take | scatter.take | append.take),
            acknowledge.hold.eq(gather.produced),
            self.raise0.id.eq(Mux(gather.produced, sync.raise0, acknowledge.raise0.id)),
            self.raise0.en.eq(gather.produced | acknowledge.raise0.en),
            self.raise1.id.eq(sync.raise1),
            self.raise1.en.eq(scatter.released | append.released),
        ]
        return m
