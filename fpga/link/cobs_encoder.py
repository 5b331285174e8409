"""Consistent overhead byte stuffing: frames without any 0 inside, and a 0 at their end."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


__all__ = ["PLAIN", "CobsEncoder"]

#: A byte of a frame, and whether it is its last one.
PLAIN = data.StructLayout({"byte": 8, "last": 1})

#: Bytes of the longest group.
LONGEST = 254


class CobsEncoder(wiring.Component):
    """Stuffs frames of at least one byte.

    The reference is :func:`verif.reference.link.cobs`, with the 0 behind each frame.

    Latency
    -------
    A group, up to 254 bytes, is collected before its first byte leaves.

    Throughput
    ----------
    A byte in 3 cycles, many fewer than a serial line takes. ``i.ready`` does not depend on
    ``o.ready``.

    Members
    -------
    i : ``In(stream.Signature(PLAIN))``
    o : ``Out(stream.Signature(8))``
    """

    i: In(stream.Signature(PLAIN))
    o: Out(stream.Signature(8))

    def elaborate(self, platform):
        m = Module()
        m.submodules.group = group = Memory(shape=8, depth=256, init=[])
        write, read = group.write_port(), group.read_port()
        size, sent = Signal(8), Signal(8)
        ends = Signal()         # the frame ends with this group
        more = Signal()         # ... or with an empty one behind it

        m.d.comb += [write.addr.eq(size), write.data.eq(self.i.p.byte), read.addr.eq(sent)]
        zero, full = Signal(), Signal()
        m.d.comb += [zero.eq(self.i.p.byte == 0), full.eq(size == LONGEST - 1)]
        with m.FSM():
            with m.State("COLLECT"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.comb += write.en.eq(~zero)
                    m.d.sync += [size.eq(Mux(zero, size, size + 1)), ends.eq(self.i.p.last & ~zero),
                                 more.eq(self.i.p.last & zero), sent.eq(0)]
                    with m.If(zero | full | self.i.p.last):
                        m.next = "CODE"
            with m.State("CODE"):
                m.d.comb += [self.o.payload.eq(size + 1), self.o.valid.eq(1)]
                with m.If(self.o.ready):
                    m.next = "NEXT"
            with m.State("NEXT"):
                # The memory is read.
                with m.If(sent != size):
                    m.next = "BYTE"
                with m.Else():
                    m.d.sync += [size.eq(0), more.eq(0), ends.eq(more)]
                    with m.If(more):
                        m.next = "CODE"
                        m.d.sync += sent.eq(0)
                    with m.Elif(ends):
                        m.next = "END"
                    with m.Else():
                        m.next = "COLLECT"
            with m.State("BYTE"):
                m.d.comb += [self.o.payload.eq(read.data), self.o.valid.eq(1)]
                with m.If(self.o.ready):
                    m.d.sync += sent.eq(sent + 1)
                    m.next = "NEXT"
            with m.State("END"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += ends.eq(0)
                    m.next = "COLLECT"
        return m
