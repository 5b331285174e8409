"""Bench of the cache on a memory port: ranges, hits and fills beside writes that overtake them."""

from collections import Counter, deque

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.config import Config
from hw.memory.cache import cache_events
from hw.signatures import cached_data, range_command, read_data, read_request, write_data
from verif.axi import AxiMemory
from verif.bench import Bench, current
from verif.memory_system import CacheSystem
from verif.packing import unpack
from verif.reference.cache import Cache
from verif.reference.memory import global_address
from verif.streams import StreamMonitor, never, sometimes


CONFIGS = {
    "nano":         dict(name="test", data_bits=32, slices=1, lanes=2, w_fifo=1024, d_fifo=512,
                         outstanding=8, cache=2048, ranges=3),
    # Four lines a burst, two words a beat.
    "sim":          dict(name="test", data_bits=128, slices=2, cache=8192, outstanding=4,
                         ranges=4),
    # A word is a beat.
    "two_channels": dict(name="test", data_bits=64, channels=2, slices=1, burst=8, cache=4096,
                         outstanding=8, ranges=1),
    # Lines of one beat, a burst of two beats.
    "wide":         dict(name="test", data_bits=128, channels=2, slices=8, burst=8, cache=4096,
                         outstanding=8, ranges=8),
}

SIMULATORS = {"two_channels": ("verilator",), "wide": ("verilator",)}


def component(config):
    return CacheSystem(Config(**config))


config = Config(**current(CONFIGS))
SIZE = 1 << 15
LINES = SIZE // config.line_bytes
WORD = config.word_bytes


