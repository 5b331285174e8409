"""cocotb tests of :class:`hw.matmul.array.Array`, with its columns, cells and accumulators."""

from dataclasses import dataclass

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.config import Config
from hw.matmul.array import Array
from hw.matmul.layouts import TILE_ROWS, drain_read, issue
from hw.matmul.timing import Timing
from hw.signatures import ScaleKind, act_write
from verif.bench import Bench, current
from verif.packing import pack
from verif.reference.matmul import matmul


SMALL = dict(data_bits=32, act_blocks=16)

CONFIGS = {
    "one_column":  SMALL | dict(slices=1, columns=1, depth=16),
    "three":       SMALL | dict(slices=2, columns=3, depth=4),
    "systolic":    SMALL | dict(slices=1, columns=2, depth=1),
    "only_int8":   SMALL | dict(slices=2, columns=2, depth=8, formats=("int8",)),
}


def component(config):
    return Array(Config(name="test", **config))


config = Config(name="test", **current(CONFIGS))
timing = Timing(config)

KINDS = {ScaleKind.FP16: "fp16", ScaleKind.E8M0: "e8m0", ScaleKind.ONE: "one"}


@dataclass(eq=False)
class Pass:
    """A tile, with what becomes of its sums."""

    weights: np.ndarray    # [rows, slices, K]
    scales: np.ndarray     # [rows, slices, blocks]
    act: np.ndarray        # [columns, K]
    codes: np.ndarray      # [columns, blocks]
    shift: np.ndarray      # [columns]
    four: bool
    kind: ScaleKind
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

    def beats(self, rng, gaps):
        """``issue`` fields; None for a cycle without a beat."""
        rows, _, size = self.weights.shape
        halves, step = size // 16, 2 if self.four else 1
        lines = rows // step
        for block in range(-(-halves // 2)):
            own = min(2, halves - 2 * block)
            for line, half in np.ndindex(lines, own):
                while gaps and rng.random() < 0.3:
                    yield None
                k = slice(16 * (2 * block + half), 16 * (2 * block + half) + 16)
                data = self.weights[step * line, :, k].astype(np.uint8)
                if self.four:
                    data = data & 15 | self.weights[2 * line + 1, :, k].astype(np.uint8) << 4
                last = 2 * block + own == halves
                yield {
                    "valid": 1,
                    "beat": {"data": [int.from_bytes(w.tobytes(), "little") for w in data],
                             "scale": self.scales[step * line + half * self.four, :, block]},
                    "kind": self.kind, "four": self.four,
                    "address": 2 * (self.address + block) + half, "ends": half == own - 1,
                    "row": self.row + step * line, "tile_row": step * line,
                    "old": block > 0 or self.onto, "shifted": block == 0,
                    "out": last and self.out, "bank": self.bank,
                    "done": last and self.out and line == lines - 1}
            # The sequencer keeps terms of a row apart; so does this.
            yield from [None] * timing.loop


def random_passes(rng, number):
    kept = {}
    for n in range(number):
        four = "int4" in config.formats and bool(rng.integers(2))
        kind = ScaleKind.FP16 if four else list(KINDS)[rng.integers(3)]
        rows, halves = int(rng.integers(1, TILE_ROWS + 1)), int(rng.integers(1, 7))
        if four:
            rows, halves = rows + rows % 2, halves + halves % 2
        onto, region = False, int(rng.integers(2))
        if region in kept and rng.random() < 0.5:
            onto, rows = True, kept[region]
            four &= rows % 2 == 0 and halves % 2 == 0
        kept[region] = rows
        low, blocks = 8 if four else 128, -(-halves // 2)
        scales = rng.normal(size=(rows, config.slices, blocks)).astype(np.float16)
        scales[rng.random(scales.shape) < 0.02] = np.inf
        if kind != ScaleKind.FP16:
            scales = rng.integers(120, 134, scales.shape)
        yield Pass(
            weights=rng.integers(-low, low, (rows, config.slices, 16 * halves)),
            scales=scales.view(np.uint16) if kind == ScaleKind.FP16 else scales,
            act=rng.integers(-128, 128, (config.columns, 16 * halves)),
            codes=rng.integers(110, 140, (config.columns, blocks)),
            shift=rng.choice([0, 1, 9, 255], config.columns), four=four, kind=kind,
            address=4 * (n % 4), row=16 * region, onto=onto, out=bool(rng.random() < 0.8),
            bank=n % 2)


def expected(each, held):
    """Sums [columns, rows, slices] of a pass; ``held`` are those of accumulator rows."""
    rows, slices, size = each.weights.shape
    old = held.get(each.row)
    y = matmul(each.weights.reshape(-1, size), each.scales.reshape(rows * slices, -1), each.act,
               each.codes, KINDS[each.kind], old if each.onto else None, each.shift)
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


@cocotb.test()
@cocotb.parametrize(gaps=[False, True])
async def sums_match_the_reference(dut, gaps):
    """Passes of all kinds, one after the other; both banks keep what was written to them."""
    async with Bench(dut) as bench:
        held, layout = {}, issue(config)
        for each in random_passes(bench.rng, 12):
            for act in each.writes():
                await write(dut, act)
            await bench.cycles(1)
            sums, done = expected(each, held), 0
            for beat in [*each.beats(bench.rng, gaps), *[None] * (timing.write + 4)]:
                dut.issue.value = 0 if beat is None else pack(layout, {
                    **beat, "beat": {"data": beat["beat"]["data"],
                                     "scale": beat["beat"]["scale"].tolist()}})
                await RisingEdge(dut.clk)
                done += bool(dut.done.value)
            assert done == each.out
            if each.out:
                found = await read(dut, each.bank, sums.shape[1])
                assert np.array_equal(found, sums.view(np.uint32)), f"{found}, expected {sums}"
