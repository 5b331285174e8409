"""Bench of the selector: selects of all kinds one after another, under stalls."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.attention.geometry import BLOCK, select_job
from hw.attention.selector import Selector, selector_latency
from hw.config import Config
from hw.signatures import choice, scores
from verif.bench import Bench, current
from verif.reference.floats import bits, canonical, from_bits
from verif.reference.select import select
from verif.streams import bursts, never, sometimes


CONFIGS = {
    "one_lane":  dict(name="test", data_bits=32, slices=1, columns=2, kv_groups=2, pages=64),
    "two_lanes": dict(name="test", data_bits=32, slices=2, columns=4, pages=256),
    "all_lanes": dict(name="test", data_bits=512, slices=32, columns=8, kv_groups=5, pages=512),
}

SIMULATORS = {"two_lanes": ("verilator",), "all_lanes": ("verilator",)}


def component(config):
    return Selector(Config(**config))


config = Config(**current(CONFIGS))

#: Vectors whose scores make a key.
MOST = config.columns * config.kv_groups


def random_scores(rng, vectors, kind):
    """Scores [vectors, config.pages], as the array gives them."""
    shape = vectors, config.pages
    if kind == "any":
        return canonical(from_bits(rng.integers(0, 2**32, shape, np.uint32)))
    y = rng.normal(size=shape)
    if kind == "ties":
        y = np.where(rng.random(shape) < 0.02, np.nan, rng.integers(-2, 3, shape))
    if kind == "near":
        y = 100 + y / 4
    if kind == "rising":
        y = np.sort(y)
    return canonical(y.astype(np.float32))


class Streams:
    """All streams of the selector, and what is expected of selects."""

    def __init__(self, bench, i_pause, o_pause):
        self.rng     = bench.rng
        self.jobs    = bench.drive("jobs", select_job(config))
        self.scores  = bench.drive("scores", scores(config), pause=i_pause)
        self.choices = bench.expect("choices", choice, pause=o_pause)

    async def select(self, y, count, columns, groups=1, **limits):
        """Send a select with scores ``y`` [groups * columns, pages], whose choices are expected."""
        pages = select(y, min(count, config.pages), **limits)
        self.choices.expect_all([*({"page": page, "end": 0} for page in pages),
                                 {"page": 0, "end": 1}])
        blocks = -(-count // BLOCK)
        for number in range(max(blocks, 1)):
            await self.jobs.send({"first": number == 0, "last": number >= blocks - 1,
                                  "number": number, "pages": count, "columns": columns,
                                  "groups": groups} | limits)
            if number < blocks:
                await self.scores.send_all(self.beats(y, number, count, columns))
        return pages

    def beats(self, y, number, count, columns):
        """The order of the drain: tiles of keys, their columns, their rows."""
        # What lies beyond the count is never looked at.
        block = bits(canonical(from_bits(self.rng.integers(0, 2**32, (len(y), BLOCK), np.uint32))))
        there = bits(y[:, BLOCK * number:min(count, BLOCK * (number + 1))])
        block[:, :there.shape[1]] = there
        lanes, tiles = config.softmax_lanes, config.key_tiles
        tile_rows = block.reshape(len(y), tiles, -1, lanes)
        return [{"column": n % columns, "group": n // columns, "values": values}
                for tile in range(tiles) for n in range(len(y)) for values in tile_rows[n, tile]]


def random_select(rng, kind):
    """Scores and arguments of a select."""
    columns = int(rng.integers(1, config.columns + 1))
    groups  = int(rng.integers(1, config.kv_groups + 1))
    count   = int(rng.integers(1, config.pages + 1))
    limits  = {"skip": int(rng.integers(4)), "recent": int(rng.integers(6)),
               "shift": int(rng.integers(6)), "least": int(rng.integers(12))}
    return random_scores(rng, columns * groups, kind), count, columns, groups, limits


KINDS = ["normal", "near", "ties", "any", "rising"]


@cocotb.test()
@cocotb.parametrize((("i_pause", "o_pause"), [
    (never, never), (lambda: sometimes(1), lambda: sometimes(2)), (never, lambda: bursts(3, 600))]))
async def pages_are_chosen(dut, i_pause, o_pause):
    async with Bench(dut, patience=4000) as bench:
        streams = Streams(bench, i_pause(), o_pause())
        for kind in 2 * KINDS:
            y, count, columns, groups, limits = random_select(bench.rng, kind)
            await streams.select(y, count, columns, groups, **limits)


@cocotb.test()
async def limits_may_leave_all_or_none(dut):
    async with Bench(dut) as bench:
        streams = Streams(bench, never(), sometimes(1))
        y, most = random_scores(bench.rng, 2, "ties"), config.pages
        for count, limits in ((0, dict(least=5)), (most, dict(shift=15)), (1, dict(skip=1)),
                              (1, dict(least=1)), (7, dict(skip=3, recent=5, least=9)),
                              (33, dict(skip=4095, least=9)), (0, {}),
                              (0, dict(recent=4095, least=9)), (most, dict(least=4095)),
                              (most, dict(skip=1, recent=1)), (33, dict(skip=32, least=4)),
                              (40, dict(recent=39, least=1))):
            await streams.select(y, count, 2, **limits)


@cocotb.test()
async def scores_may_come_while_choices_wait(dut):
    """Two selects are taken while nobody takes choices; the third one waits."""
    async with Bench(dut, patience=4000) as bench:
        stalled = [True]
        streams = Streams(bench, never(), iter(lambda: stalled[0], None))
        selects = [(random_scores(bench.rng, 2, "normal"), 40 + n, 2) for n in range(3)]
        for args in selects[:2]:
            await streams.select(*args, least=5)
        third = cocotb.start_soon(streams.select(*selects[2], least=5))
        await bench.cycles(2 * selector_latency(config, 60))
        sent = streams.jobs.sent
        assert not third.done() and sent == 4, f"{sent} jobs were taken, expected 4"
        stalled[0] = False
        await third
        assert streams.jobs.sent == 6


@cocotb.test()
async def more_pages_than_there_are_are_a_fault(dut):
    async with Bench(dut, patience=4000) as bench:
        streams, faults = Streams(bench, never(), never()), []

        async def watch():
            while True:
                await RisingEdge(dut.clk)
                faults.append(int(dut.fault.value))

        cocotb.start_soon(watch())
        y = random_scores(bench.rng, 2, "normal")
        await streams.select(y, config.pages, 2, least=9)
        assert not any(faults)
        await streams.select(y, config.pages + 70, 2, least=9)
        assert sum(faults) == 1
        await streams.select(y, config.pages - 3, 2, least=3)
        assert sum(faults) == 1


@cocotb.test()
@cocotb.parametrize(count=[33, 64])
async def choices_come_after_the_latency(dut, count):
    """From the last scores to the end: at most what is stated, and scores are never held."""
    columns, groups = config.columns, config.kv_groups
    async with Bench(dut) as bench:
        # The histogram clears itself after reset.
        await bench.cycles(300)
        streams = Streams(bench, never(), never())
        y = random_scores(bench.rng, columns * groups, "normal")
        beats = -(-count // BLOCK) * len(y) * BLOCK // config.softmax_lanes
        task = cocotb.start_soon(streams.select(y, count, columns, groups, skip=2, shift=15,
                                                least=4))
        cycles, cycle = {}, 0
        while ("matched", 5) not in cycles:
            await RisingEdge(dut.clk)
            cycle += 1
            cycles.setdefault(("sent", streams.scores.sent), cycle)
            cycles.setdefault(("matched", streams.choices.matched), cycle)
        await task
        # The driver sends a job only when the scores before it are sent.
        assert cycles["sent", beats] - cycles["sent", 1] <= beats - 1 + count // BLOCK
        taken = cycles["matched", 5] - cycles["sent", beats]
        stated = selector_latency(config, count - 2)
        assert len(y) >= config.softmax_lanes
        # Behind the last page of a partial block come scores that nobody waits for.
        assert taken == stated if count % BLOCK == 0 else taken <= stated, (taken, stated)
