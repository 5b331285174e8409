"""Bench of the memory port against an AXI memory."""

import random

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.config import Config
from hw.memory.port import MemoryPort, port_fault
from hw.register_map import Cause
from hw.signatures import read_data, read_request, write_data
from verif.axi import AxiMemory
from verif.bench import Bench, current
from verif.packing import unpack
from verif.reference.memory import bursts
from verif.streams import StreamMonitor, never, sometimes


CONFIGS = {
    "one_channel":   dict(name="test", data_bits=32, slices=1, outstanding=8),
    # Bursts of all channels together are longer than the pages of the windows.
    "two_channels":  dict(name="test", data_bits=512, channels=2, slices=8, burst=64,
                          outstanding=4, w_fifo=16384, d_fifo=16384),
    "four_channels": dict(name="test", data_bits=32, channels=4, burst=8, outstanding=8),
    # The most channels, and the widest one.
    "many_channels": dict(name="test", data_bits=32, channels=32, slices=8, burst=16,
                          outstanding=4, w_fifo=16384, d_fifo=16384),
    "wide_channel":  dict(name="test", data_bits=1024, slices=8, burst=16, outstanding=4,
                          w_fifo=16384, d_fifo=16384),
}

SIMULATORS = {"two_channels": ("icarus",), "four_channels": ("verilator",),
              "many_channels": ("verilator",), "wide_channel": ("verilator",)}


def component(config):
    return MemoryPort(Config(**config))


config = Config(**current(CONFIGS))
W, SIZE = config.word_bytes, 1 << 18


def image(rng):
    return rng.integers(0, 256, SIZE).astype(np.uint8)


def fixed(*latencies):
    """Latency of each channel, the last one for all others."""
    def of(channel):
        latency = latencies[min(channel, len(latencies) - 1)]
        while True:
            yield latency
    return of


def random_latency(channel):
    rng = random.Random(channel)
    while True:
        yield rng.randint(1, 40)


def restless(name):
    return sometimes(name, 0.4)


def calm(name):
    return never()


def open_windows(dut):
    dut.read_base.value = dut.write_base.value = 0
    dut.read_limit.value = dut.write_limit.value = SIZE >> 12


def fault(dut):
    return unpack(port_fault(config), dut.fault.value)


