"""Bench of everything that sees addresses, from commands down to AXI: streams, walks, flushes."""

import random
from collections import Counter

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw import isa
from hw.config import Config
from hw.memory.dma import dma_events
from hw.signatures import Command, row_write
from verif.axi import AxiMemory
from verif.bench import Bench, current
from verif.memory_system import DmaSystem
from verif.packing import unpack
from verif.reference import memory as reference
from verif.streams import StreamMonitor, bursts, never, sometimes


CONFIGS = {
    "nano":          dict(name="test", data_bits=32, slices=1, lanes=2, workspace=4096,
                          w_fifo=1024, d_fifo=512, outstanding=8, kv_staging=8),
    "two_channels":  dict(name="test", data_bits=32, channels=2, slices=2, lanes=8, burst=8,
                          workspace=4096, w_fifo=2048, d_fifo=512, outstanding=16, kv_staging=8),
    "four_channels": dict(name="test", data_bits=64, channels=4, slices=4, lanes=16, burst=4,
                          workspace=8192, w_fifo=8192, d_fifo=1024, outstanding=32, kv_staging=8),
}

SIMULATORS = {"nano": ("icarus",), "four_channels": ("verilator",)}

SIZE = 1 << 17


def component(config):
    return DmaSystem(Config(**config))


config = Config(**current(CONFIGS))
LINES = SIZE // config.line_bytes


