"""Surroundings of the mover in a bench: memory, workspace and counters."""

import random

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw import isa
from hw.memory.staging import staging_write
from hw.signatures import Command, row_write
from verif.axi import AxiMemory
from verif.packing import pack
from verif.streams import StreamMonitor, never, sometimes


__all__ = ["Machine"]

BLOCK = 32


class Machine:
    """Runs commands on a :class:`verif.memory_system.MoverSystem`.

    Parameters
    ----------
    bench : :class:`verif.bench.Bench`
    config : :class:`hw.config.Config`
    size : int
        Bytes of memory.
    restless : bool
        Latencies are random, and all streams stall.
    delay : int
        Latency of memory otherwise.

    Members
    -------
    image, workspace : uint8, uint32
        What memory and workspace hold.
    raised : dict
        (``raise0`` or ``raise1``, counter) -> how often it was raised.
    """

    def __init__(self, bench, config, size, restless, delay=20):
        dut, rng = bench.dut, bench.rng
        seeds = random.Random(int(rng.integers(1 << 30)))

        def pause(rate=0.4):
            return sometimes(seeds.random(), rate) if restless else never()

        def latency(channel):
            source = random.Random(seeds.random())
            while True:
                yield source.randint(1, 30) if restless else delay

        self.bench, self.dut, self.rng, self.config = bench, dut, rng, config
        self.size, self.lines = size, size // config.line_bytes
        self.image = rng.integers(0, 256, size).astype(np.uint8)
        self.workspace = rng.integers(0, 1 << 32, config.blocks * BLOCK).astype(np.uint32)
        self.memory = AxiMemory(dut, config, self.image, latency=latency,
                                pause=lambda name: pause())
        dut.limit.value = size >> 12
        self.raised = {}
        self.commands = bench.drive("mover", Command)
        StreamMonitor(dut, "write", self.store, row_write(config), pause=pause())
        cocotb.start_soon(self.fetch_rows(pause()))
        cocotb.start_soon(self.count())

    def rows(self):
        return self.workspace.reshape(-1, self.config.lanes)

    def store(self, row):
        data = row["data"].to_bytes(4 * self.config.lanes, "little")
        self.rows()[row["address"]] = np.frombuffer(data, "<u4")

    async def fetch_rows(self, pause):
        """Answer the workspace read port; ``data`` is garbage in all other cycles."""
        dut, ready = self.dut, False
        while True:
            dut.read__request__ready.value = ready
            await RisingEdge(dut.clk)
            dut.read__data.value = random.getrandbits(self.config.row_bits)
            if ready and dut.read__request__valid.value:
                row = self.rows()[int(dut.read__request__payload.value)]
                dut.read__data.value = int.from_bytes(row.astype("<u4").tobytes(), "little")
            ready = not next(pause)

    async def count(self):
        while True:
            await RisingEdge(self.dut.clk)
            assert not self.dut.overflow.value, "a counter was taken below zero"
            for name in ("raise0", "raise1"):
                if int(getattr(self.dut, f"{name}__en").value):
                    key = name, int(getattr(self.dut, f"{name}__id").value)
                    self.raised[key] = self.raised.get(key, 0) + 1

    async def allow(self, counter, number=1):
        self.dut.add_id.value, self.dut.add_count.value, self.dut.add_en.value = counter, number, 1
        await RisingEdge(self.dut.clk)
        self.dut.add_en.value = 0

    async def send(self, name, address, count=0, **fields):
        await self.commands.send({"word": isa.encode(name, base=0, offset=0, **fields),
                                  "address": address, "count": count})

    async def restart(self):
        """Reset mover, port and counters while nothing is in flight."""
        self.commands = self.bench.drive("mover", Command)
        self.dut.rst.value = 1
        await self.bench.cycles(2)
        self.dut.rst.value = 0

    async def rest(self):
        """Wait until the mover is idle."""
        await self.bench.cycles(2)
        while self.dut.busy.value:
            await RisingEdge(self.dut.clk)
        await self.bench.cycles(2)
        assert self.dut.quiet.value and not self.dut.fault.value

    async def stage(self, blocks, codes, first=0):
        """Write quantised blocks into the staging memory, halves in both orders."""
        for n, (block, code) in enumerate(zip(blocks, codes), first):
            for half in (0, 1) if n % 3 else (1, 0):
                self.dut.staging.value = pack(staging_write(self.config), {
                    "en": 1, "address": n, "half": half, "code": int(code),
                    "data": block[16 * half:][:16]})
                await RisingEdge(self.dut.clk)
        self.dut.staging.value = 0

    async def stays(self, fault, *command, **fields):
        """A command that gives this fault and no other, and never ends; then a reset."""
        faults = {name: getattr(self.dut, name) for name in ("table_fault", "choice_fault")}
        sent = cocotb.start_soon(self.send(*command, **fields))
        await self.bench.cycles(300)
        assert {name for name, wire in faults.items() if wire.value} == {fault}
        assert not sent.done()
        sent.cancel()
        await self.restart()
        assert not faults[fault].value

    def random_line(self, blocks):
        """First line of some place for so many blocks of the workspace."""
        return int(self.rng.integers(0, (self.size - 4 * BLOCK * blocks) // self.config.line_bytes))

    def random_more(self, heads, head_blocks):
        """How many tokens more an append may have."""
        return int(self.rng.integers(min(16, self.config.kv_staging // (2 * heads * head_blocks))))

    def random_append(self, heads, head_blocks, position, lines, more=None, **where):
        """Staged blocks, their codes, and the arguments that reference and command share."""
        rng = self.rng
        more = self.random_more(heads, head_blocks) if more is None else more
        number = 2 * heads * head_blocks * (1 + more)
        staged = rng.integers(-128, 128, (number, BLOCK)).astype(np.int8)
        line = int(rng.integers(0, self.lines - heads * lines + 1))
        return staged, rng.integers(0, 256, number), line, position, dict(
            heads=heads, head_blocks=head_blocks, head_stride=lines, more=more, **where)
