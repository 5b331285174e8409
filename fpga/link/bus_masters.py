"""Accesses of one word on the buses."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.memory.axi import axi4
from hw.registers import axi_lite

from .access import access


__all__ = ["LiteMaster", "MemoryMaster"]


def carry_out(m, ask, answer, bus):
    """One access on the handshakes of ``bus``.

    Address and data are offered until each is taken; then the response is awaited.
    """
    address_done, data_done, waiting = Signal(), Signal(), Signal()
    asked = Signal()
    m.d.comb += [
        asked.eq(ask.valid & ~waiting),
        bus.awvalid.eq(asked & ask.p.write & ~address_done),
        bus.wvalid.eq(asked & ask.p.write & ~data_done),
        bus.arvalid.eq(asked & ~ask.p.write),
        bus.awaddr.eq(ask.p.address), bus.araddr.eq(ask.p.address),
        bus.wdata.eq(ask.p.data), bus.wstrb.eq(~0),
        bus.bready.eq(waiting), bus.rready.eq(waiting),
        answer.valid.eq(waiting & (bus.bvalid | bus.rvalid)),
        answer.p.error.eq(Mux(ask.p.write, bus.bresp, bus.rresp) != 0),
        answer.p.data.eq(bus.rdata),
        ask.ready.eq(answer.valid),
    ]
    with m.If(asked & bus.awready):
        m.d.sync += address_done.eq(1)
    with m.If(asked & bus.wready):
        m.d.sync += data_done.eq(1)
    with m.If(asked & Mux(ask.p.write, (address_done | bus.awready) & (data_done | bus.wready),
                          bus.arready)):
        m.d.sync += [waiting.eq(1), address_done.eq(0), data_done.eq(0)]
    with m.If(answer.valid):
        m.d.sync += waiting.eq(0)


class MemoryMaster(wiring.Component):
    """Words of memory, in bursts of one.

    Latency
    -------
    A cycle, and what the bus takes. ``ask`` is taken with the answer.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    words : ``In(access(config.data_bits))``
    bus : ``Out(axi4(config))``
    """

    def __init__(self, config):
        self.config = config
        super().__init__({"words": In(access(config.data_bits)), "bus": Out(axi4(config))})

    def elaborate(self, platform):
        m = Module()
        bus, size = self.bus, exact_log2(self.config.data_bits // 8)
        carry_out(m, self.words.ask, self.words.answer, bus)
        m.d.comb += [bus.awsize.eq(size), bus.arsize.eq(size), bus.wlast.eq(1)]
        return m


class LiteMaster(wiring.Component):
    """Registers on AXI4-Lite.

    Latency
    -------
    A cycle, and what the bus takes. ``ask`` is taken with the answer.

    Members
    -------
    words : ``In(access(32))``
    bus : ``Out(axi_lite())``
    """

    words: In(access(32))
    bus: Out(axi_lite())

    def elaborate(self, platform):
        m = Module()
        carry_out(m, self.words.ask, self.words.answer, self.bus)
        return m
