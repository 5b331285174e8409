"""Slots of the blocks of walks."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .modulo import Modulo
from .pattern import numbered


__all__ = ["located", "Slots"]


#: A block with its slot.
located = data.StructLayout({**{name: field.shape for name, field in numbered}, "slot": 27})


class Slots(wiring.Component):
    """Gives each block its slot: its number, or its turn in the ring behind the sinks.

    The size of a ring is no power of two. The place of a first block is found by division, that
    of the next one by counting.

    The reference is :func:`verif.reference.pattern.slot`.

    Latency
    -------
    One cycle; 29 more for a block in a ring that does not follow the one before.

    Throughput
    ----------
    One block each cycle otherwise. ``i.ready`` depends on ``i`` and on ``o.ready``.

    Members
    -------
    i : ``In(stream.Signature(numbered))``
    o : ``Out(stream.Signature(located))``
    """

    latency = 1

    def __init__(self):
        super().__init__({"i": In(stream.Signature(numbered)),
                          "o": Out(stream.Signature(located))})

    def elaborate(self, platform):
        m = Module()
        i = self.i.p
        m.submodules.modulo = modulo = Modulo(27, 16)

        # Control: a block waits until it is known where its turn falls.
        turn, expected = Signal(16), Signal(27)    # of the block that follows in the ring
        known, dividing = Signal(), Signal()
        rings, ready, accepted = Signal(), Signal(), Signal()
        m.d.comb += [
            rings.eq((i.ring != 0) & (i.number >= i.kept)),
            ready.eq(~rings | (known & (i.number == expected))),
            self.i.ready.eq((~self.o.valid | self.o.ready) & ready),
            accepted.eq(self.i.valid & self.i.ready),
            modulo.start.eq(self.i.valid & ~ready & ~dividing),
            modulo.dividend.eq(i.number - i.kept), modulo.divisor.eq(i.ring),
        ]
        with m.If(modulo.start):
            m.d.sync += dividing.eq(1)
        with m.If(modulo.done):
            m.d.sync += [dividing.eq(0), known.eq(1), expected.eq(i.number),
                         turn.eq(modulo.remainder)]
        with m.If(accepted):
            # The next walk's ring may be another.
            m.d.sync += [known.eq(rings & ~i.last), expected.eq(i.number + 1),
                         turn.eq(Mux(turn + 1 == i.ring, 0, turn + 1))]

        # Slots.
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(accepted):
            m.d.sync += [
                self.o.valid.eq(1),
                *(self.o.p[name].eq(i[name]) for name, _ in numbered),
                self.o.p.slot.eq(Mux(rings, i.kept + turn, i.number)),
            ]
        return m
