"""Bench of the cache on a memory port: ranges, hits and fills beside writes that overtake them."""

import cocotb
from cocotb.triggers import RisingEdge

from hw.config import Config
from hw.memory.cache import Cache
from hw.memory.lookup import Lookup
from hw.memory.preload import Preload
from hw.memory.replies import Replies
from verif.bench import Bench, current
from verif.cache_machine import Machine
from verif.memory_system import CacheSystem
from verif.reference.cache import Cache as Reference


CONFIGS = {
    "nano":         dict(name="test", data_bits=32, slices=1, lanes=2, w_fifo=1024, d_fifo=512,
                         outstanding=8, cache=2048, ranges=3),
    # Four lines a burst, two words a beat.
    "sim":          dict(name="test", data_bits=128, slices=2, cache=8192, outstanding=4,
                         ranges=4),
    # A word is a beat.
    "two_channels": dict(name="test", data_bits=64, channels=2, slices=1, burst=8, cache=4096,
                         outstanding=8, ranges=1),
    # Words of two parts with check bits each.
    "ecc":          dict(name="test", data_bits=128, slices=2, cache=8192, outstanding=4,
                         ranges=4, ecc=1),
    # Lines of one beat, a burst of two beats.
    "wide":         dict(name="test", data_bits=128, channels=2, slices=8, burst=8, cache=4096,
                         outstanding=8, ranges=8),
}

SIMULATORS = {"two_channels": ("verilator",), "ecc": ("verilator",),
              "wide": ("verilator",)}


def component(config):
    return CacheSystem(Config(**config))


config = Config(**current(CONFIGS))
SIZE = 1 << 15
LINES = SIZE // config.line_bytes


def surround(bench, **options):
    return Machine(bench, config, SIZE, **options)


def some_range(rng, reference):
    """A random range that is legal, and often as large as it can be."""
    for _ in range(1000):
        slot = int(rng.integers(config.ranges))
        place = int(rng.integers(config.cache_bursts))
        most = (config.cache_bursts - place) * config.burst_lines
        first, lines = int(rng.integers(LINES - most)), int(rng.integers(1, most + 1))
        trial = Reference(config)
        trial.ranges = dict(reference.ranges)
        if trial.pin(slot, first, lines, place):
            return slot, first, lines, place
    return None


@cocotb.test()
async def one_read_after_the_other(dut):
    """Hits, misses and fills are those of the reference, and so is what memory is asked for."""
    async with Bench(dut) as bench:
        machine, reference, rng = surround(bench), Reference(config), bench.rng
        for _ in range(160):
            kind = rng.integers(10)
            if kind == 0 and reference.ranges:
                slot = int(rng.choice(list(reference.ranges)))
                reference.drop(slot)
                await machine.drop(slot)
            elif kind <= 2 or not reference.ranges:
                found = some_range(rng, reference)
                if found is not None:
                    preload = bool(rng.integers(4) == 0)
                    assert reference.pin(*found, preload)
                    await machine.hold(*found, preload)
            elif kind == 3:
                reference.write(*await machine.write())
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
        cocotb.log.info("%s", dict(machine.events))
        assert reference.hits > 50 and reference.misses > 10
        assert not dut.range_fault.value and not dut.fault.value


@cocotb.test()
@cocotb.parametrize((("latency", "pause"), [((3, 3), None), ((1, 60), 0.3), ((40, 40), None)]))
async def reads_and_writes_at_the_same_time(dut, latency, pause):
    """Streams, writes and changing ranges: nothing old is ever read."""
    async with Bench(dut) as bench:
        machine, rng = surround(bench, latency=latency, pause=pause), bench.rng
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
                await bench.cycles(int(rng.integers(1, 1000)))
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
        assert machine.events["hit"] > 30 and machine.events["fill"] > 20
        assert not dut.range_fault.value


