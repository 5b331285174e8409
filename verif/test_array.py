"""cocotb tests of :class:`hw.matmul.array.Array`, with its columns, cells and accumulators."""

from dataclasses import dataclass

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.config import Config
from hw.formats import FORMATS, KEYS, NAN, VALUES, Format, ScaleKind
from hw.matmul.array import Array
from hw.matmul.layouts import TILE_ROWS, drain_read, issue
from hw.matmul.timing import Timing
from hw.signatures import act_write
from verif.bench import Bench, current
from verif.formats import random_elements, random_scales
from verif.packing import pack
from verif.reference.matmul import matmul


SMALL = dict(data_bits=32, act_blocks=16)

CONFIGS = {
    "one_column":  SMALL | dict(slices=1, columns=1, depth=16),
    "three":       SMALL | dict(slices=2, columns=3, depth=4),
    "systolic":    SMALL | dict(slices=1, columns=2, depth=1),
    "formats":     SMALL | dict(slices=2, columns=2, depth=4, formats=tuple(FORMATS)),
    "only_int8":   SMALL | dict(slices=2, columns=2, depth=8, formats=("int8",)),
}


def component(config):
    return Array(Config(name="test", **config))


config = Config(name="test", **current(CONFIGS))
timing = Timing(config)

MEANINGS = [*(FORMATS[name] for name in config.formats), KEYS, VALUES]


