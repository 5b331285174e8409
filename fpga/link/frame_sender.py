"""Sends replies: header, payload, checksum."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .cobs_encoder import PLAIN
from .protocol import CHECK, HEADER


__all__ = ["FrameSender", "REPLY_HEAD"]

#: Header of a reply, as on the line.
REPLY_HEAD = data.StructLayout({"kind": 8, "sequence": 8, "count": 16, "status": 8,
                                "following": 8, "flags": 8, "zero": 8})


class FrameSender(wiring.Component):
    """A reply as bytes, with its checksum.

    The reference is :func:`verif.reference.link.reply`. The payload stays in the memory, so that
    a reply can be sent again.

    Latency
    -------
    Three cycles from ``i`` to the first byte.

    Throughput
    ----------
    A byte in three cycles, many fewer than a serial line takes.

    Parameters
    ----------
    block : int
        Bytes of the longest payload.

    Members
    -------
    i : ``In(stream.Signature(REPLY_HEAD))``
        Taken with the last byte. Until then the payload must not change.
    o : ``Out(stream.Signature(PLAIN))``
    index : ``In(range(block))``
        Byte of the payload that is written.
    byte : ``In(8)``
    write : ``In(1)``
    """

    def __init__(self, block):
        self.block = block
        super().__init__({
            "i": In(stream.Signature(REPLY_HEAD)), "o": Out(stream.Signature(PLAIN)),
            "index": In(range(block)), "byte": In(8), "write": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.check = check = CRC32_ISO_HDLC(data_width=8).create()
        m.submodules.memory = memory = Memory(shape=8, depth=self.block, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [write.addr.eq(self.index), write.data.eq(self.byte), write.en.eq(self.write)]

        # Control: a byte is read, chosen, and offered.
        place = Signal(range(HEADER + self.block + CHECK))
        chosen, offered, taken, last = Signal(), Signal(), Signal(), Signal()
        tail = Signal(signed(len(place) + 1))   # place in the checksum; negative before it
        m.d.comb += [
            tail.eq(place - HEADER - self.i.p.count), last.eq(tail == CHECK - 1),
            taken.eq(self.o.valid & self.o.ready), self.i.ready.eq(taken & last),
            self.o.valid.eq(offered), self.o.p.last.eq(last),
        ]
        m.d.sync += [chosen.eq(self.i.valid & ~chosen & ~offered),
                     offered.eq(chosen | offered & ~taken)]
        with m.If(taken):
            m.d.sync += place.eq(Mux(last, 0, place + 1))

        # Data: the byte has a register, because block memory and checksum are slow.
        m.d.comb += [
            read.addr.eq(place - HEADER),
            check.start.eq(taken & last), check.valid.eq(taken & (tail < 0)),
            check.data.eq(self.o.p.byte),
        ]
        with m.If(chosen & (place < HEADER)):
            m.d.sync += self.o.p.byte.eq(Value.cast(self.i.p).word_select(place[:3], 8))
        with m.Elif(chosen & (tail < 0)):
            m.d.sync += self.o.p.byte.eq(read.data)
        with m.Elif(chosen):
            m.d.sync += self.o.p.byte.eq(check.crc.word_select(tail[:2], 8))
        return m
