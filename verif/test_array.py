"""cocotb tests of :class:`hw.matmul.array.Array`, with its columns, cells and accumulators."""

from dataclasses import dataclass

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.config import Config
from hw.formats import ACTIVATIONS, FORMATS, NAN, Format, ScaleKind, keys, supported, values
from hw.matmul.array import Array
from hw.matmul.layouts import BANKS, TILE_ROWS, drain_read, issue
from hw.matmul.timing import Timing
from hw.signatures import act_write
from verif.array_beats import array_beats
from verif.bench import Bench, current
from verif.formats import random_activations, random_elements, random_scales
from verif.packing import pack
from verif.reference.matmul import matmul, spread


SMALL = dict(data_bits=32, act_blocks=16)

ALL = dict(formats=tuple(FORMATS), activations=("int8", "e4m3"), kv=("int8", "e4m3", "e5m2"))

CONFIGS = {
    "one_column":  SMALL | dict(slices=1, columns=1, depth=16),
    "three":       SMALL | dict(slices=2, columns=3, depth=4),
    "systolic":    SMALL | dict(slices=1, columns=2, depth=1),
    "formats":     SMALL | ALL | dict(slices=2, columns=2, depth=4),
    "dsp":         SMALL | ALL | dict(slices=1, columns=2, depth=8, technology="ecp5"),
    "only_nvfp4":  SMALL | dict(slices=2, columns=1, depth=8, formats=("nvfp4",)),
    "many":        SMALL | ALL | dict(slices=4, columns=8, depth=16),
    "only_int8":   SMALL | dict(slices=2, columns=2, depth=8, formats=("int8",)),
}


#: That of 20,000 blocks of everything takes a while.
SIMULATORS = {"many": ("verilator",), "dsp": ("verilator",)}


def component(config):
    return Array(Config(name="test", **config))


config = Config(name="test", **current(CONFIGS))
timing = Timing(config)

#: Everything that is multiplied: formats of weights, keys and values, with activations.
MEANINGS = [(format, activation) for format in
            [*(FORMATS[name] for name in config.formats), *map(keys, config.kv)]
            for activation in config.activations if supported(format, activation)]
MEANINGS += [(values(name), "int8") for name in config.kv]