class Machine:
    """Memory and workspace around the DMA, and what its streams are to deliver."""

    def __init__(self, bench, restless=False, latency=60):
        dut, rng = bench.dut, bench.rng
        self.bench, self.dut, self.rng = bench, dut, rng
        self.seeds = random.Random(int(rng.integers(1 << 30)))
        self.image = rng.integers(0, 256, SIZE).astype(np.uint8)
        self.rows = np.zeros((config.rows, config.lanes), np.uint32)

        def latencies(channel):
            source = random.Random(self.seeds.random())
            while True:
                yield source.randint(1, latency) if restless else latency

        def pause(name):
            return sometimes(self.seeds.random(), 0.3) if restless else never()

        self.memory = AxiMemory(dut, config, self.image, latency=latencies, pause=pause)
        dut.limit.value = SIZE >> 12
        StreamMonitor(dut, "write", self.store, row_write(config))
        self.fetch = bench.drive("fetch", Command)
        self.mover = bench.drive("mover", Command)
        self.events, self.wanted = Counter(), Counter()
        cocotb.start_soon(self.count())

    def store(self, row):
        data = row["data"].to_bytes(4 * config.lanes, "little")
        self.rows[row["address"]] = np.frombuffer(data, "<u4")

    async def count(self):
        while True:
            await RisingEdge(self.dut.clk)
            self.events.update(unpack(dma_events, self.dut.events.value))

    def beats(self, address, number):
        raw = self.image[address:][:number * config.beat_bytes].tobytes()
        return [int.from_bytes(raw[n:n + config.beat_bytes], "little")
                for n in range(0, len(raw), config.beat_bytes)]

    def want(self, address, number):
        """Expect the bursts of so many beats; return the beats."""
        self.wanted.update(reference.bursts(address, number * config.beat_words, config))
        return self.beats(address, number)

    def stream(self, name, beats, line=None):
        """A random ``stream`` command and its beats."""
        lines = beats * config.beat_bytes // config.line_bytes + 1
        line = int(self.rng.integers(0, LINES - lines)) if line is None else line
        command = {"word": isa.encode("stream", stream=name, beats=beats), "address": line,
                   "count": int(self.rng.integers(1 << 32))}
        return command, self.want(line * config.line_bytes, beats)

    def walk(self, count, take0=0):
        """A random ``walk`` command and its beats."""
        beats = int(self.rng.integers(1, 40))
        stride = -(-beats * config.beat_bytes // config.line_bytes) + int(self.rng.integers(3))
        line = int(self.rng.integers(0, LINES // 4))
        command = {"word": isa.encode("walk", take0=take0, stride=stride, beats=beats),
                   "address": line, "count": count}
        expected = []
        for address, number in reference.walk(line, count, stride, beats, config):
            expected += self.want(address, number)
        return command, expected

    def issued(self):
        """The bursts of the first channel, as the reference names them."""
        return Counter((reference.global_address(address, 0, config), words)
                       for channel, address, words in self.memory.bursts if channel == 0)

    async def allow(self, counter):
        self.dut.add_id.value, self.dut.add_count.value, self.dut.add_en.value = counter, 1, 1
        await RisingEdge(self.dut.clk)
        self.dut.add_en.value = 0

    async def flush(self, name):
        getattr(self.dut, f"flush_{name}").value = 1
        await RisingEdge(self.dut.clk)
        getattr(self.dut, f"flush_{name}").value = 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize((("restless", "pause"), [
    (False, never), (True, lambda: sometimes(3)), (True, lambda: bursts(4, 150))]))
async def streams_deliver_what_was_asked(dut, restless, pause):
    """Both streams, with gathers between, in order and without a word too many."""
    async with Bench(dut) as bench:
        machine = Machine(bench, restless)
        w, d = bench.expect("w", pause=pause()), bench.expect("d", pause=pause())
        gathers = cocotb.start_soon(machine.mover.send_all(
            {"word": isa.encode("gather", dst=2 * n, blocks=2), "address": 8 * n, "count": 0}
            for n in range(4)))
        for n in range(24):
            beats = int(bench.rng.choice([1, 2, 3, 7, 40]))
            command, expected = (machine.walk(int(bench.rng.integers(0, 100))) if n % 3 == 2
                                 else machine.stream("wd"[n % 3], beats))
            (w, d, d)[n % 3].expect_all(expected)
            await machine.fetch.send(command)
        await gathers
    assert dut.quiet.value and not dut.fetch_busy.value and not dut.busy.value
    for n in range(4):
        start = 8 * n * config.line_bytes
        rows = machine.rows[2 * n * config.block_rows:][:2 * config.block_rows]
        assert rows.tobytes() == machine.image[start:start + 256].tobytes()
        machine.wanted.update(reference.bursts(start, 256 // config.word_bytes, config))
    assert machine.issued() == machine.wanted
    assert machine.events["w"] == w.matched * config.beat_words
    assert machine.events["d"] == d.matched * config.beat_words
    assert machine.events["gather"] == 4 * 256 // config.word_bytes


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize((("words", "pieces"), [(4000, 1), (1600, 20)]))
async def memory_is_read_at_full_rate(dut, words, pieces):
    """Words take hardly more cycles than there are words, in one descriptor or in many."""
    async with Bench(dut, patience=5000) as bench:
        machine = Machine(bench, latency=60)
        w = bench.expect("w")
        beats, line = words // config.beat_words // pieces, 0
        commands = []
        for _ in range(pieces):
            command, expected = machine.stream("w", beats, line)
            commands.append(command)
            w.expect_all(expected)
            line += -(-beats * config.beat_bytes // config.line_bytes)
        machine.fetch.start(commands)
        cycles = 0
        while w.expected:
            await RisingEdge(dut.clk)
            cycles += 1
        assert cycles <= 1.01 * words + 60 + 20, f"{cycles} cycles for {words} words"


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def one_stream_does_not_wait_for_the_other(dut):
    """W goes on while D's walk waits for a counter, and while nobody takes D's beats."""
    async with Bench(dut) as bench:
        machine = Machine(bench, latency=20)
        w = bench.expect("w")
        dut.d__ready.value = 0
        walk, walked = machine.walk(70, take0=9)
        await machine.fetch.send(walk)
        long, _ = machine.stream("d", config.d_fifo // config.beat_bytes * 2)
        await machine.fetch.send(long)
        for _ in range(20):
            command, expected = machine.stream("w", 9)
            w.expect_all(expected)
            await machine.fetch.send(command)
        while w.expected:
            await RisingEdge(dut.clk)
        await machine.allow(9)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_walk_waits_before_its_last_block(dut):
    """All blocks but the last are read at once, the last only when it is allowed."""
    async with Bench(dut) as bench:
        machine = Machine(bench, latency=10)
        received = StreamMonitor(dut, "d").received
        for count in (1, 32, 33, 96):
            received.clear()
            command, expected = machine.walk(count, take0=3)
            before = len(expected) * (-(-count // 32) - 1) // -(-count // 32)
            await machine.fetch.send(command)
            await bench.cycles(60 + 4 * len(expected) * config.beat_words)
            assert received == expected[:before]
            assert not dut.fetch__ready.value or dut.fetch_busy.value
            await machine.allow(3)
            await bench.cycles(60 + 2 * len(expected) * config.beat_words)
            assert received == expected and not dut.fetch_busy.value


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_walk_of_no_tokens_reads_and_takes_nothing(dut):
    """Neither a word nor a permission is lost."""
    async with Bench(dut) as bench:
        machine = Machine(bench, latency=10)
        d = bench.expect("d")
        await machine.allow(3)
        for count in (0, 5, 0):
            command, expected = machine.walk(count, take0=3)
            d.expect_all(expected)
            await machine.fetch.send(command)
    assert machine.issued() == machine.wanted and not dut.overflow.value


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(restless=[False, True])
async def a_flush_forgets_one_stream(dut, restless):
    """Whenever it comes: nothing asked before it is delivered after, and the other goes on."""
    async with Bench(dut, patience=5000) as bench:
        machine = Machine(bench, restless)
        streams = {"w": StreamMonitor(dut, "w", pause=sometimes(1)),
                   "d": StreamMonitor(dut, "d", pause=sometimes(2))}
        for n in range(10):
            name, other = ("w", "d") if n % 2 else ("d", "w")
            kept = []
            for _ in range(int(bench.rng.integers(1, 4))):
                command, _ = machine.stream(name, int(bench.rng.integers(1, 100)))
                await machine.fetch.send(command)
                command, expected = machine.stream(other, int(bench.rng.integers(1, 9)))
                kept += expected
                await machine.fetch.send(command)
            await bench.cycles(int(bench.rng.integers(0, 150)))
            # A flush may withdraw a beat: pause the stream, so that no rule of streams is broken.
            streams[name].task.cancel()
            getattr(dut, f"{name}__ready").value = 0
            await machine.flush(name)
            fresh = streams[name] = StreamMonitor(dut, name, pause=sometimes(n))
            command, expected = machine.stream(name, int(bench.rng.integers(1, 60)))
            await machine.fetch.send(command)
            for monitor, wanted in ((fresh, expected), (streams[other], kept)):
                for _ in range(20000):
                    if len(monitor.received) >= len(wanted):
                        break
                    await RisingEdge(dut.clk)
            await bench.cycles(100)
            assert fresh.received == expected
            assert streams[other].received == kept
            for monitor in streams.values():
                monitor.received.clear()
    assert dut.quiet.value and not dut.fault.value