def random_bursts(rng, number):
    """Requests that stay inside aligned bursts."""
    for _ in range(number):
        offset = rng.integers(0, config.burst)
        words = rng.integers(1, config.burst - offset + 1)
        base = rng.integers(0, SIZE // (W * config.burst)) * config.burst
        yield {"address": int(base + offset) * W, "words": int(words)}


def words_of(data, request):
    raw = data[request["address"]:][:request["words"] * W].tobytes()
    return [{"data": int.from_bytes(raw[n:n + W], "little")} for n in range(0, len(raw), W)]


def random_writes(rng, number):
    for _ in range(number):
        strobe = rng.integers(0, 2, W) if rng.integers(2) else np.zeros(W, int)
        strobe[rng.integers(0, W)] = 1
        yield {"address": int(rng.integers(0, SIZE // W)) * W,
               "data": int.from_bytes(rng.bytes(W), "little"),
               "strobe": sum(int(bit) << n for n, bit in enumerate(strobe))}


def apply(data, write):
    for n in range(W):
        if write["strobe"] >> n & 1:
            data[write["address"] + n] = write["data"] >> (8 * n) & 255


async def count_written(dut, counter):
    while True:
        await RisingEdge(dut.clk)
        counter[0] += int(dut.written.value)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(latency=[fixed(1), fixed(30, 5, 60), random_latency], pause=[calm, restless])
async def bursts_come_in_order(dut, latency, pause):
    """Whatever the channels' latencies, each word is put together from one burst."""
    async with Bench(dut) as bench:
        data = image(bench.rng)
        memory = AxiMemory(dut, config, data, latency=latency, pause=pause)
        open_windows(dut)
        driver = bench.drive("reads", read_request(config))
        board = bench.expect("data", read_data(config))
        for request in random_bursts(bench.rng, 60):
            board.expect_all(words_of(data, request))
            await driver.send(request)
    assert memory.reading == 0 and dut.quiet.value and not dut.fault.value


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(latency=[fixed(1), random_latency], pause=[calm, restless])
async def writes_reach_memory(dut, latency, pause):
    """Strobed bytes are written, others are not; each word is acknowledged once."""
    async with Bench(dut) as bench:
        data = image(bench.rng)
        expected, written = data.copy(), [0]
        memory = AxiMemory(dut, config, data, latency=latency, pause=pause)
        open_windows(dut)
        cocotb.start_soon(count_written(dut, written))
        driver = bench.drive("writes", write_data(config))
        for write in random_writes(bench.rng, 100):
            apply(expected, write)
            await driver.send(write)
        await bench.cycles(1)
        while not dut.quiet.value:
            await RisingEdge(dut.clk)
    assert written[0] == 100 and memory.writing == 0
    assert np.array_equal(data, expected)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_word_is_written_when_it_is_acknowledged(dut):
    """``written`` does not come before memory has the word."""
    async with Bench(dut) as bench:
        data = np.zeros(SIZE, np.uint8)
        AxiMemory(dut, config, data, latency=fixed(20, 50))
        open_windows(dut)
        driver = bench.drive("writes", write_data(config))
        await driver.send({"address": 4 * W, "data": 2**(8 * W) - 1, "strobe": 2**W - 1})
        while not dut.written.value:
            await RisingEdge(dut.clk)
        assert data[4 * W:5 * W].all()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def reads_run_at_full_rate(dut):
    """A sequential read takes a cycle a word, when enough bursts are in flight."""
    async with Bench(dut) as bench:
        data = image(bench.rng)
        latency = min(60, config.outstanding * config.burst - config.burst - 16)
        AxiMemory(dut, config, data, latency=fixed(latency))
        open_windows(dut)
        driver = bench.drive("reads", read_request(config))
        board = bench.expect("data", read_data(config))
        words = 1024
        for address, length in bursts(0, words, config):
            board.expect_all(words_of(data, {"address": address, "words": length}))
        start = bench.dut.clk
        driver.start({"address": a, "words": n} for a, n in bursts(0, words, config))
        cycles = 0
        while board.matched < words:
            await RisingEdge(start)
            cycles += 1
    assert cycles <= 1.01 * words + latency + 10, f"{cycles} cycles"


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def writes_run_at_full_rate(dut):
    """A word takes a cycle, if as many may be in flight as memory takes cycles."""
    async with Bench(dut) as bench:
        latency, words = min(60, config.words_written - 8), 512
        AxiMemory(dut, config, np.zeros(SIZE, np.uint8), latency=fixed(latency))
        open_windows(dut)
        driver, written, cycles = bench.drive("writes", write_data(config)), [0], 0
        cocotb.start_soon(count_written(dut, written))
        driver.start({"address": n * W, "data": n, "strobe": 2**W - 1} for n in range(words))
        while written[0] < words:
            await RisingEdge(dut.clk)
            cycles += 1
    assert cycles <= 1.01 * words + latency + 10, f"{cycles} cycles"


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(place=["before", "after", "across"])
async def reads_outside_the_window_are_not_issued(dut, place):
    """A burst that is not wholly inside ends the run with its address."""
    async with Bench(dut) as bench:
        memory = AxiMemory(dut, config, image(bench.rng), latency=fixed(1))
        dut.read_base.value, dut.read_limit.value = 2, 4
        driver = bench.drive("reads", read_request(config))
        span = config.burst * W
        good = {"address": 3 * 4096, "words": 1}
        bad = {"before": {"address": 2 * 4096 - W, "words": 1},
               "after": {"address": 4 * 4096, "words": 1},
               "across": {"address": 2 * 4096 - span, "words": config.burst}}[place]
        board = bench.expect("data", read_data(config))
        board.expect_all(words_of(memory.image, good))
        await driver.send(good)
        await bench.cycles(30)
        await driver.send(bad)
        await bench.cycles(30)
        assert fault(dut) == {"valid": 1, "cause": Cause.READ_WINDOW, "address": bad["address"]}
        assert len(memory.bursts) == config.channels, "the bad burst was issued"


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_burst_must_end_inside_the_window(dut):
    """The longest burst that starts on the window's only page fits, unless it is longer."""
    async with Bench(dut) as bench:
        memory = AxiMemory(dut, config, image(bench.rng), latency=fixed(1))
        dut.read_base.value, dut.read_limit.value = 2, 3
        StreamMonitor(dut, "data")
        driver = bench.drive("reads", read_request(config))
        await driver.send({"address": 2 * 4096, "words": config.burst})
        await bench.cycles(20)
        fits = config.burst * W <= 4096
        assert fault(dut)["valid"] != fits
        assert len(memory.bursts) == (config.channels if fits else 0)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def writes_outside_the_window_are_not_issued(dut):
    """Memory outside the window never changes, and nothing follows the fault."""
    async with Bench(dut) as bench:
        data = np.zeros(SIZE, np.uint8)
        AxiMemory(dut, config, data, latency=fixed(1))
        dut.write_base.value, dut.write_limit.value = 2, 4
        driver = bench.drive("writes", write_data(config))
        full = {"data": 2**(8 * W) - 1, "strobe": 2**W - 1}
        await driver.send({"address": 2 * 4096, **full})
        await driver.send({"address": 4 * 4096, **full})
        task = driver.start([{"address": 3 * 4096, **full}])
        await bench.cycles(40)
        task.cancel()
        assert fault(dut) == {"valid": 1, "cause": Cause.WRITE_WINDOW, "address": 4 * 4096}
        assert np.flatnonzero(data).tolist() == list(range(2 * 4096, 2 * 4096 + W))


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(kind=["read", "write"])
async def bus_errors_are_faults(dut, kind):
    """The address of the first bad answer is told: of the burst, or of the word."""
    async with Bench(dut) as bench:
        bad = 4 * config.burst * W
        AxiMemory(dut, config, image(bench.rng), latency=fixed(9), errors={bad + W, bad + 64 * W})
        open_windows(dut)
        if kind == "read":
            driver = bench.drive("reads", read_request(config))
            received = StreamMonitor(dut, "data").received
            for n in range(3):
                await driver.send({"address": bad - (1 - n) * config.burst * W,
                                   "words": config.burst})
            await bench.cycles(150)
            expected = {"valid": 1, "cause": Cause.READ_BUS, "address": bad}
            assert len(received) == config.burst + 2, "words came after the error"
        else:
            driver = bench.drive("writes", write_data(config))
            for n in range(3):
                await driver.send({"address": bad + n * W, "data": 0, "strobe": 2**W - 1})
            await bench.cycles(60)
            expected = {"valid": 1, "cause": Cause.WRITE_BUS, "address": bad + W}
        assert fault(dut) == expected


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(delay=[3, 20, 47])
async def a_halt_leaves_nothing_in_flight(dut, delay):
    """What is in flight ends by the rules of AXI; afterwards the port works as new."""
    async with Bench(dut) as bench:
        data = image(bench.rng)
        memory = AxiMemory(dut, config, data, latency=random_latency, pause=restless)
        open_windows(dut)
        reads = bench.drive("reads", read_request(config))
        writes = bench.drive("writes", write_data(config))
        monitor = StreamMonitor(dut, "data")
        tasks = [reads.start(random_bursts(bench.rng, 1000)),
                 writes.start(random_writes(np.random.default_rng(1), 1000))]
        await bench.cycles(delay)
        dut.halt.value = 1
        await bench.cycles(1)
        received = len(monitor.received)
        issued = len(memory.bursts)
        while not dut.quiet.value:
            await RisingEdge(dut.clk)
        assert memory.reading == 0 and memory.writing == 0
        assert len(monitor.received) <= received + 1, "words came after the halt"
        assert len(memory.bursts) <= issued + config.channels * config.outstanding
        for task in tasks:
            task.cancel()
        dut.reads__valid.value = dut.writes__valid.value = 0
        monitor.task.cancel()
        await bench.cycles(5)
        dut.halt.value = 0
        board = bench.expect("data", read_data(config))
        for request in random_bursts(bench.rng, 5):
            board.expect_all(words_of(data, request))
            await reads.send(request)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_halt_clears_the_fault(dut):
    """The fault stays until nothing is in flight."""
    async with Bench(dut) as bench:
        data = image(bench.rng)
        AxiMemory(dut, config, data, latency=fixed(30))
        open_windows(dut)
        reads = bench.drive("reads", read_request(config))
        await reads.send({"address": 0, "words": 2})
        await reads.send({"address": SIZE, "words": 2})
        await bench.cycles(5)
        assert fault(dut)["valid"]
        dut.halt.value = 1
        await bench.cycles(3)
        assert fault(dut)["valid"] and not dut.quiet.value
        await bench.cycles(60)
        assert dut.quiet.value and not fault(dut)["valid"]
        dut.halt.value = 0
        board = bench.expect("data", read_data(config))
        board.expect_all(words_of(data, {"address": 0, "words": 2}))
        await reads.send({"address": 0, "words": 2})
