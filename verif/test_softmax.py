"""Bench of the softmax: heads of several blocks, with windows and groups, under stalls."""

from itertools import chain, repeat

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.attention.geometry import softmax_job
from hw.attention.softmax import Softmax, softmax_latency
from hw.attention.totals import Totals
from hw.config import Config
from hw.signatures import act_write, scores
from verif.bench import Bench, current
from verif.reference.floats import bits, float_to_fixed
from verif.reference.pattern import blocks_read, seen
from verif.reference.softmax import BLOCK, softmax
from verif.streams import bursts, never, sometimes


CONFIGS = {
    "one_lane":   dict(name="test", data_bits=32, slices=1, columns=3, kv_groups=2),
    "two_lanes":  dict(name="test", data_bits=32, slices=2, columns=2, kv_groups=3),
    "two_tiles":  dict(name="test", data_bits=32, slices=1, columns=40),
    "some_lanes": dict(name="test", data_bits=128, slices=8, columns=3, kv_groups=2),
    "all_lanes":  dict(name="test", data_bits=512, slices=32, columns=8, kv_groups=2),
}

SIMULATORS = {name: ("verilator",) for name in CONFIGS if name != "one_lane"}

SPECIAL = np.array([0, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 0x00000001, 0x46FFFFFF,
                    0xC7000000, 0x7F7FFFFF, 0x37000000], np.uint32)


def component(config):
    return Softmax(Config(**config))


config = Config(**current(CONFIGS))


def rows(rng, kind, groups, columns, blocks):
    """Scores [blocks, groups, columns, 32] as FP32 bits, and codes of values [blocks, 32]."""
    shape = blocks, groups, columns, BLOCK
    if kind == "any":
        y = rng.integers(0, 2**32, shape, np.uint32)
        y = np.where(rng.random(shape) < 0.3, rng.choice(SPECIAL, shape), y)
        codes = rng.integers(0, 256, (blocks, BLOCK), np.uint8)
    else:
        y = rng.normal(size=shape) * 6
        if kind == "rising":
            y = y + np.arange(blocks)[:, None, None, None] * rng.normal(size=shape[1:3] + (1,)) * 90
        y = bits(y.astype(np.float32))
        codes = rng.integers(115, 135, (blocks, BLOCK), np.uint8)
    # Some blocks have values that are NaN.
    bad = rng.random(codes.shape) < 0.1 * (rng.random((blocks, 1)) < 0.2)
    return y, np.where(bad, 255, codes).astype(np.uint8)


def pattern(rng):
    """Numbers of a head's blocks, and fields of their jobs."""
    fields = {"columns": int(rng.integers(1, config.columns + 1)), "tokens": int(rng.integers(2)),
              "groups": int(rng.integers(1, config.kv_groups + 1)), "window": 0, "sinks": 0}
    far   = rng.random() < 0.3
    count = int(rng.integers(2**32 - 70, 2**32) if far else rng.integers(fields["columns"], 180))
    if far or rng.random() < 0.7:
        fields["window"] = int(rng.choice([1, rng.integers(1, 100), 2**20 - 1, 70]))
        fields["sinks"]  = int(rng.choice([0, 4, rng.integers(80), 2**12 - 1, 32]))
    window, sinks = fields["window"], fields["sinks"]
    span = fields["columns"] if fields["tokens"] else 1
    numbers = blocks_read(count, span, min(window, 100), min(sinks, 100))
    # Blocks before, between and behind them, of which little or nothing is seen.
    more  = rng.integers(max(0, numbers[-1] - 40000), min(2**27, numbers[-1] + 3), 2)
    more  = [*more, rng.integers(160)] if rng.random() < 0.5 else []
    return sorted({*numbers, *map(int, more)}), fields | {"count": count}


def masks(fields, number):
    """Which of the 32 tokens of a block each column sees, [columns, 32]."""
    columns, count = fields["columns"], fields["count"]
    positions = [count - columns + c if fields["tokens"] else count - 1 for c in range(columns)]
    tokens = BLOCK * number + np.arange(BLOCK)
    return np.stack([seen(tokens, p, fields["window"], fields["sinks"]) for p in positions])


