"""What the memory port promises to AXI, whatever core, host and memory do."""

from amaranth import *
from amaranth.hdl import Assert, Assume
from amaranth.lib import wiring
from amaranth.lib.wiring import In, connect
from amaranth.utils import exact_log2

from hw.memory.port import MemoryPort
from hw.register_map import PAGE
from verif.formal.any_memory import AnyMemory


__all__ = ["PortSpec"]

#: What must stay while it is not taken.
HELD = {"ar": ("araddr", "arlen"), "aw": ("awaddr",), "w": ("wdata", "wstrb", "wlast")}


class PortSpec(wiring.Component):
    """Requests stay until they are taken, and are inside the windows; a quiet bus is at rest.

    The core may withdraw what it offers at any time, as a reset makes it do. The host halts the
    port when it likes, and changes the windows only when the port is quiet and halted. Memory is
    :class:`.AnyMemory`, on one channel.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "r_valid": In(1), "r_address": In(config.address_bits), "r_words": In(5),
            "w_valid": In(1), "w_address": In(config.address_bits),
            "w_strobe": In(config.word_bytes), "w_data": In(2),
            "halt": In(1), "take": In(1), "base": In(3), "limit": In(3),
            "ready": In(3), "answers": In(2), "error": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.port = port = MemoryPort(config)
        axi, word = port.axi[0], exact_log2(config.word_bytes)
        first = self.r_address[word:word + exact_log2(config.burst)]

        # Core and host.
        base, limit = Signal.like(self.base), Signal.like(self.limit)
        with m.If(port.quiet & port.halt):
            m.d.sync += [base.eq(self.base), limit.eq(self.limit)]
        m.d.comb += [
            Assume(~ResetSignal()),
            Assume((self.r_words != 0) & (first + self.r_words <= config.burst)),
            Assume(self.r_address[:word] == 0), Assume(self.w_address[:word] == 0),
            Assume(self.w_strobe.any()),
            port.reads.valid.eq(self.r_valid), port.reads.p.address.eq(self.r_address),
            port.reads.p.words.eq(self.r_words),
            port.writes.valid.eq(self.w_valid), port.writes.p.address.eq(self.w_address),
            port.writes.p.strobe.eq(self.w_strobe), port.writes.p.data.eq(self.w_data),
            port.data.ready.eq(self.take), port.halt.eq(self.halt),
            port.read_base.eq(base), port.write_base.eq(base),
            port.read_limit.eq(limit), port.write_limit.eq(limit),
        ]

        m.submodules.memory = memory = AnyMemory(config)
        connect(m, axi, memory.axi)
        m.d.comb += [memory.ready.eq(self.ready), memory.answers.eq(self.answers),
                     memory.error.eq(self.error)]

        # Requests stay.
        for kind, names in HELD.items():
            stalled, valid = Signal(name=f"{kind}_stalled"), getattr(axi, f"{kind}valid")
            now = Cat(getattr(axi, name) for name in names)
            before = Signal(len(now), name=f"{kind}_before")
            m.d.sync += [stalled.eq(valid & ~getattr(axi, f"{kind}ready")), before.eq(now)]
            m.d.comb += Assert(~stalled | (valid & (now == before)))

        # Windows, and borders of 4 KiB.
        page = exact_log2(PAGE)
        end = Signal(config.address_bits + 1)
        m.d.comb += [
            end.eq(axi.araddr + (axi.arlen << word)),
            Assert(~axi.arvalid | (axi.araddr[page:] >= base) & (end[page:] < limit)),
            Assert(~axi.arvalid | (axi.araddr[page:] == end[page:])),
            Assert(~axi.awvalid | (axi.awaddr[page:] >= base) & (axi.awaddr[page:] < limit)),
            Assert(~axi.wvalid | axi.wstrb.any()),
            # Nothing is left behind a quiet port, and no more is in flight than configured.
            Assert(~port.quiet | ~(axi.arvalid | axi.awvalid | axi.wvalid | memory.reads)),
            Assert(~port.quiet | (memory.writes == 0)),
            Assert(~memory.excess), Assert(memory.writes <= config.words_written),
            # Whatever comes is taken in the halt.
            Assert(~port.halt | axi.bready),
        ]
        return m
