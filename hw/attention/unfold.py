"""Makes beats of bytes from beats of packed keys and values."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


__all__ = ["Unfold"]


#: Bytes of a slice in a beat.
PIECE = 16


class Unfold(wiring.Component):
    """Makes two beats of a packed one, whose halves of bytes become the upper halves of bytes.

    The first eight bytes of each piece go to the first beat, the others to the second one. Within
    a byte the lower half is first. The reference is :func:`verif.reference.kv.unfold`.

    Latency
    -------
    0.

    Throughput
    ----------
    One beat of ``o`` each cycle. ``i.ready`` depends combinationally on ``o.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    i : ``In(stream.Signature(8 * config.beat_bytes))``
    packed : ``In(1)``
        The beat at ``i`` is packed; else it passes as it is.
    o : ``Out(stream.Signature(8 * config.beat_bytes))``
    final : ``Out(1)``
        The beat at ``o`` is the last one that becomes of that at ``i``.
    """

    def __init__(self, config):
        self.config = config
        beat = stream.Signature(8 * config.beat_bytes)
        super().__init__({"i": In(beat), "packed": In(1), "o": Out(beat), "final": Out(1)})

    def elaborate(self, platform):
        m = Module()
        half = Signal()
        m.d.comb += [
            self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready & self.final),
            self.final.eq(~self.packed | half),
        ]
        with m.If(self.o.valid & self.o.ready & self.packed):
            m.d.sync += half.eq(~half)

        bits, beats = 8 * PIECE, [[], []]
        for start in range(0, 8 * self.config.beat_bytes, bits):
            for n in range(2 * PIECE):
                nibble = self.i.payload[start + 4 * n:][:4]
                beats[n // PIECE].append(Cat(Const(0, 4), nibble))
        m.d.comb += self.o.payload.eq(Mux(self.packed, Mux(half, Cat(beats[1]), Cat(beats[0])),
                                          self.i.payload))
        return m
