"""AXI4-Lite registers: how a host starts, watches and reads the machine."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out, Signature

from . import register_map as rm
from .sequencer import program_write


__all__ = ["Registers", "axi_lite"]

ADDRESS_BITS = 8
OKAY, SLVERR = 0, 2


def axi_lite():
    """Signature of an AXI4-Lite bus with 32-bit data, from the master's side."""
    return Signature({
        "awaddr": Out(ADDRESS_BITS), "awvalid": Out(1), "awready": In(1),
        "wdata": Out(32), "wstrb": Out(4), "wvalid": Out(1), "wready": In(1),
        "bresp": In(2), "bvalid": In(1), "bready": Out(1),
        "araddr": Out(ADDRESS_BITS), "arvalid": Out(1), "arready": In(1),
        "rdata": In(32), "rresp": In(2), "rvalid": In(1), "rready": Out(1),
    })


class Registers(wiring.Component):
    """The register map of :mod:`hw.register_map` on an AXI4-Lite bus.

    Every access is answered: an address without a register, and a write to a read-only register,
    with SLVERR. Writes of less than a whole word are answered with SLVERR and change nothing.
    Settings and program memory may be written only while the machine rests; else SLVERR. So is a
    start while the bus hangs.

    Latency
    -------
    A write is answered two cycles after both its address and its data, but for ``hold``, a read
    one after its address. One access of each kind at a time.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    bus : ``In(axi_lite())``
    start, abort : ``Out(1)``
        Pulses.
    program : ``Out(program_write(config))``
    values : ``In(32)`` each
        Read-only registers that others drive, by name.
    settings : ``Out(32)`` each
        Read-write registers, by name.
    emitted : ``In(stream.Signature(32))``
        Values for the host.
    hold : ``In(1)``
        Writes wait.
    wrong : ``Out(1)``
        With ``config.ecc``: a setting has not the parity with which it was written, in the cycle
        before, and until it is written again.
    wrong_offset : ``Out(8)``
        Of the first such register.
    """

    #: Read-only registers whose value comes from outside.
    VALUES = ("status", "cause", "pc", "fault_low", "fault_high", "corrected_place",
              *(f"{name}_{half}" for name, _ in rm.COUNTERS for half in ("low", "high")))
    SETTINGS = ("watchdog", "read_base", "read_limit", "write_base", "write_limit",
                "seed_low", "seed_high")
    EMITTED = 64

    def __init__(self, config):
        self.config = config
        self.parameters = (config,)
        super().__init__({
            "bus": In(axi_lite()), "start": Out(1), "abort": Out(1),
            "program": Out(program_write(config)),
            "values": In(Signature({name: Out(32) for name in self.VALUES})),
            "settings": Out(Signature({name: Out(32) for name in self.SETTINGS})),
            "emitted": In(stream.Signature(32)),
            "hold": In(1), "wrong": Out(1), "wrong_offset": Out(ADDRESS_BITS),
        })

    def elaborate(self, platform):
        m = Module()
        bus, config = self.bus, self.config
        # Values that nobody took belong to the run that emitted them.
        fifo = SyncFIFOBuffered(width=32, depth=self.EMITTED)
        m.submodules.fifo = ResetInserter(self.start)(fifo)
        running, hung = self.values.status[0], self.values.status[3]
        # What is in flight belongs to the windows of its run.
        locked = Signal()
        m.d.comb += locked.eq(running | hung)
        m.d.comb += [fifo.w_data.eq(self.emitted.payload), fifo.w_en.eq(self.emitted.valid),
                     self.emitted.ready.eq(fifo.w_rdy)]
        # The oldest one waits in a register: block RAM is slow.
        oldest, held, taken = Signal(32), Signal(), Signal()
        m.d.comb += fifo.r_en.eq(~held | taken)
        with m.If(fifo.r_en):
            m.d.sync += [oldest.eq(Mux(fifo.r_rdy, fifo.r_data, 0)), held.eq(fifo.r_rdy)]
        with m.If(self.start):
            m.d.sync += [oldest.eq(0), held.eq(0)]
        count = Signal(range(self.EMITTED + 2))
        m.d.comb += count.eq(Mux(held, fifo.r_level + 1, 0))

        # Write: address and data are taken together, answered in the next cycle.
        write, known = Signal(), Signal()
        program_address = Signal(range(4 * config.program))
        parity = {name: Signal(name=f"{name}_parity") for name in self.SETTINGS}
        m.d.comb += [
            write.eq(bus.awvalid & bus.wvalid & ~bus.bvalid & ~self.hold),
            bus.awready.eq(write), bus.wready.eq(write),
        ]
        m.d.sync += [self.start.eq(0), self.abort.eq(0), self.program.en.eq(0)]
        with m.If(bus.bvalid & bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(write):
            m.d.sync += [bus.bvalid.eq(1), bus.bresp.eq(Mux(known, OKAY, SLVERR))]
        with m.If(write & bus.wstrb.all()):
            with m.Switch(bus.awaddr):
                with m.Case(rm.BY_NAME["control"].offset):
                    m.d.comb += known.eq(~(bus.wdata[0] & hung))
                    m.d.sync += [self.start.eq(bus.wdata[0] & ~locked),
                                 self.abort.eq(bus.wdata[1])]
                with m.Case(rm.BY_NAME["program_address"].offset):
                    m.d.comb += known.eq(~locked)
                    m.d.sync += program_address.eq(bus.wdata)
                with m.Case(rm.BY_NAME["program_data"].offset):
                    m.d.comb += known.eq(~locked)
                    m.d.sync += [
                        self.program.en.eq(~locked), self.program.data.eq(bus.wdata),
                        self.program.quarter.eq(program_address),
                        self.program.address.eq(program_address >> 2),
                        program_address.eq(program_address + 1),
                    ]
                for name in self.SETTINGS:
                    with m.Case(rm.BY_NAME[name].offset):
                        m.d.comb += known.eq(~locked)
                        with m.If(~locked):
                            m.d.sync += [getattr(self.settings, name).eq(bus.wdata),
                                         parity[name].eq(bus.wdata.xor())]

        if config.ecc:
            self._check(m, parity)

        # Read: the value is latched with the address.
        read = Signal()
        m.d.comb += [read.eq(bus.arvalid & ~bus.rvalid), bus.arready.eq(read)]
        with m.If(bus.rvalid & bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        # Bit by bit of the address one of two is chosen: a third of the logic of a case each.
        words, readable = [Const(0, 32)] * ((1 << ADDRESS_BITS) // 4), 0
        for register in rm.REGISTERS:
            if register.access != "wo":
                words[register.offset // 4] = self._value(register.name, oldest, count,
                                                          program_address)
                readable |= 1 << register.offset
        for bit in bus.araddr[2:]:
            words = [Mux(bit, *pair) for pair in zip(words[1::2], words[::2], strict=True)]
        there = Signal()
        m.d.comb += there.eq(Const(readable, 1 << ADDRESS_BITS).bit_select(bus.araddr, 1))
        with m.If(read):
            m.d.sync += [bus.rvalid.eq(1), bus.rresp.eq(Mux(there, OKAY, SLVERR)),
                         bus.rdata.eq(Mux(there, *words, 0))]
            m.d.comb += taken.eq(bus.araddr == rm.BY_NAME["emitted"].offset)
        return m

    def _check(self, m, parity):
        """Each setting still has the parity with which it was written, in every cycle."""
        wrong = Signal(len(self.SETTINGS))
        m.d.comb += wrong.eq(Cat(getattr(self.settings, name).xor() ^ parity[name]
                                 for name in self.SETTINGS))
        m.d.sync += self.wrong.eq(wrong.any())
        for n, name in reversed([*enumerate(self.SETTINGS)]):
            with m.If(wrong[n]):
                m.d.sync += self.wrong_offset.eq(rm.BY_NAME[name].offset)

    def _value(self, name, oldest, count, program_address):
        constants = {"identity": rm.IDENTITY, "version": rm.VERSION, "hash": self.config.hash}
        if name in constants:
            return constants[name]
        if name in self.VALUES:
            return getattr(self.values, name)
        if name in self.SETTINGS:
            return getattr(self.settings, name)
        return {"emitted": oldest, "emitted_count": count,
                "program_address": program_address}[name]
