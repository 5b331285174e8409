"""Bench of the softmax: heads of several blocks, with masked tokens, under stalls."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.attention.geometry import softmax_job
from hw.attention.softmax import Softmax, softmax_latency
from hw.config import Config
from hw.signatures import act_write, scores
from verif.bench import Bench, current
from verif.reference.floats import bits, float_to_fixed
from verif.reference.softmax import softmax
from verif.streams import bursts, never, sometimes


CONFIGS = {
    "one_lane":  dict(name="test", data_bits=32, slices=1, columns=3),
    "two_lanes": dict(name="test", data_bits=32, slices=2, columns=2),
    "all_lanes": dict(name="test", data_bits=512, slices=32, columns=8),
}

SIMULATORS = {"two_lanes": ("verilator",), "all_lanes": ("verilator",)}

SPECIAL = np.array([0, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 0x00000001, 0x46FFFFFF,
                    0xC7000000, 0x7F7FFFFF, 0x37000000], np.uint32)


def component(config):
    return Softmax(Config(**config))


config = Config(**current(CONFIGS))


def head(rng, columns, tokens, kind):
    """Scores [columns, tokens] as FP32 bits, and codes of values [tokens]."""
    if kind == "any":
        y = rng.integers(0, 2**32, (columns, tokens), np.uint32)
        y = np.where(rng.random(y.shape) < 0.3, rng.choice(SPECIAL, y.shape), y)
        return y, rng.integers(0, 256, tokens, np.uint8)
    y = rng.normal(size=(columns, tokens)) * 6
    if kind == "rising":
        y = y + np.arange(tokens) * rng.normal(size=(columns, 1)) * 3
    return bits(y.astype(np.float32)), rng.integers(115, 135, tokens, np.uint8)


class Streams:
    """All streams of the softmax, and what is expected of one head."""

    def __init__(self, bench, i_pause, o_pause):
        self.rng = bench.rng
        self.jobs = bench.drive("jobs", softmax_job(config))
        self.codes = bench.drive("v_scales")
        self.scores = bench.drive("scores", scores(config), pause=i_pause)
        self.act = bench.expect("act", act_write(config), pause=o_pause)
        self.sums = bench.expect("sums", pause=o_pause)

    def blocks(self, y, codes):
        """Job, codes and scores of each block of a head, whose results are expected from now on."""
        columns, tokens = y.shape
        address = int(self.rng.integers(config.act_blocks))
        state = None
        t = float_to_fixed(y.view(np.float32))
        for start in range(0, tokens, 32):
            part = slice(start, min(start + 32, tokens))
            count = part.stop - start
            q, code, shift, state = softmax(t[:, part], codes[part], state)
            for c in range(columns):
                for half in range(2):
                    self.act.expect({
                        "column": c, "address": 2 * address + half,
                        "data": q[c, 16 * half:16 * half + 16], "code": code[c],
                        "shift": shift[c], "set_shift": 1})
            # What lies beyond the count is never looked at.
            padded = self.rng.integers(0, 2**32, (columns, 32), np.uint32)
            padded[:, :count] = y[:, part]
            packed = np.append(codes[part], np.full(32 - count, 255, np.uint8))
            job = {"first": start == 0, "last": part.stop == tokens, "tokens": count,
                   "columns": columns, "address": address}
            if job["last"]:
                self.sums.expect_all(bits(state.total))
            yield job, int.from_bytes(packed.tobytes(), "little"), self.beats(padded)

    @staticmethod
    def beats(y):
        """The order of the drain: tiles of keys, their columns, their rows."""
        lanes, tiles = config.softmax_lanes, config.key_tiles
        rows = y.reshape(len(y), tiles, -1, lanes)
        return [{"column": c, "values": values}
                for tile in range(tiles) for c in range(len(y)) for values in rows[c, tile]]

    async def send(self, y, codes):
        for job, packed, beats in self.blocks(y, codes):
            self.codes.start([packed])
            await self.jobs.send(job)
            await self.scores.send_all(beats)


@cocotb.test()
@cocotb.parametrize((("i_pause", "o_pause"), [
    (never, never), (lambda: sometimes(1), lambda: sometimes(2)), (never, lambda: bursts(3, 60))]))
async def heads_are_weighted(dut, i_pause, o_pause):
    async with Bench(dut) as bench:
        streams = Streams(bench, i_pause(), o_pause())
        for kind in ("near", "rising", "any", "rising", "any"):
            tokens = int(bench.rng.integers(1, 120))
            columns = int(bench.rng.integers(1, config.columns + 1))
            await streams.send(*head(bench.rng, columns, tokens, kind))


@cocotb.test()
@cocotb.parametrize(tokens=[1, 31, 32, 33])
async def the_last_block_may_be_partial(dut, tokens):
    async with Bench(dut) as bench:
        streams = Streams(bench, never(), never())
        await streams.send(*head(bench.rng, config.columns, tokens, "near"))


@cocotb.test()
async def the_first_half_comes_after_the_latency(dut):
    latency = softmax_latency(config)
    async with Bench(dut) as bench:
        streams = Streams(bench, never(), never())
        sending = cocotb.start_soon(streams.send(*head(bench.rng, 1, 32, "near")))
        cycles = {}
        for cycle in range(latency + 150):
            await RisingEdge(dut.clk)
            cycles.setdefault(("sent", streams.scores.sent), cycle)
            cycles.setdefault(("matched", streams.act.matched), cycle)
        await sending
        sent = cycles["sent", 32 // config.softmax_lanes]
        assert cycles["matched", 1] - sent == latency