def beats(y):
    """The order of the drain, of scores [groups, columns, 32]: tiles, groups, columns, rows."""
    tiles = y.reshape(*y.shape[:2], config.key_tiles, -1, config.softmax_lanes)
    return [{"column": c, "group": g, "values": values}
            for tile in range(config.key_tiles) for g, c in np.ndindex(*y.shape[:2])
            for values in tiles[g, c, tile]]


class Streams:
    """All streams of the softmax, and what is expected of heads."""

    def __init__(self, bench, i_pause=never, o_pause=never, *, codes_pause=None, sums_pause=None):
        self.rng = bench.rng
        self.jobs = bench.drive("jobs", softmax_job(config), pause=i_pause())
        self.codes = bench.drive("v_scales", pause=(codes_pause or i_pause)())
        self.scores = bench.drive("scores", scores(config), pause=i_pause())
        self.act = bench.expect("act", act_write(config), pause=o_pause())
        self.sums = bench.expect("sums", pause=(sums_pause or o_pause)())

    def expect(self, q, code, shift, address):
        """The probabilities of a block, for each vector."""
        for m, (g, c) in enumerate(np.ndindex(*q.shape[:2])):
            for half in range(2):
                block = (address + g) % config.act_blocks
                self.act.expect({
                    "column": c, "address": 2 * block + half,
                    "data": q[g, c, 16 * half:16 * half + 16], "code": code.flat[m],
                    "shift": shift.flat[m], "set_shift": 1})

    def head(self, y, codes, numbers, fields):
        """Jobs, codes and scores of a head, whose results are expected from now on."""
        state, sent = None, []
        t = float_to_fixed(y.view(np.float32))
        for n, number in enumerate(numbers):
            address = int(self.rng.integers(config.act_blocks))
            q, code, shift, state = softmax(t[n], codes[n], state, masks(fields, number))
            self.expect(q, code, shift, address)
            job = fields | {"first": n == 0, "last": n == len(numbers) - 1, "number": number,
                            "address": address}
            sent.append((job, int.from_bytes(codes[n].tobytes(), "little"), beats(y[n])))
        self.sums.expect_all(bits(state.total).ravel())
        return sent

    def random_head(self, kind):
        """:meth:`head` of random blocks."""
        numbers, fields = pattern(self.rng)
        y, codes = rows(self.rng, kind, fields["groups"], fields["columns"], len(numbers))
        return self.head(y, codes, numbers, fields)

    async def send(self, *heads):
        jobs, codes, lots = zip(*chain(*heads), strict=True)
        tasks = [self.jobs.start(jobs), self.codes.start(codes), self.scores.start(chain(*lots))]
        for task in tasks:
            await task


@cocotb.test()
@cocotb.parametrize((("i_pause", "o_pause"), [
    (never, never), (lambda: sometimes(1), lambda: sometimes(2)), (never, lambda: bursts(3, 90)),
    (lambda: bursts(4, 60), never)]))
async def heads_are_weighted(dut, i_pause, o_pause):
    async with Bench(dut) as bench:
        streams = Streams(bench, i_pause, o_pause)
        kinds = ("near", "rising", "any") * 4
        await streams.send(*(streams.random_head(kind) for kind in kinds))


@cocotb.test()
async def codes_may_come_after_the_scores(dut):
    async with Bench(dut) as bench:
        streams = Streams(bench, codes_pause=lambda: sometimes(5, 0.995))
        await streams.send(*(streams.random_head("any") for _ in range(4)))


@cocotb.test()
async def sums_that_nobody_takes_hold_the_last_block(dut):
    async with Bench(dut, patience=5000) as bench:
        streams = Streams(bench, sums_pause=lambda: chain(repeat(True, 4000), never()))
        await streams.send(*(streams.random_head("near") for _ in range(4)))


