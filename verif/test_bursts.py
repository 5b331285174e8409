"""cocotb tests of :class:`hw.memory.bursts.Bursts`: runs of any number of words."""

import cocotb
from cocotb.triggers import RisingEdge

from hw.config import Config
from hw.memory.bursts import Bursts, run
from hw.signatures import read_request
from verif.bench import Bench, current
from verif.reference.memory import bursts
from verif.streams import never, sometimes


CONFIGS = {
    "four_words":    dict(data_bits=128, burst=4),
    "sixteen_words": dict(data_bits=32, burst=16),
}

ROOM = 64


def component(config):
    return Bursts(Config(name="test", slices=1, **config), ROOM)


config = Config(name="test", slices=1, **current(CONFIGS))


def random_runs(rng, number):
    """Runs of up to five bursts; those of no word, and those that end at a border, are frequent."""
    for _ in range(number):
        address = config.word_bytes * int(rng.integers(0, 1000))
        whole = config.burst - address // config.word_bytes % config.burst
        ends = [0, 1, whole, whole + 1, whole + config.burst, whole + config.burst + 1]
        words = rng.choice(ends) if rng.random() < 0.5 else rng.integers(1, 5 * config.burst)
        yield {"address": address, "words": int(words)}


def expected(runs):
    return [{"address": address, "words": words} for each in runs
            for address, words in bursts(each["address"], each["words"], config)]


@cocotb.test()
@cocotb.parametrize(pause=[never, lambda: sometimes(1)], o_pause=[never, lambda: sometimes(2)])
async def runs_are_cut_at_borders(dut, pause, o_pause):
    async with Bench(dut) as bench:
        runs = list(random_runs(bench.rng, 60))
        board = bench.expect("requests", read_request(config), pause=o_pause())
        board.expect_all(expected(runs))
        driver = bench.drive("runs", run(config), pause=pause()).start(runs)
        while not driver.done():
            dut.room.value = int(bench.rng.integers(0, ROOM + 1))
            await RisingEdge(dut.clk)
        dut.room.value = ROOM


@cocotb.test()
async def a_burst_is_requested_in_each_cycle(dut):
    """Also between runs."""
    async with Bench(dut) as bench:
        runs = [each for each in random_runs(bench.rng, 60) if each["words"]]
        wanted = expected(runs)
        dut.room.value = ROOM
        bench.expect("requests", read_request(config)).expect_all(wanted)
        driver, cycles = bench.drive("runs", run(config)).start(runs), 0
        while not driver.done():
            await RisingEdge(dut.clk)
            cycles += 1
        assert cycles <= len(wanted) + 3, f"{cycles} cycles for {len(wanted)} bursts"
