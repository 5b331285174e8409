"""A system without a machine, with which cable and memory of a board are tested."""

from amaranth import *
from amaranth.lib.wiring import connect

from hw.config import Config
from hw.register_map import IDENTITY

from .link.protocol import CHECK_HASH
from .soc import System


__all__ = ["Check", "CHECK_CONFIG"]

#: Only its buses count.
CHECK_CONFIG = Config(name="check", data_bits=32, slices=1)


class Check(System):
    """Link and memory, and one register, the machine's ``identity``.

    Parameters and members are those of :class:`.soc.System`, without ``config`` and ``hash``.
    """

    def __init__(self, memory, **options):
        super().__init__(CHECK_CONFIG, memory, hash=CHECK_HASH, **options)

    def inside(self, m, link, memory):
        connect(m, link.memory, memory.bus)
        # Registers: each is the identity, and cannot be written.
        bus, refused = link.registers, 2
        read, written = Signal(), Signal()
        m.d.comb += [
            bus.arready.eq(~read), bus.rvalid.eq(read), bus.rdata.eq(IDENTITY),
            bus.rresp.eq(0), bus.bvalid.eq(written), bus.bresp.eq(refused),
            bus.awready.eq(bus.awvalid & bus.wvalid & ~written), bus.wready.eq(bus.awready),
        ]
        m.d.sync += [read.eq(Mux(read, ~bus.rready, bus.arvalid)),
                     written.eq(Mux(written, ~bus.bready, bus.awready))]
