"""The order in which keys and values of chained walks are read."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .plan import Kind
from .queue import Queue


__all__ = ["waiting", "ordered", "Order"]


def waiting(shape):
    """A block in the order of its walk, and under what condition its keys may be read."""
    return data.StructLayout({
        "kind": Kind, "first": 1,           # of its walk
        "chain": 1,                         # keys may come before the last values of walks before
        "take0": 4, "data": shape,
    })


def ordered(shape):
    """A block whose keys, or values, are read now; what has no values is read as a whole."""
    return data.StructLayout({"kind": Kind, "values": 1, "first": 1, "data": shape})


class Order(wiring.Component):
    """Reads keys of a few blocks before the values of the first of them.

    While the array multiplies keys, the softmax works on scores of blocks before; so keys come as
    early as they may: up to ``ahead`` blocks before values, also those of the walk behind, if it
    is chained, but not those of the walk after that. If no keys may be read now, because there
    are none yet or their counter is not above zero, values are.

    What has no values (a ``stream``, bounds) is read when no values are left to be read.

    The reference is :func:`verif.reference.pattern.parts`.

    Latency
    -------
    One cycle from a block to its keys.

    Throughput
    ----------
    One part each cycle. ``i.ready`` depends on ``o.ready``, ``take0.ok`` and ``i``.

    Parameters
    ----------
    ahead : int
        Blocks between keys and values.
    shape : shape-like
        What else is known of a block.

    Members
    -------
    i : ``In(stream.Signature(waiting(shape)))``
    o : ``Out(stream.Signature(ordered(shape)))``
    ok : ``In(1)``
        The counter ``i.p.take0`` is above zero, or none.
    take : ``Out(1)``
        Take from it.
    busy : ``Out(1)``
        Values are left to be read, or a part waits at ``o``.
    """

    latency = 1

    def __init__(self, ahead, shape):
        self.ahead, self.shape = ahead, shape
        super().__init__({
            "i": In(stream.Signature(waiting(shape))), "o": Out(stream.Signature(ordered(shape))),
            "ok": In(1), "take": Out(1), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        i, o = self.i.p, self.o.p
        # Blocks whose values are left to be read; ``turn`` changes from walk to walk.
        m.submodules.values = values = Queue(data.StructLayout(
            {"first": 1, "turn": 1, "data": self.shape}), self.ahead + 1)
        oldest, turn = values.o, Signal()

        advance, allowed, lone = Signal(), Signal(), Signal()
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            lone.eq(i.kind != Kind.BLOCK),
            self.busy.eq(self.o.valid | oldest.valid),
        ]
        with m.If(lone | (i.first & ~i.chain)):
            m.d.comb += allowed.eq(~oldest.valid)
        with m.Elif(i.first):
            m.d.comb += allowed.eq(~oldest.valid | (values.i.ready & (oldest.p.turn == turn)))
        with m.Else():
            m.d.comb += allowed.eq(values.i.ready)

        keys = Signal()
        m.d.comb += [
            keys.eq(self.i.valid & allowed & self.ok),
            self.i.ready.eq(allowed & self.ok & advance),
            self.take.eq(keys & advance),
            values.i.valid.eq(keys & advance & ~lone),
            values.i.p.first.eq(i.first), values.i.p.turn.eq(turn ^ i.first),
            values.i.p.data.eq(i.data),
            oldest.ready.eq(~keys & advance),
        ]
        with m.If(values.i.valid):
            m.d.sync += turn.eq(values.i.p.turn)
        with m.If(advance):
            m.d.sync += [
                self.o.valid.eq(keys | oldest.valid),
                o.values.eq(~keys),
                o.kind.eq(Mux(keys, i.kind, Kind.BLOCK)),
                o.first.eq(Mux(keys, i.first, oldest.p.first)),
                o.data.eq(Mux(keys, i.data, oldest.p.data)),
            ]
        return m