@dataclass(eq=False)
class Pass:
    """A tile, with what becomes of its sums."""

    weights: np.ndarray    # [rows, slices, K]
    scales: np.ndarray     # [rows, slices, blocks]
    act: np.ndarray        # [columns, K]
    codes: np.ndarray      # [columns, blocks]
    shift: np.ndarray      # [columns]
    format: Format
    activation: str
    address: int           # activation block
    row: int               # accumulator row
    onto: bool
    out: bool
    bank: int

    def writes(self):
        """Activations, as ``act_write`` fields."""
        for column, half in np.ndindex(len(self.act), self.act.shape[1] // 16):
            yield {"column": column, "address": 2 * self.address + half,
                   "data": ACTIVATIONS[self.activation].encode(
                       self.act[column, 16 * half:16 * half + 16]).view(np.int8),
                   "code": self.codes[column, half // 2], "shift": self.shift[column],
                   "set_shift": self.onto}

    def beats(self, rng, gaps, idle):
        """``issue`` fields; None for a cycle without a beat, and ``idle`` times after a block."""
        rows, _, size = self.weights.shape
        blocks = -(-size // 32)
        fields = self.fields()
        for beat in array_beats(self.weights, self.format):
            while gaps and rng.random() < 0.3:
                yield None
            last = beat.block == blocks - 1
            last_row = beat.row + (2 if self.format.four else 1) == rows
            yield {
                "valid": 1,
                "beat": {"data": beat.pieces, "scale": fields[beat.field_row, :, beat.block]},
                "element": self.format.element.number, "scale": self.format.scale,
                "four": self.format.four, "starts": beat.starts, "upper": beat.upper,
                "apart": self.format.scale == ScaleKind.E4M3,
                "activation": list(ACTIVATIONS).index(self.activation),
                "address": 2 * (self.address + beat.block) + beat.half, "ends": beat.ends,
                "row": self.row + beat.row, "tile_row": beat.row,
                "old": beat.block > 0 or self.onto, "shifted": beat.block == 0,
                "out": last and self.out, "bank": self.bank,
                "done": last and self.out and last_row}
            if beat.ends and last_row:
                yield from [None] * idle

    def fields(self):
        """Scale fields [rows, slices, blocks], as bits."""
        rows, slices, size = self.weights.shape
        blocks = -(-size // 32)
        size_of = 2 if self.format.scale == ScaleKind.E4M3 else self.scales.itemsize
        fields = np.ascontiguousarray(self.scales).view(f"<u{size_of}")
        return spread(fields.reshape(rows * slices, -1), self.format.span, blocks).reshape(
            rows, slices, blocks)


def random_passes(rng, number):
    kept = {}
    for n in range(number):
        format, activation = MEANINGS[rng.integers(len(MEANINGS))]
        rows, halves = int(rng.integers(1, TILE_ROWS + 1)), int(rng.integers(1, 7))
        if format.whole:
            rows, halves = rows + rows % 2, halves + halves % 2
        onto, region = False, int(rng.integers(2))
        if region in kept and rng.random() < 0.5:
            onto, rows = True, kept[region]
            if format.whole and rows % 2:
                format = keys("int8")
        kept[region] = rows
        yield random_pass(rng, format, activation, rows, halves, address=4 * (n % 4),
                          row=16 * region, onto=onto, out=bool(rng.random() < 0.8), bank=n % BANKS)


def random_pass(rng, format, activation, rows, halves, **values):
    """A pass with random operands."""
    size, blocks = 16 * halves, -(-halves // 2)
    return Pass(
        weights=random_elements(rng, format.element, (rows, config.slices, size),
                                nan=format.scale != ScaleKind.ONE),
        scales=random_scales(rng, format.scale, (rows, config.slices, format.scales(size))),
        act=random_activations(rng, ACTIVATIONS[activation], (config.columns, size)),
        codes=rng.integers(110, 140, (config.columns, blocks)),
        shift=rng.choice([0, 1, 9, 255], config.columns), format=format, activation=activation,
        **values)


def expected(each, held):
    """Sums [columns, rows, slices] of a pass; ``held`` are those of accumulator rows."""
    rows, slices, size = each.weights.shape
    old = held.get(each.row)
    # The factor of a matrix belongs to the drain.
    y = matmul(each.weights.reshape(-1, size), each.scales.reshape(rows * slices, -1), each.act,
               each.codes, each.format, activation=each.activation,
               old=old if each.onto else None, shift=each.shift)
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
    each = config.drain_rows
    places = [(column, group) for column in range(config.columns)
              for group in range(-(-rows // each))]
    latency, results = Array(config).read_latency, []
    for cycle in range(len(places) + latency):
        column, group = places[min(cycle, len(places) - 1)]
        dut.drain.value = pack(drain_read(config), {
            "en": cycle < len(places), "column": column,
            "place": bank * (TILE_ROWS // each) + group})
        await RisingEdge(dut.clk)
        if cycle >= latency:
            results.append([int(getattr(dut, f"result__{n}").value)
                            for n in range(config.slices * each)])
    return np.array(results, np.uint32).reshape(config.columns, -1, config.slices)[:, :rows]


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
        four = [meaning for meaning in MEANINGS if meaning[0].four] or MEANINGS
        for first in four:
            for second in (meaning for meaning in MEANINGS if not meaning[0].four):
                passes = [random_pass(rng, *meaning, 2, 2, address=n, row=16 * n, onto=False,
                                      out=True, bank=n)
                          for n, meaning in enumerate((first, second))]
                if second[0].element.nans and second[0].scale != ScaleKind.ONE:
                    passes[1].weights[0, :, 0] = NAN
                for each in passes:
                    await prepare(dut, bench, each)
                beats = [beat for each in passes for beat in each.beats(rng, False, 0)]
                assert await play(dut, beats) == 2
                for each in passes:
                    await compare(dut, each, expected(each, {}))


@cocotb.test(skip=config.columns < 8)
async def twenty_thousand_blocks_of_everything(dut):
    """Passes of 2,048 blocks, of which none is so small that its sum hides it."""
    async with Bench(dut) as bench:
        for meaning in MEANINGS:
            for n in range(10):
                each = random_pass(bench.rng, *meaning, TILE_ROWS, 8, address=4 * (n % 4), row=0,
                                   onto=False, out=True, bank=n % 2)
                each.codes = bench.rng.integers(126, 129, each.codes.shape)
                await prepare(dut, bench, each)
                assert await play(dut, each.beats(bench.rng, False, 0)) == 1
                await compare(dut, each, expected(each, {}))
