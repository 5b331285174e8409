"""Written bytes for a memory that only takes whole words."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.memory.axi import OKAY, axi4
from hw.memory.queue import Queue


__all__ = ["WholeWords"]

#: Read bursts under way.
READS = 16


class WholeWords(wiring.Component):
    """Reads a word of which some bytes are written, and writes it with all of them.

    Writes go one word at a time, each when the one before was answered. Reads pass, but for the
    cycles in which a word is read here.

    Latency
    -------
    None for reads. A word written takes 3 cycles and the memory; one of which bytes stay, 3 more
    and a read.

    Throughput
    ----------
    A word read a cycle. ``i.arready`` and ``i.rvalid`` follow from the memory's in the same cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    i : ``In(axi4(config))``
    o : ``Out(axi4(config))``
        A memory that gives read data in the order in which it was asked; ``wstrb`` is all ones.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({"i": In(axi4(config)), "o": Out(axi4(config))})

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o

        # Control: one word after the other.
        address, number, left = Signal.like(i.awaddr), Signal(), Signal(8)
        word, stays = Signal.like(i.wdata), Signal.like(i.wstrb)
        failed, asks, comes = Signal.like(o.bresp), Signal(), Signal()
        sent_address, sent_word = Signal(), Signal()
        with m.FSM():
            with m.State("REST"):
                m.d.comb += i.awready.eq(1)
                m.d.sync += [address.eq(i.awaddr), number.eq(i.awid), left.eq(i.awlen),
                             failed.eq(OKAY)]
                with m.If(i.awvalid):
                    m.next = "WORD"
            with m.State("WORD"):
                m.d.comb += i.wready.eq(1)
                m.d.sync += [word.eq(i.wdata), stays.eq(~i.wstrb), sent_address.eq(0),
                             sent_word.eq(0)]
                with m.If(i.wvalid):
                    # What is offered on the read channel must stay until it is taken.
                    m.next = "WRITE"
                    with m.If(~i.wstrb.all()):
                        m.next = "YIELD"
            with m.State("YIELD"):
                with m.If(~o.arvalid | o.arready):
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += asks.eq(1)
                with m.If(o.arvalid & o.arready):
                    m.next = "MERGE"
            with m.State("MERGE"):
                with m.If(comes):
                    for n in range(len(stays)):
                        with m.If(stays[n]):
                            m.d.sync += word.word_select(n, 8).eq(o.rdata.word_select(n, 8))
                    m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += [o.awvalid.eq(~sent_address), o.wvalid.eq(~sent_word),
                             o.bready.eq(1)]
                m.d.sync += [sent_address.eq(sent_address | o.awready),
                             sent_word.eq(sent_word | o.wready)]
                with m.If(o.bvalid):
                    m.d.sync += [failed.eq(failed | o.bresp), left.eq(left - 1),
                                 address.eq(address + len(stays))]
                    m.next = "WORD"
                    with m.If(left == 0):
                        m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += i.bvalid.eq(1)
                with m.If(i.bready):
                    m.next = "REST"

        # Written words.
        m.d.comb += [
            o.awaddr.eq(address), o.awid.eq(number), o.awlen.eq(0),
            o.awsize.eq(exact_log2(len(stays))),
            o.wdata.eq(word), o.wstrb.eq(~0), o.wlast.eq(1), i.bid.eq(number), i.bresp.eq(failed),
        ]

        # Reads: whose each is.
        m.submodules.order = order = Queue(1, READS)
        mine = order.o.payload
        for name in ("id", "addr", "len", "size", "burst", "lock", "cache", "prot", "qos"):
            m.d.comb += getattr(o, f"ar{name}").eq(getattr(i, f"ar{name}"))
        with m.If(asks):
            m.d.comb += [o.araddr.eq(address), o.arlen.eq(0)]
        m.d.comb += [
            o.arvalid.eq((i.arvalid | asks) & order.i.ready),
            i.arready.eq(o.arready & order.i.ready & ~asks),
            order.i.valid.eq(o.arvalid & o.arready), order.i.payload.eq(asks),
            i.rvalid.eq(o.rvalid & ~mine), comes.eq(o.rvalid & mine),
            o.rready.eq(i.rready | mine), order.o.ready.eq(o.rvalid & o.rready & o.rlast),
        ]
        for name in ("id", "data", "resp", "last"):
            m.d.comb += getattr(i, f"r{name}").eq(getattr(o, f"r{name}"))
        return m
