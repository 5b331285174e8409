"""On-chip memory as an AXI4 slave: for boards without other memory, and for tests."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from hw.memory.axi import DECERR, OKAY, axi4
from hw.memory.queue import Queue


__all__ = ["Ram"]


class Ram(wiring.Component):
    """Bursts of whole, aligned words, as the machine makes them, on block memory.

    Words beyond the end read as anything, are not written, and answer with DECERR.

    Latency
    -------
    Three cycles from an address to its first word, or from the last word written to the
    response.

    Throughput
    ----------
    A word read and a word written each cycle, without a pause between bursts. ``awready`` depends
    on written data, no other ``ready`` on the master in the same cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    bytes : int
        Size, a power of two.

    Members
    -------
    bus : ``In(axi4(config))``
        Responses carry the ID of the request.
    """

    def __init__(self, config, bytes):
        self.config, self.bytes = config, bytes
        exact_log2(bytes)
        super().__init__({"bus": In(axi4(config))})

    def elaborate(self, platform):
        m = Module()
        bus, word = self.bus, self.config.data_bits // 8
        shift, rows = exact_log2(word), exact_log2(self.bytes // word)
        m.submodules.memory = memory = Memory(shape=8 * word, depth=1 << rows, init=[])
        write, read = memory.write_port(granularity=8), memory.read_port()

        def place(address):
            return address[shift:shift + rows], address[shift + rows:].any()

        # Reads: a word each cycle in which the queue behind has room for all that is under way.
        m.submodules.words = words = Queue(
            data.StructLayout({"data": 8 * word, "bad": 1, "last": 1, "id": 1}), 4)
        s1_valid, s1 = Signal(), Signal(data.StructLayout({"bad": 1, "last": 1, "id": 1}))
        address, left, number, reading = Signal.like(bus.araddr), Signal(8), Signal(), Signal()
        issue, last = Signal(), Signal()
        row, bad = place(address)
        m.d.comb += [
            issue.eq(reading & (words.level + s1_valid < 4)), last.eq(left == 0),
            bus.arready.eq(~reading | issue & last), read.addr.eq(row), read.en.eq(1),
        ]
        # Stage 1: the memory has been read.
        m.d.sync += [s1_valid.eq(issue), s1.bad.eq(bad), s1.last.eq(last), s1.id.eq(number)]
        with m.If(issue):
            m.d.sync += [address.eq(address + word), left.eq(left - 1), reading.eq(~last)]
        with m.If(bus.arready & bus.arvalid):
            m.d.sync += [reading.eq(1), address.eq(bus.araddr), left.eq(bus.arlen),
                         number.eq(bus.arid)]
        m.d.comb += [
            words.i.valid.eq(s1_valid), words.i.p.data.eq(read.data), words.i.p.bad.eq(s1.bad),
            words.i.p.last.eq(s1.last), words.i.p.id.eq(s1.id),
            bus.rvalid.eq(words.o.valid), words.o.ready.eq(bus.rready),
            bus.rdata.eq(words.o.p.data), bus.rlast.eq(words.o.p.last), bus.rid.eq(words.o.p.id),
            bus.rresp.eq(Mux(words.o.p.bad, DECERR, OKAY)),
        ]

        # Writes: data wait for their address.
        m.submodules.answers = answers = Queue(data.StructLayout({"bad": 1, "id": 1}), 2)
        target, writer, writing, spoiled = (Signal.like(bus.awaddr), Signal(), Signal(), Signal())
        stored, finished = Signal(), Signal()
        row, bad = place(target)
        m.d.comb += [
            bus.wready.eq(writing & answers.i.ready), stored.eq(bus.wvalid & bus.wready),
            finished.eq(stored & bus.wlast), bus.awready.eq(~writing | finished),
            write.addr.eq(row), write.data.eq(bus.wdata),
            write.en.eq(Mux(stored & ~bad, bus.wstrb, 0)),
            answers.i.valid.eq(finished), answers.i.p.bad.eq(bad | spoiled),
            answers.i.p.id.eq(writer),
            bus.bvalid.eq(answers.o.valid), answers.o.ready.eq(bus.bready),
            bus.bid.eq(answers.o.p.id), bus.bresp.eq(Mux(answers.o.p.bad, DECERR, OKAY)),
        ]
        with m.If(stored):
            m.d.sync += [target.eq(target + word), spoiled.eq(spoiled | bad)]
        with m.If(finished):
            m.d.sync += writing.eq(0)
        with m.If(bus.awready & bus.awvalid):
            m.d.sync += [writing.eq(1), target.eq(bus.awaddr), writer.eq(bus.awid),
                         spoiled.eq(0)]
        return m