@cocotb.test()
@cocotb.parametrize(count=[1, 31, 32, 33])
async def the_last_block_may_be_partial(dut, count):
    async with Bench(dut) as bench:
        streams = Streams(bench)
        fields = {"columns": config.columns, "groups": config.kv_groups, "tokens": 0, "window": 0,
                  "sinks": 0, "count": count}
        numbers = blocks_read(count)
        y, codes = rows(bench.rng, "near", config.kv_groups, config.columns, len(numbers))
        await streams.send(streams.head(y, codes, numbers, fields))


@cocotb.test()
@cocotb.parametrize(extra=[0, 1, 29], window=[0, 33])
async def columns_are_the_last_tokens(dut, extra, window):
    count = 65 + extra
    async with Bench(dut) as bench:
        streams = Streams(bench)
        fields = {"columns": config.columns, "groups": 1, "tokens": 1, "window": window,
                  "sinks": 3, "count": count}
        numbers = blocks_read(count, config.columns, window, 3)
        y, codes = rows(bench.rng, "near", 1, config.columns, len(numbers))
        await streams.send(streams.head(y, codes, numbers, fields))


async def ends(dut, streams, groups, columns, blocks):
    """Cycles in which the blocks of a head end."""
    fields = {"columns": columns, "groups": groups, "tokens": 0, "window": 0, "sinks": 0,
              "count": BLOCK * blocks}
    y, codes = rows(streams.rng, "near", groups, columns, blocks)
    sending = cocotb.start_soon(streams.send(streams.head(y, codes, range(blocks), fields)))
    cycles, cycle = [], 0
    while len(cycles) < blocks:
        await RisingEdge(dut.clk)
        cycle += 1
        if str(dut.done.value) == "1":
            cycles.append(cycle)
    await sending
    return np.array(cycles)


@cocotb.test()
@cocotb.parametrize(groups=[1, config.kv_groups], columns=[1, 2, config.columns])
async def blocks_follow_without_a_pause(dut, groups, columns):
    elements = groups * columns * BLOCK
    period = max(elements // min(config.softmax_lanes, 16), Totals.interval)
    async with Bench(dut) as bench:
        cycles = await ends(dut, Streams(bench), groups, columns, 20)
        assert (np.diff(cycles) == period).all(), f"{np.diff(cycles)} instead of {period}"


@cocotb.test()
@cocotb.parametrize(columns=[1, 2, 3], rate=[0.3, 0.6])
async def sums_of_small_blocks_are_added_under_stalls(dut, columns, rate):
    async with Bench(dut) as bench:
        await ends(dut, Streams(bench, o_pause=lambda: sometimes(5, rate)), 1,
                   min(columns, config.columns), 40)


@cocotb.test()
async def a_stall_costs_its_cycles(dut):
    elements = config.columns * BLOCK
    period = max(elements // min(config.softmax_lanes, 16), Totals.interval)
    # All begins a while before the stall, and ends a while after it.
    before = softmax_latency(config) + 12 * period
    async with Bench(dut) as bench:
        streams = Streams(bench, o_pause=lambda: chain(repeat(False, before), repeat(True, 100),
                                                       never()))
        cycles = await ends(dut, streams, 1, config.columns, 20)
        # At its begin the next half may not have been there yet.
        gap = max(1, 16 // config.softmax_lanes)
        assert 100 - gap < np.diff(cycles).sum() - 19 * period <= 100


@cocotb.test()
async def the_first_half_comes_after_the_latency(dut):
    latency = softmax_latency(config)
    async with Bench(dut) as bench:
        streams = Streams(bench)
        fields = {"columns": 1, "groups": 1, "tokens": 0, "window": 0, "sinks": 0, "count": 32}
        y, codes = rows(bench.rng, "near", 1, 1, 1)
        sending = cocotb.start_soon(streams.send(streams.head(y, codes, [0], fields)))
        cycles = {}
        for cycle in range(latency + 150):
            await RisingEdge(dut.clk)
            cycles.setdefault(("sent", streams.scores.sent), cycle)
            cycles.setdefault(("matched", streams.act.matched), cycle)
        await sending
        sent = cycles["sent", 32 // config.softmax_lanes]
        assert cycles["matched", 1] - sent == latency
