"""cocotb tests of :class:`hw.vector.threefry.Threefry`."""

import cocotb
from cocotb.triggers import RisingEdge

from hw.vector.threefry import Threefry
from verif.bench import Bench, current
from verif.reference.threefry import threefry


CONFIGS = {f"{rounds}_rounds": dict(rounds=rounds) for rounds in (1, 2, 4)}


def component(config):
    return Threefry(**config)


LATENCY = 20 // current(CONFIGS)["rounds"] + 1


def wanted(key, counter):
    word0, word1 = threefry((key & 0xFFFFFFFF, key >> 32), (counter & 0xFFFFFFFF, counter >> 32))
    return int(word0) | int(word1) << 32


async def result(dut):
    """The result after ``done``, which has to come ``LATENCY`` cycles after the start."""
    for cycle in range(1, LATENCY + 1):
        dut.start.value = 0
        dut.counter.value = cycle
        await RisingEdge(dut.clk)
        assert int(dut.done.value) == (cycle == LATENCY), f"done in cycle {cycle}"
    return int(dut.o.value)


async def begin(dut, key, counter):
    dut.start.value, dut.key.value, dut.counter.value = 1, key, counter
    await RisingEdge(dut.clk)


@cocotb.test()
async def matches_reference(dut):
    """Random keys and counters give the reference's words, at once and with gaps between."""
    async with Bench(dut) as bench:
        ones = 2**64 - 1
        cases = [(0, 0), (ones, ones), (0x0370734413198A2E, 0x85A308D3243F6A88)]
        cases += [[int(n) for n in bench.rng.integers(0, 2**64, 2, dtype="u8")] for _ in range(50)]
        for key, counter in cases:
            await begin(dut, key, counter)
            assert await result(dut) == wanted(key, counter)
            for _ in range(bench.rng.integers(0, 4)):
                await RisingEdge(dut.clk)
                assert not dut.done.value
                assert int(dut.o.value) == wanted(key, counter), "the result was not held"


@cocotb.test()
async def start_with_done(dut):
    """A start in the cycle of ``done`` neither disturbs the result nor is disturbed."""
    async with Bench(dut) as bench:
        key = int(bench.rng.integers(0, 2**64, dtype="u8"))
        previous = None
        dut.start.value = 0
        dut.key.value = key
        for counter in range(20):
            dut.start.value, dut.counter.value = 1, counter
            await RisingEdge(dut.clk)
            if previous is not None:
                assert dut.done.value
                assert int(dut.o.value) == wanted(key, previous)
            dut.start.value = 0
            for _ in range(LATENCY - 1):
                await RisingEdge(dut.clk)
                assert not dut.done.value
            previous = counter


@cocotb.test()
async def start_abandons(dut):
    """A start before ``done`` begins anew."""
    async with Bench(dut) as bench:
        for early in range(1, LATENCY):
            await begin(dut, 5, 6)
            dut.start.value = 0
            await bench.cycles(early - 1)
            await begin(dut, 7, 8)
            assert await result(dut) == wanted(7, 8)
