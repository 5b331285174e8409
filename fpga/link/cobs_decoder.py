"""Undoes consistent overhead byte stuffing."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out


__all__ = ["UNSTUFFED", "CobsDecoder"]

#: A byte of a frame, or its end, which carries no byte. ``damaged``: the frame was cut.
UNSTUFFED = data.StructLayout({"byte": 8, "end": 1, "damaged": 1})


class CobsDecoder(wiring.Component):
    """Bytes of frames, from bytes in which only the end of a frame is 0.

    The reference is :func:`verif.reference.link.uncobs`. Whatever came before, the first 0 brings
    it to the beginning of a frame.

    Latency
    -------
    One cycle.

    Throughput
    ----------
    A byte a cycle. Both streams are always ready.

    Members
    -------
    i : ``In(stream.Signature(8, always_ready=True))``
    o : ``Out(stream.Signature(UNSTUFFED, always_ready=True))``
    """

    latency = 1

    i: In(stream.Signature(8, always_ready=True))
    o: Out(stream.Signature(UNSTUFFED, always_ready=True))

    def elaborate(self, platform):
        m = Module()
        byte = self.i.payload
        left = Signal(8)            # bytes of the group that are still to come
        gap = Signal()              # a 0 belongs before the next group
        m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid):
            m.d.sync += [self.o.p.byte.eq(byte), self.o.p.end.eq(0), self.o.p.damaged.eq(0)]
            with m.If(byte == 0):
                m.d.sync += [self.o.valid.eq(1), self.o.p.end.eq(1), self.o.p.damaged.eq(left != 0),
                             left.eq(0), gap.eq(0)]
            with m.Elif(left == 0):
                m.d.sync += [self.o.valid.eq(gap), self.o.p.byte.eq(0),
                             left.eq(byte - 1), gap.eq(byte != 255)]
            with m.Else():
                m.d.sync += [self.o.valid.eq(1), left.eq(left - 1)]
        return m
