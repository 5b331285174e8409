"""Elements of 6 bits, which are packed without gaps, into beats."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import PIECE


__all__ = ["Gearbox"]


#: Bits of 16 elements of 6 bits.
PACKED = 96


class Gearbox(wiring.Component):
    """Makes four packed beats of three raw ones; other beats pass.

    The numerical reference is :func:`verif.reference.tape.unpack`. Of each slice's piece of a
    packed beat the lower 96 bits count::

        raw beats    |0 0 0 0|1 1 1 1|2 2 2 2|
        packed beats |0 0 0|1 1 1|2 2 2|3 3 3|

    Latency
    -------
    None.

    Throughput
    ----------
    One beat of ``o`` each cycle. ``i.ready`` depends on ``o.ready``.

    Parameters
    ----------
    slices : int

    Members
    -------
    packed : ``In(1)``
        The next beat of ``o`` is a packed one. They come in fours.
    i, o : ``In``, ``Out`` of ``stream.Signature(128 * slices)``
    """

    def __init__(self, slices):
        self.slices = slices
        beats = stream.Signature(8 * PIECE * slices)
        super().__init__({"packed": In(1), "i": In(beats), "o": Out(beats)})

    def elaborate(self, platform):
        m = Module()
        phase = Signal(2)
        spare = Signal()
        m.d.comb += [
            # The last one of four is what the others left.
            spare.eq(self.packed & (phase == 3)),
            self.o.valid.eq(self.i.valid | spare),
            self.i.ready.eq(self.o.ready & ~spare),
        ]
        transfer = Signal()
        m.d.comb += transfer.eq(self.o.valid & self.o.ready & self.packed)
        m.d.sync += phase.eq(phase + transfer)

        pieces = []
        for s in range(self.slices):
            raw = Signal(8 * PIECE, name=f"raw_{s}")
            left = Signal(PACKED, name=f"left_{s}")
            m.d.comb += raw.eq(self.i.payload[8 * PIECE * s:8 * PIECE * (s + 1)])
            step = 8 * PIECE - PACKED
            with m.If(transfer):
                m.d.sync += left.eq(Array([raw[PACKED:], raw[PACKED - step:],
                                           raw[PACKED - 2 * step:], left])[phase])
            packed = Array([raw[:PACKED], Cat(left[:step], raw[:PACKED - step]),
                            Cat(left[:2 * step], raw[:PACKED - 2 * step]), left])[phase]
            piece = Signal(8 * PIECE, name=f"piece_{s}")
            m.d.comb += piece.eq(Mux(self.packed, packed, raw))
            pieces.append(piece)
        m.d.comb += self.o.payload.eq(Cat(pieces))
        return m