@cocotb.test()
async def what_is_written_is_read_from_the_cache(dut):
    """A valid line stays valid when it is written, byte by byte; with check bits, if all bytes that
    share some are."""
    async with Bench(dut) as bench:
        machine, reference = surround(bench), Reference(config)
        first, lines = config.burst_lines, 2 * config.burst_lines
        hot = first, first + lines - 1
        pinned = 0, first, lines, config.cache_bursts - 2, True
        reference.pin(*pinned)
        await machine.hold(*pinned)
        for _ in range(60):
            reference.write(*await machine.write(hot))
            await machine.rest(8)
            burst = machine.burst(hot)
            await machine.read("d", *burst)
            await machine.rest(8)
            assert machine.asked() == reference.read(*burst)
        assert machine.events["miss"] == reference.misses and (reference.misses == 0) != config.ecc


@cocotb.test(skip=config.ranges == 1)
async def a_range_is_written_while_another_one_begins(dut):
    """Every cycle: lines become invalid, and bursts of the new range are cleared."""
    async with Bench(dut) as bench:
        machine = surround(bench, latency=(10, 10))
        rows = config.cache_bursts - 4
        hot = 0, 2 * config.burst_lines - 1
        for _ in range(12):
            await machine.pin(0, 0, hot[1] + 1, rows, preload=True)
            await bench.cycles(60)
            await machine.rest()
            await machine.pin(1, hot[1] + 1, rows * config.burst_lines, 0, preload=True)
            for _ in range(rows + 30):
                await machine.write(hot)
            await machine.rest()
            for _ in range(8):
                await machine.read("d", *machine.burst(hot))
                await machine.read("w", *machine.burst((hot[1] + 1, LINES - 1)))
            await machine.rest()


@cocotb.test()
async def hits_come_at_a_beat_a_cycle(dut):
    """From a pinned range, while the other stream waits for memory."""
    async with Bench(dut) as bench:
        machine = surround(bench, latency=(200, 200))
        bursts = config.cache_bursts
        await machine.hold(0, 0, bursts * config.burst_lines, 0, True)
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


async def cycles_until(dut, wire):
    """Clock edges up to the first one at which a wire is high."""
    for n in range(1, 1000):
        await RisingEdge(dut.clk)
        if wire.value:
            return n
    raise AssertionError(f"{wire._name} never rises")


@cocotb.test()
async def each_step_takes_its_cycles(dut):
    """A range, what is read ahead into it, a hit, and a read of memory."""
    # From a request of the cache to one on the bus: past arbiter and port.
    asked = Replies.latency + Lookup.latency + 2
    async with Bench(dut) as bench:
        machine = surround(bench)
        lines = config.burst_lines
        machine.ranges.start([{"live": 1, "preload": 1, "lines": lines}])
        assert await cycles_until(dut, dut.ranges__ready) == config.ranges + 2
        # One cycle to drain, and one for the valid bits of its burst.
        assert await cycles_until(dut, dut.axi__0__arvalid) == 2 + Preload.latency + asked
        await machine.rest(100)
        for name in ("d", "w"):
            await machine.read(name, 0, config.burst)
            assert await cycles_until(dut, getattr(dut, f"{name}_data__valid")) == Cache.latency
            await machine.rest(10)
            await machine.read(name, SIZE // 2, config.burst)
            assert await cycles_until(dut, dut.axi__0__arvalid) == asked
            await machine.rest(10)
        await bench.cycles(1)
        machine.ranges.start([{}])
        assert await cycles_until(dut, dut.ranges__ready) == 1


@cocotb.test()
async def a_preload_lets_others_go_first(dut):
    """Of what memory is asked for while a stream asks, most is for the stream."""
    async with Bench(dut) as bench:
        machine = surround(bench, latency=(10, 10))
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
            machine, reference = surround(bench), Reference(config)
            for command in commands[:-1]:
                await machine.pin(*command)
                assert reference.pin(*command)
            sending = cocotb.start_soon(machine.pin(*commands[-1]))
            await bench.cycles(4 * config.ranges + 2 * config.cache_bursts + 40)
            assert bool(dut.range_fault.value) == bool(fault), name
            assert reference.pin(*commands[-1]) == (not fault), name
            sending.cancel()
            machine.memory.task.cancel()
