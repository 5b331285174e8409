"""Turns parts of blocks into descriptors, and announces them."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from ..signatures import Part, kv_part
from .lines import block
from .order import ordered
from .plan import Kind
from .queue import Queue
from .reader import descriptor
from .sizes import sizes


__all__ = ["Announce"]


class Announce(wiring.Component):
    """Descriptor of each part, and beside it what the attention engine needs to know of it.

    The queue of announcements holds as many as there can be between a descriptor and the last
    beat of its part that waits in the D reader, so that it never stops a descriptor.

    Latency
    -------
    One cycle to the descriptor, two to the announcement.

    Throughput
    ----------
    One part each cycle. ``i.ready`` depends on ``descriptors.ready``, on ``parts.ready`` not.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    i : ``In(stream.Signature(ordered(block)))``
    descriptors : ``Out(stream.Signature(descriptor(config)))``
    parts : ``Out(stream.Signature(kv_part))``
    """

    latency = 1

    def __init__(self, config):
        self.config = config
        # The FIFO's beats, one behind it, one that is being joined; a part that is being requested
        # and one that waits for that.
        smallest = min(*config.part_beats(1, config.packs), config.key_beats(2, config.packs))
        beats = config.d_fifo // config.beat_bytes + 2
        self.depth = -(-beats // smallest) + 4
        super().__init__({
            "i": In(stream.Signature(ordered(block))),
            "descriptors": Out(stream.Signature(descriptor(config))),
            "parts": Out(stream.Signature(kv_part)),
        })

    def elaborate(self, platform):
        m = Module()
        config, i, item = self.config, self.i.p, self.i.p.data
        m.submodules.queue = queue = Queue(kv_part, self.depth)
        connect(m, queue.o, flipped(self.parts))
        line, beat = exact_log2(config.line_bytes), exact_log2(config.beat_bytes)

        keys = sizes(m, config, item, "keys", lambda *head: config.part_beats(*head)[0])
        values = sizes(m, config, item, "values", config.value_beats)
        bounds = sizes(m, config, item, "bounds", lambda n, *how: config.key_beats(2 * n, *how))
        beats, kind = Signal(32), Signal(Part)
        m.d.comb += beats.eq(keys)
        with m.If(i.values):
            m.d.comb += [beats.eq(values), kind.eq(Part.VALUES)]
        with m.Elif(i.kind == Kind.STREAM):
            m.d.comb += beats.eq(item.number)
        with m.Elif(i.kind == Kind.BOUNDS):
            m.d.comb += [beats.eq(bounds), kind.eq(Part.BOUNDS)]

        advance, accepted = Signal(), Signal()
        m.d.comb += [
            advance.eq(~self.descriptors.valid | self.descriptors.ready),
            self.i.ready.eq(advance & queue.i.ready),
            accepted.eq(self.i.valid & self.i.ready),
            queue.i.valid.eq(accepted & (i.kind != Kind.STREAM)),
            queue.i.p.kind.eq(kind), queue.i.p.head_blocks.eq(item.head_blocks),
            queue.i.p.packed.eq(item.packed),
            queue.i.p.number.eq(item.number), queue.i.p.first.eq(i.first),
            queue.i.p.last.eq(item.last), queue.i.p.forward.eq(item.last & item.forward),
        ]
        with m.If(advance):
            m.d.sync += [
                self.descriptors.valid.eq(accepted), self.descriptors.p.beats.eq(beats),
                self.descriptors.p.address.eq((item.address << line)
                                              + (Mux(i.values, keys, 0) << beat)),
            ]
        return m