class SlowMemory(AxiMemory):
    """A memory that overtakes: it looks at a word when it is asked for it, and writes a word when
    it acknowledges it."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        for channel in self.channels:
            self.slow_down(channel)

    def slow_down(self, channel):
        read, offer_read = channel.read, channel.offer_read
        write, offer_answer = channel.write, channel.offer_answer
        early, late = deque(), deque()

        def read_early(request):
            before = len(channel.reads)
            read(request)
            for _, address, _ in list(channel.reads)[before:]:
                early.append(self.image[channel.span(address)].tobytes())

        def offer_early():
            waiting = len(channel.reads)
            offer_read()
            if len(channel.reads) < waiting:
                channel.wires["rdata"].value = int.from_bytes(early.popleft(), "little")

        def write_late(*request):
            late.append(request)
            channel.answers.append((channel.time + next(channel.latency), 0))

        def answer_late():
            waiting = len(channel.answers)
            offer_answer()
            if len(channel.answers) < waiting:
                write(*late.popleft())
                # That is not another answer.
                channel.answers.pop()

        channel.read, channel.offer_read = read_early, offer_early
        channel.write, channel.offer_answer = write_late, answer_late


class Machine:
    """Memory around the cache, and which values each read may have.

    A read must give what the last write that was acknowledged before it has left, or what a later
    one wrote.
    """

    def __init__(self, bench, latency=(20, 20), pause=None):
        dut, rng = bench.dut, bench.rng
        self.bench, self.dut, self.rng = bench, dut, rng
        self.image = rng.integers(0, 256, SIZE).astype(np.uint8)

        def latencies(channel):
            source = np.random.default_rng(int(rng.integers(1 << 30)) + channel)
            while True:
                yield int(source.integers(latency[0], latency[1] + 1))

        def pauses(name):
            seed = int(rng.integers(1 << 30))
            return never() if pause is None else sometimes(seed, pause)

        self.memory = SlowMemory(dut, config, self.image, latency=latencies, pause=pauses)
        dut.limit.value = SIZE >> 12
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
                self.accept(unpack(write_data(config), dut.writes__payload.value))
            self.acknowledged += int(dut.written.value)

    def accept(self, write):
        """A write was taken: its word has one value more."""
        address = write["address"]
        history = self.history(address)
        old, data = history[-1][1], 0
        for n in range(WORD):
            source = write["data"] if write["strobe"] >> n & 1 else old
            data |= source & 0xFF << 8 * n
        self.accepted.append(address)
        history.append((len(self.accepted), data))

    def history(self, address):
        """Values of a word, each with the number of the write that it came with."""
        if address not in self.values:
            raw = self.image[address:address + WORD].tobytes()
            self.values[address] = [(0, int.from_bytes(raw, "little"))]
        return self.values[address]

    def check(self, name, item):
        """A word or a beat came: each word is one that may be read."""
        words = config.beat_words if item.get("whole") else 1
        for n in range(words):
            address, before = self.wanted[name].popleft()
            value = item["data"] >> 8 * WORD * n & (1 << 8 * WORD) - 1
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
        for n in range(words):
            self.history(address + n * WORD)
        driver = self.drivers[name]
        self.wanted[name] += [(address + n * WORD, self.acknowledged) for n in range(words)]
        await driver.send({"address": address, "words": words})

    def burst(self, lines=None):
        """A random burst of whole beats; of ``(first, last)`` lines."""
        rng, first, last = self.rng, 0, LINES - 1
        if lines is not None:
            first, last = lines
        line = int(rng.integers(first, last + 1))
        span = config.burst_bytes // config.beat_bytes
        beat = line * config.line_bytes // config.beat_bytes
        start = beat // span * span if rng.integers(2) else beat
        beats = span - start % span
        beats = beats if rng.integers(2) else int(rng.integers(1, beats + 1))
        return start * config.beat_bytes, beats * config.beat_words

    async def write(self, lines=None):
        """Write some bytes of a random word."""
        first, last = (0, LINES - 1) if lines is None else lines
        line = int(self.rng.integers(first, last + 1))
        address = line * config.line_bytes + WORD * int(
            self.rng.integers(config.line_bytes // WORD))
        self.history(address)
        raw = self.rng.integers(0, 256, 2 * WORD).astype(np.uint8).tobytes()
        strobe = int.from_bytes(raw[WORD:], "little") & (1 << WORD) - 1
        strobe = strobe if self.rng.integers(2) else (1 << WORD) - 1
        await self.writes.send({"address": address, "data": int.from_bytes(raw[:WORD], "little"),
                                "strobe": strobe or 1})

    async def pin(self, slot, first, lines, place, preload=False):
        await self.ranges.send({"slot": slot, "live": 1, "preload": int(preload), "first": first,
                                "lines": lines, "place": place})

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
        bursts = [(global_address(address, 0, config), words)
                  for channel, address, words in self.memory.bursts if channel == 0]
        self.memory.bursts.clear()
        return bursts


def some_range(rng, reference):
    """A random range that is legal, and often as large as it can be."""
    for _ in range(1000):
        slot = int(rng.integers(config.ranges))
        place = int(rng.integers(config.cache_bursts))
        most = (config.cache_bursts - place) * config.burst_lines
        first, lines = int(rng.integers(LINES - most)), int(rng.integers(1, most + 1))
        trial = Cache(config)
        trial.ranges = dict(reference.ranges)
        if trial.pin(slot, first, lines, place):
            return slot, first, lines, place
    return None


@cocotb.test()
async def one_read_after_the_other(dut):
    """Hits, misses and fills are those of the reference, and so is what memory is asked for."""
    async with Bench(dut) as bench:
        machine, reference, rng = Machine(bench), Cache(config), bench.rng
        for _ in range(160):
            kind = rng.integers(10)
            if kind == 0 and reference.ranges:
                slot = int(rng.choice(list(reference.ranges)))
                reference.drop(slot)
                await machine.drop(slot)
            elif kind <= 2 or not reference.ranges:
                found = some_range(rng, reference)
                if found is not None:
                    preload = bool(rng.integers(2))
                    assert reference.pin(*found, preload)
                    await machine.pin(*found, preload)
                    await bench.cycles(config.cache_bursts + 20)
                    await machine.rest(100)
                    machine.asked()
            elif kind == 3:
                await machine.write()
                await machine.rest()
            else:
                first, lines = reference.ranges[int(rng.choice(list(reference.ranges)))][:2]
                around = max(0, first - 4), min(first + lines + 3, LINES - 1)
                address, words = machine.burst(around)
                for _ in range(2):
                    await machine.read(str(rng.choice(["d", "w"])), address, words)
                    await machine.rest(10)
                    assert machine.asked() == reference.read(address, words)
            events = machine.events
            assert (events["hit"], events["miss"]) == (reference.hits, reference.misses)
        await bench.cycles(20)
        assert machine.events["fill"] == reference.fills
        assert reference.hits > 50 and reference.misses > 10
        assert not dut.range_fault.value and not dut.fault.value


@cocotb.test()
@cocotb.parametrize((("latency", "pause"), [((3, 3), None), ((1, 60), 0.3), ((40, 40), None)]))
async def reads_and_writes_at_the_same_time(dut, latency, pause):
    """Streams, writes and changing ranges: nothing old is ever read."""
    async with Bench(dut) as bench:
        machine, rng = Machine(bench, latency, pause), bench.rng
        # A small part of memory, so that all of them meet.
        hot = LINES // 2, LINES // 2 + 3 * config.burst_lines + 2
        reads, done = 200, []

        async def read(name):
            for _ in range(reads):
                await machine.read(name, *machine.burst(None if rng.integers(8) == 0 else hot))
                await bench.cycles(int(rng.choice([0, 0, 0, 3, 30])))
            done.append(name)

        async def write():
            while len(done) < 3:
                for _ in range(int(rng.integers(1, 6))):
                    await machine.write(hot)
                await bench.cycles(int(rng.choice([0, 10, 300, 1000])))

        async def change():
            first, lines = hot[0], hot[1] - hot[0] + 1
            rows = -(-(hot[1] + 1) // config.burst_lines) - hot[0] // config.burst_lines
            await machine.pin(0, first, lines, 0)
            while len(done) < 3:
                await bench.cycles(int(rng.integers(1, 2000)))
                if rng.integers(4) == 0:
                    await machine.drop(0)
                place = int(rng.integers(config.cache_bursts - rows + 1))
                cut = int(rng.integers(lines - 1))
                await machine.pin(0, first + cut, lines - cut, place, bool(rng.integers(2)))
                if config.ranges > 1 and rng.integers(2):
                    await machine.drop(1)

        tasks = [cocotb.start_soon(job) for job in
                 (read("d"), read("w"), read("gather"), write(), change())]
        for task in tasks:
            await task
        await machine.rest()
        cocotb.log.info("%s", dict(machine.events))
        assert machine.events["hit"] > 30 and machine.events["fill"] > 30
        assert not dut.range_fault.value


@cocotb.test()
async def what_is_written_is_read_from_the_cache(dut):
    """A valid line stays valid when it is written, byte by byte."""
    async with Bench(dut) as bench:
        machine = Machine(bench)
        first, lines = config.burst_lines, 2 * config.burst_lines
        hot = first, first + lines - 1
        await machine.pin(0, first, lines, config.cache_bursts - 2, preload=True)
        await bench.cycles(config.cache_bursts + 20)
        await machine.rest()
        machine.asked()
        for _ in range(60):
            await machine.write(hot)
            await machine.rest(8)
            await machine.read("d", *machine.burst(hot))
            await machine.rest(8)
        assert not machine.asked() and machine.events["miss"] == 0


@cocotb.test()
async def hits_come_at_a_beat_a_cycle(dut):
    """From a pinned range, while the other stream waits for memory."""
    async with Bench(dut) as bench:
        machine = Machine(bench, latency=(200, 200))
        bursts = config.cache_bursts
        await machine.pin(0, 0, bursts * config.burst_lines, 0, preload=True)
        await bench.cycles(bursts + 20)
        await machine.rest(250)
        machine.asked()
        far = SIZE - bursts * config.burst_bytes

        async def read_all(name, start):
            for n in range(bursts):
                await machine.read(name, start + n * config.burst_bytes, config.burst)

        cocotb.start_soon(read_all("d", far))
        await bench.cycles(20)
        cocotb.start_soon(read_all("w", 0))
        beats, cycles = bursts * config.burst // config.beat_words, 0
        while machine.got["w"] < bursts * config.burst:
            await RisingEdge(dut.clk)
            cycles += 1
        cocotb.log.info("%d beats in %d cycles", beats, cycles)
        assert cycles <= beats + 10 and machine.events["stall"] == 0
        await machine.rest(250)
        assert len(machine.asked()) == bursts

        # Both together: D's hits go first, and each cycle reads a beat.
        before = machine.events["hit"]
        cocotb.start_soon(read_all("d", 0))
        cocotb.start_soon(read_all("w", 0))
        cycles = 0
        while machine.events["hit"] < before + 2 * beats:
            await RisingEdge(dut.clk)
            cycles += 1
        assert cycles <= 2 * beats + 20 and machine.events["stall"] > beats // 2


@cocotb.test()
async def a_preload_lets_others_go_first(dut):
    """Of what memory is asked for while a stream asks, most is for the stream."""
    async with Bench(dut) as bench:
        machine = Machine(bench, latency=(10, 10))
        bursts = config.cache_bursts
        await machine.pin(0, 0, bursts * config.burst_lines, 0, preload=True)
        await bench.cycles(bursts + 40)
        count = min(bursts, 32)
        for n in range(count):
            await machine.read("d", SIZE - (n + 1) * config.burst_bytes, config.burst)
        while machine.got["d"] < count * config.burst:
            await RisingEdge(dut.clk)
        asked = [address < bursts * config.burst_bytes for address, _ in machine.asked()]
        between = asked[asked.index(False):len(asked) - asked[::-1].index(False)]
        assert sum(between) <= 0.3 * len(between)
        await machine.rest(100)
        assert machine.events["fill"] == bursts * config.burst_lines


@cocotb.test()
async def illegal_ranges_are_faults(dut):
    """Beyond the SRAM or memory, or in conflict with another range; up to it there is none."""
    bursts, lines = config.cache_bursts, config.burst_lines
    pins = {
        "whole":          ([(0, 5 * lines, bursts * lines, 0)], 0),
        "too many":       ([(0, 5 * lines, bursts * lines + 1, 0)], 1),
        "too high":       ([(0, 5 * lines, lines + 1, bursts - 1)], 1),
        "end of memory":  ([(0, 2**32 - 3, 3, 0)], 0),
        "beyond memory":  ([(0, 2**32 - 3, 4, 0)], 1),
    }
    if lines > 1:
        pins["two bursts"] = [(0, lines - 1, 2, bursts - 1)], 1
    if config.ranges > 1:
        last = config.ranges - 1
        pins |= {
            "side by side":   ([(0, 100, 7, 0), (last, 107, 5, 9), (0, 95, 5, 0)], 0),
            "first line":     ([(0, 100, 7, 0), (last, 106, 5, 9)], 1),
            "last line":      ([(last, 100, 7, 0), (0, 95, 6, 9)], 1),
            "same place":     ([(0, 0, 2 * lines, 4), (last, 100 * lines, lines, 5)], 1),
            "place before":   ([(last, 0, 2 * lines, 4), (0, 100 * lines, 2 * lines, 3)], 1),
            "places between": ([(0, 0, lines, 4), (last, 100 * lines, lines, 3)], 0),
        }
    for name, (commands, fault) in pins.items():
        async with Bench(dut) as bench:
            machine, reference = Machine(bench), Cache(config)
            for command in commands[:-1]:
                await machine.pin(*command)
                assert reference.pin(*command)
            sending = cocotb.start_soon(machine.pin(*commands[-1]))
            await bench.cycles(4 * config.ranges + 2 * config.cache_bursts + 40)
            assert bool(dut.range_fault.value) == bool(fault), name
            assert reference.pin(*commands[-1]) == (not fault), name
            sending.cancel()
            machine.memory.task.cancel()
