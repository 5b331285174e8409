"""What the AXI4-Lite slave promises to any host."""

from amaranth import *
from amaranth.hdl import Assert, Assume
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hw.registers import Registers, axi_lite


__all__ = ["RegistersSpec"]

#: The response that AXI4-Lite does not have.
EXOKAY = 1


class RegistersSpec(wiring.Component):
    """The rules of AXI4-Lite for a slave (IHI 0022, A3 and B1), each with its own assertion.

    The host keeps its side: what it offers stays until it is taken.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    """

    def __init__(self, config):
        self.config = config
        super().__init__({"bus": In(axi_lite()), "status": In(32), "hold": In(1),
                          "emitted": In(32), "emits": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.registers = registers = Registers(self.config)
        wiring.connect(m, wiring.flipped(self.bus), registers.bus)
        bus = registers.bus
        m.d.comb += [
            Assume(~ResetSignal()), registers.values.status.eq(self.status),
            registers.hold.eq(self.hold), registers.emitted.payload.eq(self.emitted),
            registers.emitted.valid.eq(self.emits),
        ]

        def stays(valid, ready, payload, check):
            """What is offered stays as it is until it is taken."""
            waits, before = Signal(), Signal.like(payload)
            m.d.sync += [waits.eq(valid & ~ready), before.eq(payload)]
            m.d.comb += check(~waits | (valid & (payload == before)))

        stays(bus.arvalid, bus.arready, bus.araddr, Assume)
        stays(bus.awvalid, bus.awready, bus.awaddr, Assume)
        stays(bus.wvalid, bus.wready, Cat(bus.wdata, bus.wstrb), Assume)
        stays(bus.rvalid, bus.rready, Cat(bus.rdata, bus.rresp), Assert)
        stays(bus.bvalid, bus.bready, bus.bresp, Assert)

        # A response for each request, none without one, and at once.
        for requests, valid, ready in (([bus.arvalid & bus.arready], bus.rvalid, bus.rready),
                                       ([bus.awvalid & bus.awready, bus.wvalid & bus.wready],
                                        bus.bvalid, bus.bready)):
            for taken in requests:
                owed = Signal(2)
                m.d.sync += owed.eq(owed + taken - (valid & ready))
                m.d.comb += [Assert(valid == (owed == 1)), Assert(owed <= 1),
                             # AXI4-Lite: the response to one request before the next is taken.
                             Assert(~(taken & valid))]
        m.d.comb += [Assert(~bus.rvalid | (bus.rresp != EXOKAY)),
                     Assert(~bus.bvalid | (bus.bresp != EXOKAY))]

        # Nobody waits: a request is taken in the cycle in which no response is in its way.
        m.d.comb += [
            Assert(~(bus.arvalid & ~bus.rvalid) | bus.arready),
            Assert(~(bus.awvalid & bus.wvalid & ~bus.bvalid
                     & ~self.hold) | (bus.awready & bus.wready)),
            # Writes do, while memories are cleared.
            Assert(~self.hold | ~(bus.awready | bus.wready)),
            # No bit turns over here: a setting has its parity, whatever the host tries.
            Assert(~registers.wrong),
        ]

        # What a run must not lose does not change while it is under way, or the bus hangs.
        locked = Signal()
        settings = Cat(getattr(registers.settings, name) for name in Registers.SETTINGS)
        before = Signal.like(settings)
        m.d.sync += [locked.eq(self.status[0] | self.status[3]), before.eq(settings)]
        with m.If(locked):
            m.d.comb += [Assert(settings == before), Assert(~registers.program.en),
                         Assert(~registers.start)]
        return m
