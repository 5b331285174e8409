"""Surroundings of the host link in a bench: the machine's registers, memory, and the host."""

import struct
from itertools import repeat

import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from cocotb.triggers import RisingEdge

from fpga.link.link import Link
from fpga.link.protocol import REPLY, Kind, Status
from hw.memory.axi import axi4
from hw.registers import Registers
from hw.sequencer import program_write
from verif.axi import AxiMemory
from verif.reference.link import parse, request
from verif.streams import StreamMonitor, never


__all__ = ["Host", "LinkSystem"]


class LinkSystem(wiring.Component):
    """The link with the machine's registers."""

    def __init__(self, config, identity, patience):
        self.config, self.identity, self.patience = config, identity, patience
        super().__init__({
            "i": In(stream.Signature(8)), "o": Out(stream.Signature(8)),
            "memory": Out(axi4(config)), "irq": In(1), "start": Out(1),
            "emitted": In(stream.Signature(32)), "program": Out(program_write(config)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.link = link = Link(self.config, self.identity, patience=self.patience)
        m.submodules.registers = registers = Registers(self.config)
        connect(m, link.registers, registers.bus)
        for name in ("i", "o", "memory"):
            connect(m, flipped(getattr(self, name)), getattr(link, name))
        for name in ("emitted", "program"):
            connect(m, flipped(getattr(self, name)), getattr(registers, name))
        m.d.comb += [link.irq.eq(self.irq), self.start.eq(registers.start)]
        return m


def random_latency(channel):
    rng = np.random.default_rng(channel)
    while True:
        yield int(rng.integers(1, 30))


class Host:
    """Sends requests, and collects replies as (kind, number, status, following, flags, payload).

    Parameters
    ----------
    bench : :class:`verif.bench.Bench`
    config : :class:`hw.config.Config`
    size : int
        Bytes of memory.
    pause : function
        Makes an iterator of cycles in which no byte is taken.
    errors : set of int
        Addresses that memory refuses.

    Members
    -------
    deaf : bool
        No byte is taken.
    stuck : str
        Channel of the memory's bus on which nothing moves.
    number : int
        Of the last request.
    """

    def __init__(self, bench, config, size, *, pause=never, errors=()):
        self.bench, self.bytes, self.replies = bench, bytearray(), []
        self.deaf, self.stuck = False, ""
        self.driver = bench.drive("i")
        StreamMonitor(bench.dut, "o", self.take, pause=(self.deaf or one for one in pause()))
        self.image = bench.rng.integers(0, 256, size).astype(np.uint8)
        self.memory = AxiMemory(bench.dut, config, self.image, latency=random_latency,
                                errors=errors, prefix="memory__", pause=lambda name: (
                                    name == f"{self.stuck}0" for _ in repeat(None)))
        self.number = int(bench.rng.integers(0, 256))

    @property
    def cycle(self):
        """Cycles since the beginning."""
        return self.memory.channels[0].time

    def take(self, byte):
        if byte:
            self.bytes.append(byte)
            return
        head, payload = parse(bytes(self.bytes))
        kind, number, count, status, following, flags, zero = struct.unpack("<BBHBBBB", head)
        assert kind & REPLY and count == len(payload) and zero == 0
        self.replies.append((kind & ~REPLY, number, status, following, flags, payload))
        self.bytes.clear()

    async def send(self, data):
        await self.driver.send_all(data)

    async def quiet(self, cycles=600):
        """No reply comes."""
        before = len(self.replies)
        await self.bench.cycles(cycles)
        assert len(self.replies) == before, f"an unexpected reply: {self.replies[-1]}"

    async def reply(self, patience=20000):
        before = len(self.replies)
        for _ in range(patience):
            if len(self.replies) != before:
                return self.replies[-1]
            await RisingEdge(self.bench.dut.clk)
        raise AssertionError("no reply came")

    async def ask(self, kind, count=0, address=0, payload=b"", *, number=None):
        """Send a request with the next number; status and payload of its reply."""
        if number is None:
            self.number = number = (self.number + 1) % 256
        await self.send(request(kind, number, count, address, payload))
        told, answered, status, following, flags, payload = await self.reply()
        assert (told, answered) == (kind & ~REPLY, number)
        if status != Status.OUT_OF_ORDER:
            assert following == (number + 1) % 256
        return Status(status), payload

    async def open(self):
        status, payload = await self.ask(Kind.IDENTIFY)
        assert status == Status.OK
        return payload
