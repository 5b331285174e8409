"""Resolves fetch commands to descriptors of the two streams."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .. import isa
from ..signatures import Command, Take, choice, command_fields, kv_part, read_data, read_request
from .announce import Announce
from .lines import Lines, block
from .lists import Lists
from .order import Order
from .pattern import Pattern
from .plan import BOUNDS, CHOSEN, Kind, Plan, walk
from .queue import Queue
from .reader import descriptor
from .sizes import is_packed
from .slots import Slots
from .table import Table


__all__ = ["Walker"]

WALK = isa.BY_NAME["walk"].opcode


class Walker(wiring.Component):
    """Turns ``stream`` and ``walk`` into descriptors, each stream in its own order.

    Each stream has a queue of commands, so that neither waits for the other. What the queue of D
    holds goes through a chain of blocks::

        commands -> plan -> pattern -> slots -> table -> lines -> order -> announce -> d, parts
                              ^ choices            ^ words of the block table

    Addresses are found far ahead of reading, across walks: up to ``lines``, nothing waits for a
    counter. A table's entries must therefore be in memory when the walk is dispatched.

    ``walk`` takes ``take0`` once before it reads the first block that holds a token of its chunk,
    so that what is being appended is in memory when it is read. With ``forward`` it takes before
    its first block: the last token comes from elsewhere, all others must be there. A count of zero
    reads nothing, announces nothing and takes nothing.

    The reference is :func:`verif.reference.memory.walk`.

    Latency
    -------
    ``latency`` cycles from a walk to its first descriptor, without sinks, ring and table; one
    from a ``stream`` of W.

    Throughput
    ----------
    One descriptor each cycle of each stream. ``commands.ready`` depends on the command.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    commands : ``In(stream.Signature(Command))``
        Must come straight from the sequencer: a flush forgets the commands that are here.
    table, entries : ``In(32)``, ``In(20)``
        Line and entries of the block table, for walks that come now; no entries: no table.
    choices, pages : ``In(stream.Signature(choice))``
        Lists of pages, from the selector and from the program; one for each walk with chosen
        pages, in the order in which the lists begin.
    w, d : ``Out(stream.Signature(descriptor(config)))``
    parts : ``Out(stream.Signature(kv_part))``
        What walks read, in the order of ``d``. It does not stop ``d`` as long as each is taken
        before the last of its beats.
    take0 : ``Out(Take)``
    requests, data : ``Out(stream.Signature(read_request(config)))``, ``In(..(read_data(config)))``
        Words of the block table.
    flush_w, flush_d : ``In(1)``
        Forget the stream's commands; of D also walks, parts and words of the table. Its descriptor
        may be withdrawn, and ``parts``. No list may be under way.
    busy : ``Out(1)``
        A command is not wholly resolved.
    table_fault : ``Out(1)``
        A slot was beyond the table; nothing more is read into D.
    table_taken : ``Out(1)``
        For counters: a word of the table came.
    """

    latency = sum(part.latency for part in (Queue, Plan, Pattern, Slots, Table, Lines, Order,
                                            Announce))

    def __init__(self, config):
        self.config = config
        super().__init__({
            "commands": In(stream.Signature(Command)),
            "table": In(32), "entries": In(20),
            "choices": In(stream.Signature(choice)), "pages": In(stream.Signature(choice)),
            "w": Out(stream.Signature(descriptor(config))),
            "d": Out(stream.Signature(descriptor(config))),
            "parts": Out(stream.Signature(kv_part)),
            "take0": Out(Take),
            "requests": Out(stream.Signature(read_request(config))),
            "data": In(stream.Signature(read_data(config))),
            "flush_w": In(1), "flush_d": In(1),
            "busy": Out(1), "table_fault": Out(1), "table_taken": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, forget = self.config, ResetInserter(self.flush_d)
        m.submodules.w_queue = w_queue = ResetInserter(self.flush_w)(
            Queue(descriptor(config), config.queue))
        m.submodules.d_queue = d_queue = forget(Queue(walk, config.queue))
        self._commands(m, w_queue.i, d_queue.i)
        connect(m, w_queue.o, flipped(self.w))

        # D.
        m.submodules.lists = lists = forget(Lists())
        m.submodules.plan = plan = forget(Plan())
        m.submodules.pattern = pattern = forget(Pattern())
        m.submodules.slots = slots = forget(Slots())
        m.submodules.table_reader = table = Table(config)
        m.submodules.lines = lines = forget(Lines(config))
        m.submodules.order = order = forget(Order(config.keys_ahead, block))
        m.submodules.announce = announce = forget(Announce(config))
        connect(m, flipped(self.choices), lists.choices)
        connect(m, flipped(self.pages), lists.pages)
        connect(m, d_queue.o, plan.i)
        connect(m, plan.o, pattern.i)
        connect(m, lists.o, pattern.choices)
        connect(m, pattern.o, slots.i)
        connect(m, slots.o, table.i)
        connect(m, table.o, lines.i)
        connect(m, lines.o, order.i)
        connect(m, order.o, announce.i)
        connect(m, announce.parts, flipped(self.parts))
        connect(m, table.requests, flipped(self.requests))
        connect(m, flipped(self.data), table.data)

        m.d.comb += [
            table.flush.eq(self.flush_d), self.table_taken.eq(table.taken),
            self.table_fault.eq(table.fault),
            self.d.payload.eq(announce.descriptors.payload),
            self.d.valid.eq(announce.descriptors.valid & ~table.fault),
            announce.descriptors.ready.eq(self.d.ready & ~table.fault),
            self.take0.id.eq(lines.o.p.take0), order.ok.eq(self.take0.ok),
            self.take0.take.eq(order.take),
            self.busy.eq(w_queue.o.valid | d_queue.o.valid | plan.o.valid | pattern.o.valid
                         | slots.o.valid | table.busy | lines.busy | order.busy
                         | announce.descriptors.valid),
        ]
        return m

    def _commands(self, m, w, d):
        """Commands to the queue of their stream."""
        command, line = self.commands.p, exact_log2(self.config.line_bytes)
        streams = command_fields("stream", command.word)
        fields = command_fields("walk", command.word)
        is_walk, to_d = Signal(), Signal()
        m.d.comb += [
            is_walk.eq(command.word[:isa.OPCODE_BITS] == WALK),
            to_d.eq(is_walk | (streams.stream == isa.STREAMS.index("d"))),
            self.commands.ready.eq(Mux(to_d, d.ready, w.ready)),
            w.valid.eq(self.commands.valid & ~to_d),
            w.p.address.eq(command.address << line), w.p.beats.eq(streams.beats),
            d.valid.eq(self.commands.valid & to_d),
            d.p.address.eq(command.address),
            *(d.p[name].eq(getattr(fields, name)) for name in (
                "head_blocks", "span", "window", "sinks", "ring", "page", "chain", "forward")),
            d.p.chosen.eq(fields.pattern == CHOSEN),
            d.p.table.eq(self.table),
            d.p.count.eq(command.count), d.p.take0.eq(fields.take0),
            d.p.packed.eq(is_packed(fields.kv)),
            d.p.kind.eq(Mux(fields.pattern == BOUNDS, Kind.BOUNDS, Kind.BLOCK)),
        ]
        # Bounds lie neither in a ring nor in a table.
        with m.If(fields.pattern != BOUNDS):
            m.d.comb += d.p.entries.eq(self.entries)
        with m.If(~is_walk):
            m.d.comb += [d.p.kind.eq(Kind.STREAM), d.p.count.eq(streams.beats),
                         d.p.take0.eq(0), d.p.entries.eq(0), d.p.chosen.eq(0), d.p.forward.eq(0)]
        return m
