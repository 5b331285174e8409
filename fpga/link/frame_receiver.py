"""Keeps whole requests, and forgets everything else."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from hw.memory.queue import Queue

from .cobs_decoder import UNSTUFFED
from .protocol import CHECK, HEADER


__all__ = ["FrameReceiver", "HEAD", "request_layout"]

#: Header of a request, as on the line.
HEAD = data.StructLayout({"kind": 8, "sequence": 8, "count": 16, "address": 32})


def request_layout(block):
    """A request of which up to ``block`` bytes of payload are kept; ``size`` says how many."""
    return data.StructLayout({"head": HEAD, "size": range(block + 1)})


class FrameReceiver(wiring.Component):
    """Frames with the right checksum and a possible length become requests; all others vanish.

    The reference is :func:`verif.reference.link.parse`. A frame that begins while all slots hold
    requests vanishes too: nobody can make a serial line wait. So does one that was damaged, cut or
    joined with another; nothing that arrives holds up what comes behind it.

    Latency
    -------
    Three cycles from the end of a frame to ``o``.

    Throughput
    ----------
    A byte a cycle.

    Parameters
    ----------
    block : int
        Bytes of the longest payload, a power of two.
    slots : int
        Requests kept, a power of two.

    Members
    -------
    i : ``In(stream.Signature(UNSTUFFED, always_ready=True))``
    o : ``Out(stream.Signature(request_layout(block)))``
        The oldest request. Its payload is kept until it is taken.
    index : ``In(range(block))``
        Byte of the payload of the request at ``o`` that is read.
    byte : ``Out(8)``
        That byte, a cycle later.
    another : ``Out(1)``
        A request waits behind that at ``o``.
    """

    def __init__(self, block, slots):
        self.block, self.slots = block, slots
        exact_log2(block), exact_log2(slots)
        super().__init__({
            "i": In(stream.Signature(UNSTUFFED, always_ready=True)),
            "o": Out(stream.Signature(request_layout(block))),
            "index": In(range(block)), "byte": Out(8), "another": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.check = check = CRC32_ISO_HDLC(data_width=8).create()
        m.submodules.memory = memory = Memory(shape=8, depth=self.block * self.slots, init=[])
        m.submodules.requests = requests = Queue(request_layout(self.block), self.slots)
        connect(m, requests.o, flipped(self.o))
        write, read = memory.write_port(), memory.read_port()
        longest = HEADER + self.block + CHECK

        # Control: how far a frame is, and whether it can be kept.
        place = Signal(range(longest + 2))      # beyond the longest frame it stands still
        lost = Signal()                         # a byte found no room
        filled, emptied = Signal(range(self.slots)), Signal(range(self.slots))
        byte, end, good, payload = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            byte.eq(self.i.valid & ~self.i.p.end), end.eq(self.i.valid & self.i.p.end),
            payload.eq((place >= HEADER) & (place < HEADER + self.block)),
            good.eq(check.match_detected & ~self.i.p.damaged & ~lost & requests.i.ready
                    & (place >= HEADER + CHECK) & (place <= longest)),
            requests.i.valid.eq(end & good),
        ]
        with m.If(end):
            m.d.sync += [place.eq(0), lost.eq(0)]
        with m.Elif(byte):
            m.d.sync += lost.eq(lost | ~requests.i.ready)
            with m.If(place <= longest):
                m.d.sync += place.eq(place + 1)
        with m.If(end & good):
            m.d.sync += filled.eq(filled + 1)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += emptied.eq(emptied + 1)

        # Data.
        head = Signal(HEAD)
        with m.If(byte & (place < HEADER)):
            m.d.sync += Value.cast(head).eq(Cat(Value.cast(head)[8:], self.i.p.byte))
        m.d.comb += [
            check.start.eq(end), check.valid.eq(byte), check.data.eq(self.i.p.byte),
            write.en.eq(byte & payload & requests.i.ready), write.data.eq(self.i.p.byte),
            write.addr.eq(Cat((place - HEADER)[:exact_log2(self.block)], filled)),
            self.another.eq(requests.level > 1),
            read.addr.eq(Cat(self.index, emptied)), self.byte.eq(read.data),
            requests.i.p.head.eq(head), requests.i.p.size.eq(place - HEADER - CHECK),
        ]
        return m
