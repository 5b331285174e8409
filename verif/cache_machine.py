"""Surroundings of the cache in a bench: memory, and what each word that is read may hold."""

from collections import Counter, deque

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.memory.cache import cache_events
from hw.signatures import cached_data, range_command, read_data, read_request, write_data
from verif.packing import unpack
from verif.reference.memory import global_address
from verif.slow_memory import SlowMemory
from verif.streams import StreamMonitor, never, sometimes


__all__ = ["Machine"]


class Machine:
    """Memory around a :class:`verif.memory_system.CacheSystem`, and which values a read may have.

    A read must give what the last write that was acknowledged before it has left, or what a later
    one wrote.

    Parameters
    ----------
    bench : :class:`verif.bench.Bench`
    config : :class:`hw.config.Config`
    size : int
        Bytes of memory.
    latency : tuple of int
        Least and most cycles of memory.
    pause : float or None
        Part of the cycles in which memory stalls.

    Members
    -------
    events : Counter
        What the cache counts.
    got : Counter
        Words that came, by requester.
    """

    def __init__(self, bench, config, size, latency=(20, 20), pause=None):
        dut, rng = bench.dut, bench.rng
        self.bench, self.dut, self.rng, self.config = bench, dut, rng, config
        self.lines = size // config.line_bytes
        self.image = rng.integers(0, 256, size).astype(np.uint8)

        def latencies(channel):
            source = np.random.default_rng(int(rng.integers(1 << 30)) + channel)
            while True:
                yield int(source.integers(latency[0], latency[1] + 1))

        def pauses(name):
            seed = int(rng.integers(1 << 30))
            return never() if pause is None else sometimes(seed, pause)

        self.memory = SlowMemory(dut, config, self.image, latency=latencies, pause=pauses)
        dut.limit.value = size >> 12
        self.drivers = {name: bench.drive(name, read_request(config))
                        for name in ("d", "w", "gather")}
        self.writes = bench.drive("writes", write_data(config))
        self.ranges = bench.drive("ranges", range_command(config))
        # Of each word, its values, and the writes after which they were accepted; those of a read
        # that is on its way, and which of them were acknowledged before it.
        self.values = {}
        self.accepted, self.acknowledged = [], 0
        self.wanted = {name: deque() for name in self.drivers}
        self.got = Counter()
        for name, shape in (("d", cached_data), ("w", cached_data), ("gather", read_data)):
            StreamMonitor(dut, f"{name}_data", lambda item, name=name: self.check(name, item),
                          shape(config))
        self.events = Counter()
        cocotb.start_soon(self.count())

    async def count(self):
        dut = self.dut
        while True:
            await RisingEdge(dut.clk)
            self.events.update(unpack(cache_events, dut.events.value))
            if dut.writes__valid.value and dut.writes__ready.value:
                self.accept(unpack(write_data(self.config), dut.writes__payload.value))
            self.acknowledged += int(dut.written.value)

    def accept(self, write):
        """A write was taken: its word has one value more."""
        address = write["address"]
        history = self.history(address)
        old, data = history[-1][1], 0
        for n in range(self.config.word_bytes):
            source = write["data"] if write["strobe"] >> n & 1 else old
            data |= source & 0xFF << 8 * n
        self.accepted.append(address)
        history.append((len(self.accepted), data))

    def history(self, address):
        """Values of a word, each with the number of the write that it came with."""
        if address not in self.values:
            raw = self.image[address:][:self.config.word_bytes].tobytes()
            self.values[address] = [(0, int.from_bytes(raw, "little"))]
        return self.values[address]

    def check(self, name, item):
        """A word or a beat came: each word is one that may be read."""
        config = self.config
        words = config.beat_words if item.get("whole") else 1
        for n in range(words):
            address, before = self.wanted[name].popleft()
            value = item["data"] >> config.word_bits * n & (1 << config.word_bits) - 1
            history = self.history(address)
            legal = [data for number, data in history if number > before]
            legal.append([data for number, data in history if number <= before][-1])
            # Channels need not see a write at the same time.
            for channel in range(config.channels):
                mask = (1 << config.data_bits) - 1 << config.data_bits * channel
                assert value & mask in {data & mask for data in legal}, (
                    f"{name}: {value:#x} at {address:#x} is not one of {[*map(hex, legal)]}")
            self.got[name] += 1

    async def read(self, name, address, words):
        """Ask for a burst; what comes is checked."""
        for at in range(address, address + words * self.config.word_bytes, self.config.word_bytes):
            self.history(at)
            self.wanted[name].append((at, self.acknowledged))
        await self.drivers[name].send({"address": address, "words": words})

    def burst(self, lines=None):
        """A random burst of whole beats; of ``(first, last)`` lines."""
        config, rng = self.config, self.rng
        first, last = lines or (0, self.lines - 1)
        line = int(rng.integers(first, last + 1))
        span = config.burst_bytes // config.beat_bytes
        beat = line * config.line_bytes // config.beat_bytes
        start = beat // span * span if rng.integers(2) else beat
        beats = span - start % span
        beats = beats if rng.integers(2) else int(rng.integers(1, beats + 1))
        return start * config.beat_bytes, beats * config.beat_words

    async def write(self, lines=None):
        """Write some bytes of a random word: ``(address, strobe)``."""
        rng, word, line = self.rng, self.config.word_bytes, self.config.line_bytes
        first, last = lines or (0, self.lines - 1)
        address = line * int(rng.integers(first, last + 1)) + word * int(rng.integers(line // word))
        self.history(address)
        data, every = int.from_bytes(rng.bytes(word), "little"), (1 << word) - 1
        strobe = every
        if rng.integers(2):
            strobe = int.from_bytes(rng.bytes(word), "little") & every
            if rng.integers(2):
                # All or none of eight bytes.
                strobe = sum(0xFF << n for n in range(0, word, 8) if strobe >> n & 1) & every
        strobe = strobe or 1
        await self.writes.send({"address": address, "data": data, "strobe": strobe})
        return address, strobe

    async def pin(self, slot, first, lines, place, preload=False):
        await self.ranges.send({"slot": slot, "live": 1, "preload": int(preload), "first": first,
                                "lines": lines, "place": place})

    async def hold(self, *pinned):
        """Pin a range, and wait until it is in force and what is read ahead has come; what memory
        was asked for is forgotten."""
        await self.pin(*pinned)
        # Valid bits are cleared before anything is asked for.
        await self.bench.cycles(self.config.cache_bursts + 20)
        await self.rest(100)
        self.asked()

    async def drop(self, slot):
        await self.ranges.send({"slot": slot})

    async def rest(self, quiet=60):
        """Wait until everything has come, and the cache has been quiet for a while."""
        calm = 0
        for _ in range(100_000):
            await RisingEdge(self.dut.clk)
            busy = any(self.wanted.values()) or not self.dut.quiet.value
            calm = 0 if busy else calm + 1
            if calm == quiet:
                return
        raise AssertionError("the cache does not come to rest")

    def asked(self):
        """Bursts of memory, as the reference names them; they are forgotten."""
        bursts = [(global_address(address, 0, self.config), words)
                  for channel, address, words in self.memory.bursts if channel == 0]
        self.memory.bursts.clear()
        return bursts
