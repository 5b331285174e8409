"""Resolves fetch commands to descriptors of the two streams."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .. import isa
from ..config import BLOCK
from ..signatures import Command, Take, command_fields
from .queue import Queue
from .reader import descriptor


__all__ = ["Walker"]

WALK = isa.BY_NAME["walk"].opcode

#: What remains of a command for the D stream.
Walk = data.StructLayout({
    "address": 32, "stride": 16,                        # lines
    "beats": 32, "blocks": 27, "take0": 4, "walk": 1,
})


class Walker(wiring.Component):
    """Turns ``stream`` and ``walk`` into descriptors, each stream in its own order.

    ``walk`` reads the KV blocks that hold tokens ``0..count-1``; before the last of them it takes
    ``take0`` once, so that the token that is being appended is in memory when it is read. A count
    of zero reads nothing and takes nothing.

    Each stream has a queue of commands, so that neither waits for the other.

    The reference is :func:`verif.reference.memory.walk`.

    Latency
    -------
    One cycle from a command to its first descriptor.

    Throughput
    ----------
    One descriptor each cycle. ``commands.ready`` depends on the command.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    commands : ``In(stream.Signature(Command))``
        Must come straight from the sequencer: a flush forgets the commands that are here.
    w, d : ``Out(stream.Signature(descriptor(config)))``
    take0 : ``Out(Take)``
    flush_w, flush_d : ``In(1)``
        Forget the stream's commands. Its descriptor may be withdrawn.
    busy : ``Out(1)``
        A command is not wholly resolved.
    """

    latency = 1

    def __init__(self, config):
        self.config = config
        super().__init__({
            "commands": In(stream.Signature(Command)),
            "w": Out(stream.Signature(descriptor(config))),
            "d": Out(stream.Signature(descriptor(config))),
            "take0": Out(Take),
            "flush_w": In(1), "flush_d": In(1),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.w_queue = w_queue = ResetInserter(self.flush_w)(
            Queue(descriptor(self.config), self.config.queue))
        m.submodules.d_queue = d_queue = ResetInserter(self.flush_d)(
            Queue(Walk, self.config.queue))
        line = exact_log2(self.config.line_bytes)

        # Commands part.
        command = self.commands.p
        stream_fields = command_fields("stream", command.word)
        walk_fields = command_fields("walk", command.word)
        is_walk, to_d = Signal(), Signal()
        m.d.comb += [
            is_walk.eq(command.word[:isa.OPCODE_BITS] == WALK),
            to_d.eq(is_walk | (stream_fields.stream == isa.STREAMS.index("d"))),
            self.commands.ready.eq(Mux(to_d, d_queue.i.ready, w_queue.i.ready)),
            w_queue.i.valid.eq(self.commands.valid & ~to_d),
            w_queue.i.p.address.eq(command.address << line),
            w_queue.i.p.beats.eq(stream_fields.beats),
            d_queue.i.valid.eq(self.commands.valid & to_d),
            d_queue.i.p.address.eq(command.address),
            d_queue.i.p.stride.eq(walk_fields.stride),
            d_queue.i.p.walk.eq(is_walk),
            d_queue.i.p.take0.eq(Mux(is_walk, walk_fields.take0, 0)),
            d_queue.i.p.beats.eq(Mux(is_walk, walk_fields.beats, stream_fields.beats)),
            d_queue.i.p.blocks.eq(Mux(is_walk, (command.count + BLOCK - 1) // BLOCK, 1)),
        ]
        connect(m, w_queue.o, flipped(self.w))

        # The walk: block number and the lines before it.
        walk, number, lines = d_queue.o.p, Signal(27), Signal(32)
        last, allowed, sent = Signal(), Signal(), Signal()
        m.d.comb += [
            last.eq(number + 1 == walk.blocks),
            allowed.eq(~last | self.take0.ok),
            self.take0.id.eq(walk.take0),
            self.d.p.address.eq((walk.address + lines)[:32] << line),
            self.d.p.beats.eq(walk.beats),
            self.d.valid.eq(d_queue.o.valid & (walk.blocks != 0) & allowed),
            sent.eq(self.d.valid & self.d.ready),
            self.take0.take.eq(sent & last),
            d_queue.o.ready.eq((sent & last) | (walk.blocks == 0)),
            self.busy.eq(w_queue.o.valid | d_queue.o.valid),
        ]
        with m.If(sent):
            m.d.sync += [number.eq(number + 1), lines.eq(lines + walk.stride)]
        with m.If((sent & last) | self.flush_d):
            m.d.sync += [number.eq(0), lines.eq(0)]
        return m