@dataclass(eq=False)
class Pass:
    """A tile, with what becomes of its sums."""

    weights: np.ndarray    # [rows, slices, K]
    scales: np.ndarray     # [rows, slices, blocks]
    act: np.ndarray        # [columns, K]
    codes: np.ndarray      # [columns, blocks]
    shift: np.ndarray      # [columns]
    format: Format
    address: int           # activation block
    row: int               # accumulator row
    onto: bool
    out: bool
    bank: int

    def writes(self):
        """Activations, as ``act_write`` fields."""
        for column, half in np.ndindex(len(self.act), self.act.shape[1] // 16):
            yield {"column": column, "address": 2 * self.address + half,
                   "data": self.act[column, 16 * half:16 * half + 16],
                   "code": self.codes[column, half // 2], "shift": self.shift[column],
                   "set_shift": self.onto}

    def beats(self, rng, gaps, idle):
        """``issue`` fields; None for a cycle without a beat, and ``idle`` times after a block."""
        rows, _, size = self.weights.shape
        halves, step = size // 16, self.format.step
        lines = rows // step
        for block in range(-(-halves // 2)):
            own = min(2, halves - 2 * block)
            for line, half in np.ndindex(lines, own):
                while gaps and rng.random() < 0.3:
                    yield None
                k = slice(16 * (2 * block + half), 16 * (2 * block + half) + 16)
                data = self.format.element.encode(self.weights[step * line, :, k])
                if step == 2:
                    data |= self.format.element.encode(self.weights[2 * line + 1, :, k]) << 4
                last = 2 * block + own == halves
                yield {
                    "valid": 1,
                    "beat": {"data": [int.from_bytes(w.tobytes(), "little") for w in data],
                             "scale": self.scales[step * line + half * (step - 1), :, block]},
                    "element": self.format.element.number, "scale": self.format.scale,
                    "four": self.format.four,
                    "address": 2 * (self.address + block) + half, "ends": half == own - 1,
                    "row": self.row + step * line, "tile_row": step * line,
                    "old": block > 0 or self.onto, "shifted": block == 0,
                    "out": last and self.out, "bank": self.bank,
                    "done": last and self.out and line == lines - 1}
            yield from [None] * idle


def random_passes(rng, number):
    kept = {}
    for n in range(number):
        format = MEANINGS[rng.integers(len(MEANINGS))]
        rows, halves = int(rng.integers(1, TILE_ROWS + 1)), int(rng.integers(1, 7))
        if format.four:
            rows, halves = rows + rows % 2, halves + halves % 2
        onto, region = False, int(rng.integers(2))
        if region in kept and rng.random() < 0.5:
            onto, rows = True, kept[region]
            if format.four and (rows % 2 or halves % 2):
                format = KEYS
        kept[region] = rows
        blocks = -(-halves // 2)
        scales = random_scales(rng, format.scale, (rows, config.slices, blocks))
        yield Pass(
            weights=random_elements(rng, format.element, (rows, config.slices, 16 * halves)),
            scales=scales.view(np.uint16) if scales.dtype == np.float16 else scales,
            act=rng.integers(-128, 128, (config.columns, 16 * halves)),
            codes=rng.integers(110, 140, (config.columns, blocks)),
            shift=rng.choice([0, 1, 9, 255], config.columns), format=format,
            address=4 * (n % 4), row=16 * region, onto=onto, out=bool(rng.random() < 0.8),
            bank=n % 2)


def expected(each, held):
    """Sums [columns, rows, slices] of a pass; ``held`` are those of accumulator rows."""
    rows, slices, size = each.weights.shape
    old = held.get(each.row)
    y = matmul(each.weights.reshape(-1, size), each.scales.reshape(rows * slices, -1), each.act,
               each.codes, each.format, old if each.onto else None, each.shift)
    held[each.row] = y
    return y.reshape(-1, rows, slices)


async def write(dut, act):
    dut.act__valid.value = 1
    dut.act__payload.value = pack(act_write(config), {
        **act, "data": act["data"].tolist()})
    await RisingEdge(dut.clk)
    dut.act__valid.value = 0


async def read(dut, bank, rows):
    """Rows of a bank of all columns: bits, [columns, rows, slices]."""
    places = [(column, row) for column in range(config.columns) for row in range(rows)]
    latency, results = Array(config).read_latency, []
    for cycle in range(len(places) + latency):
        column, row = places[min(cycle, len(places) - 1)]
        dut.drain.value = pack(drain_read(config), {
            "en": cycle < len(places), "column": column, "place": bank * TILE_ROWS + row})
        await RisingEdge(dut.clk)
        if cycle >= latency:
            results.append([int(getattr(dut, f"result__{s}").value)
                            for s in range(config.slices)])
    return np.array(results, np.uint32).reshape(config.columns, rows, config.slices)


def one_block(rng, format, n):
    """A pass of one block and two rows, to the bank ``n``."""
    return Pass(
        weights=random_elements(rng, format.element, (2, config.slices, 32)),
        scales=rng.integers(120, 134, (2, config.slices, 1)) if format.scale != ScaleKind.FP16
        else rng.normal(size=(2, config.slices, 1)).astype(np.float16).view(np.uint16),
        act=rng.integers(-128, 128, (config.columns, 32)),
        codes=rng.integers(110, 140, (config.columns, 1)), shift=np.zeros(config.columns, int),
        format=format, address=4 * n, row=16 * n, onto=False, out=True, bank=n)


async def prepare(dut, bench, each):
    """Write the activations of a pass."""
    for act in each.writes():
        await write(dut, act)
    await bench.cycles(1)


async def play(dut, beats):
    """Issue beats; how many passes are done."""
    layout, done = issue(config), 0
    for beat in [*beats, *[None] * (timing.write + 4)]:
        dut.issue.value = 0 if beat is None else pack(layout, {
            **beat, "beat": {"data": beat["beat"]["data"],
                             "scale": beat["beat"]["scale"].tolist()}})
        await RisingEdge(dut.clk)
        done += bool(dut.done.value)
    return done


async def compare(dut, each, sums):
    found = await read(dut, each.bank, sums.shape[1])
    assert np.array_equal(found, sums.view(np.uint32)), f"{found}, expected {sums}"


@cocotb.test()
@cocotb.parametrize(gaps=[False, True])
async def sums_match_the_reference(dut, gaps):
    """Passes of all kinds, one after the other; both banks keep what was written to them."""
    async with Bench(dut) as bench:
        held = {}
        for each in random_passes(bench.rng, 12):
            await prepare(dut, bench, each)
            sums = expected(each, held)
            # The sequencer keeps terms of a row apart; so does this.
            assert await play(dut, each.beats(bench.rng, gaps, timing.loop)) == each.out
            if each.out:
                await compare(dut, each, sums)


@cocotb.test()
async def a_high_sum_has_nothing_of_the_next_beat(dut):
    """A block of 4 bits, then at once one whose scales and elements mean something else."""
    async with Bench(dut) as bench:
        rng = bench.rng
        four = [meaning for meaning in MEANINGS if meaning.four] or MEANINGS
        for first in four:
            for second in (meaning for meaning in MEANINGS if not meaning.four):
                passes = [one_block(rng, format, n) for n, format in enumerate((first, second))]
                if second.element.nans:
                    passes[1].weights[0, :, 0] = NAN
                for each in passes:
                    await prepare(dut, bench, each)
                beats = [beat for each in passes for beat in each.beats(rng, False, 0)]
                assert await play(dut, beats) == 2
                for each in passes:
                    await compare(dut, each, expected(each, {}))
