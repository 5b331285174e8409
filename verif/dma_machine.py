"""Surroundings of everything that sees addresses in a bench: memory, workspace and pages."""

import random
from collections import Counter, deque

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw import isa
from hw.memory.dma import dma_events
from hw.signatures import Command, choice, kv_part, range_command, row_write
from verif import walks
from verif.axi import AxiMemory
from verif.packing import unpack
from verif.reference import memory as reference
from verif.streams import StreamMonitor, never, sometimes


__all__ = ["Machine"]


class Machine:
    """Runs commands on a :class:`verif.memory_system.DmaSystem`, and knows what its streams are to
    deliver.

    Parameters
    ----------
    bench : :class:`verif.bench.Bench`
    config : :class:`hw.config.Config`
    size : int
        Bytes of memory.
    restless : bool
        Latencies are random, up to ``latency``, and memory stalls.
    latency : int
        Cycles of memory.

    Members
    -------
    image, rows : uint8, uint32
        What memory and workspace hold.
    asked, announced : list
        Commands of D that were sent, and parts that came, since :meth:`d_beats` was called last.
    wanted : Counter
        Bursts that memory must be asked for.
    events : Counter
        What the DMA counts, the cache included.
    """

    def __init__(self, bench, config, size, restless, latency):
        dut, rng = bench.dut, bench.rng
        self.bench, self.dut, self.rng, self.config = bench, dut, rng, config
        self.size, self.lines = size, size // config.line_bytes
        self.seeds = random.Random(int(rng.integers(1 << 30)))
        self.image = rng.integers(0, 256, size).astype(np.uint8)
        self.rows = np.zeros((config.rows, config.lanes), np.uint32)

        def latencies(channel):
            source = random.Random(self.seeds.random())
            while True:
                yield source.randint(1, latency) if restless else latency

        def pause(name):
            return sometimes(self.seeds.random(), 0.3) if restless else never()

        self.memory = AxiMemory(dut, config, self.image, latency=latencies, pause=pause)
        dut.limit.value = size >> 12
        StreamMonitor(dut, "write", self.store, row_write(config))
        self.fetch = bench.drive("fetch", Command)
        self.mover = bench.drive("mover", Command)
        self.choices = bench.drive("choices", choice)
        self.entries = min(self.lines // config.kv_lines(config.max_head_blocks), 200)
        self.announced, self.asked = [], []
        self.parts = StreamMonitor(dut, "parts", self.announced.append, kv_part)
        self.events, self.wanted = Counter(), Counter()
        cocotb.start_soon(self.count())
        self.lists = deque()
        cocotb.start_soon(self.choose())
        if config.cache:
            self.ranges = bench.drive("ranges", range_command(config))

    def store(self, row):
        data = row["data"].to_bytes(4 * self.config.lanes, "little")
        self.rows[row["address"]] = np.frombuffer(data, "<u4")

    async def choose(self):
        while True:
            await RisingEdge(self.dut.clk)
            while self.lists:
                await self.choices.send(self.lists.popleft())

    async def count(self):
        while True:
            await RisingEdge(self.dut.clk)
            events = unpack(dma_events, self.dut.events.value)
            self.events.update({**events.pop("cache"), **events})

    async def change_ranges(self):
        """Pin and drop halves of the cache, again and again, if there is one."""
        config, rng = self.config, self.rng
        half = config.cache // 2 // config.line_bytes
        while config.cache:
            slot = int(rng.integers(2))
            # Of different halves of memory, so that no two ranges overlap.
            line = int(rng.integers(self.lines // 8)) + slot * self.lines // 2
            place = slot * config.cache_bursts // 2
            await self.ranges.send({
                "slot": slot, "live": int(rng.integers(8) > 0), "preload": int(rng.integers(4) > 0),
                "first": line, "lines": half - config.burst_lines, "place": place})
            await self.bench.cycles(int(rng.integers(6000)))

    def beats(self, address, number):
        size = self.config.beat_bytes
        raw = self.image[address:][:number * size].tobytes()
        return [int.from_bytes(raw[n:n + size], "little") for n in range(0, len(raw), size)]

    def want(self, address, number):
        """Expect the bursts of so many beats; return the beats."""
        words = number * self.config.beat_words
        self.wanted.update(reference.bursts(address, words, self.config))
        return self.beats(address, number)

    def stream(self, name, beats, line=None):
        """A random ``stream`` command and its beats."""
        config = self.config
        lines = beats * config.beat_bytes // config.line_bytes + 1
        line = int(self.rng.integers(0, self.lines - lines)) if line is None else line
        command = {"word": isa.encode("stream", stream=name, beats=beats), "address": line,
                   "count": int(self.rng.integers(1 << 32))}
        return command, self.want(line * config.line_bytes, beats)

    def table(self, line=0):
        """Write a block table, a line's address; return it."""
        table = self.rng.permutation(self.entries).astype("<u4")
        self.image[line * self.config.line_bytes:][:4 * self.entries] = table.view(np.uint8)
        self.dut.table.value = line
        return table

    def walk(self, **fields):
        """A random ``walk`` command, as of :func:`verif.walks.walk`."""
        longest = min(400, 32 * (self.entries - 1))
        line = int(self.rng.integers(0, self.lines // 4)) if fields.get("table") is None else 0
        command = walks.walk(self.rng, self.config, line, **{"longest": longest, **fields})
        for block in command["blocks"]:
            for _, address, beats in block:
                assert address + beats * self.config.beat_bytes <= self.size
                self.want(address, beats)
        return command

    def d_stream(self, beats):
        """A random ``stream`` command of D in the same form."""
        command, _ = self.stream("d", beats)
        return walks.stream(self.rng, self.config, beats, command["address"])

    async def send(self, command):
        """Send a command of D, and its list."""
        self.asked.append(command)
        self.lists += walks.choices_of(command)
        self.dut.entries.value = self.entries if command.get("paged") else 0
        await self.fetch.send(command["command"])

    def d_beats(self):
        """Beats of all that was announced, in the order in which it was."""
        found = walks.Follower(self.asked, self.config.keys_ahead).all(self.announced)
        self.asked.clear()
        self.announced.clear()
        return [beat for _, address, beats in found for beat in self.beats(address, beats)]

    def issued(self):
        """The bursts of the first channel, as the reference names them."""
        return Counter((reference.global_address(address, 0, self.config), words)
                       for channel, address, words in self.memory.bursts if channel == 0)

    async def rest(self, patience=200000):
        """Wait until all that was asked for has come."""
        quiet = 0
        for _ in range(patience):
            await RisingEdge(self.dut.clk)
            busy = (self.dut.fetch_busy.value or not self.dut.quiet.value
                    or self.dut.d__valid.value or self.dut.parts__valid.value)
            quiet = 0 if busy else quiet + 1
            if quiet > 10:
                return
        raise AssertionError("memory does not come to rest")

    async def add(self, counter):
        self.dut.add_id.value, self.dut.add_count.value, self.dut.add_en.value = counter, 1, 1
        await RisingEdge(self.dut.clk)
        self.dut.add_en.value = 0

    async def flush(self, name):
        getattr(self.dut, f"flush_{name}").value = 1
        await RisingEdge(self.dut.clk)
        getattr(self.dut, f"flush_{name}").value = 0
