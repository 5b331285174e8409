"""Accesses of one word on the buses."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.memory.axi import OKAY, axi4
from hw.registers import axi_lite

from .access import access
from .protocol import Status


__all__ = ["LiteMaster", "MemoryMaster", "PATIENCE"]

#: Cycles after which a bus counts as silent: longer than an SDRAM takes to start up.
PATIENCE = 1 << 16


def carry_out(m, ask, answer, bus, patience):
    """One access on the handshakes of ``bus``; who asks waits up to ``patience`` cycles.

    Address and data are offered until each is taken; then the response is awaited. A bus must be
    offered what it has not taken, however long, so they are kept here, and as long as the
    response of a given up access is missing every other one is given up at once.
    """
    held = Signal.like(ask.payload)
    address_done, data_done = Signal(), Signal()
    responds, silent, given_up = Signal(), Signal(), Signal()
    left = Signal(range(patience))

    # Control.
    m.d.sync += left.eq(Mux(left == 0, 0, left - 1))
    with m.FSM():
        with m.State("REST"):
            m.d.sync += [held.eq(ask.payload), address_done.eq(0), data_done.eq(0),
                         left.eq(patience - 1)]
            with m.If(ask.valid):
                m.next = "OFFER"
        with m.State("OFFER"):
            m.d.comb += [
                bus.awvalid.eq(held.write & ~address_done), bus.wvalid.eq(held.write & ~data_done),
                bus.arvalid.eq(~held.write), silent.eq(left == 0),
            ]
            m.d.sync += [address_done.eq(address_done | bus.awready),
                         data_done.eq(data_done | bus.wready)]
            with m.If(Mux(held.write, (address_done | bus.awready) & (data_done | bus.wready),
                          bus.arready)):
                m.next = "AWAIT"
        with m.State("AWAIT"):
            m.d.comb += [bus.bready.eq(1), bus.rready.eq(1),
                         responds.eq(bus.bvalid | bus.rvalid), silent.eq((left == 0) & ~responds)]
            with m.If(responds):
                m.d.sync += given_up.eq(0)
                m.next = "REST"
    with m.If(silent):
        m.d.sync += given_up.eq(1)

    # Data.
    m.d.comb += [
        bus.awaddr.eq(held.address), bus.araddr.eq(held.address),
        bus.wdata.eq(held.data), bus.wstrb.eq(~0),
        answer.valid.eq(ask.valid & (responds | silent | given_up)), ask.ready.eq(answer.valid),
        answer.p.status.eq(Mux(silent | given_up, Status.SILENT, Mux(
            Mux(held.write, bus.bresp, bus.rresp) == OKAY, Status.OK, Status.REFUSED))),
        answer.p.data.eq(bus.rdata),
    ]


class MemoryMaster(wiring.Component):
    """Words of memory, in bursts of one.

    Latency
    -------
    Two cycles, and what the bus takes, up to ``patience``: then ``SILENT`` is the answer, also to
    all that is asked before the bus responds. ``ask`` is taken with the answer.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    patience : int
        Cycles.

    Members
    -------
    words : ``In(access(config.data_bits))``
    bus : ``Out(axi4(config))``
    """

    def __init__(self, config, patience=PATIENCE):
        self.config, self.patience = config, patience
        super().__init__({"words": In(access(config.data_bits)), "bus": Out(axi4(config))})

    def elaborate(self, platform):
        m = Module()
        bus, size = self.bus, exact_log2(self.config.data_bits // 8)
        carry_out(m, self.words.ask, self.words.answer, bus, self.patience)
        m.d.comb += [bus.awsize.eq(size), bus.arsize.eq(size), bus.wlast.eq(1)]
        return m


class LiteMaster(wiring.Component):
    """Registers on AXI4-Lite.

    Latency
    -------
    Two cycles, and what the bus takes, up to ``patience``: then ``SILENT`` is the answer, also to
    all that is asked before the bus responds. ``ask`` is taken with the answer.

    Parameters
    ----------
    patience : int
        Cycles.

    Members
    -------
    words : ``In(access(32))``
    bus : ``Out(axi_lite())``
    """

    words: In(access(32))
    bus: Out(axi_lite())

    def __init__(self, patience=PATIENCE):
        self.patience = patience
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        carry_out(m, self.words.ask, self.words.answer, self.bus, self.patience)
        return m
