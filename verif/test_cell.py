"""cocotb tests of :class:`hw.matmul.cell.Cell`."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.config import Config
from hw.formats import FORMATS
from hw.matmul.cell import Cell
from hw.matmul.layouts import pair_shape, sum_control
from hw.matmul.timing import PAIRS, Timing
from verif.bench import Bench, current
from verif.packing import pack
from verif.streams import never, sometimes


CONFIGS = {
    "dot_product": dict(depth=16),
    "in_between":  dict(depth=4),
    "systolic":    dict(depth=1),
    "formats":     dict(depth=4, formats=tuple(FORMATS)),
    "dsp":         dict(depth=4, formats=tuple(FORMATS), technology="ecp5"),
    "only_fp8":    dict(depth=8, formats=("mxfp8",)),
    "only_int8":   dict(depth=8, formats=("int8",)),
}


def component(config):
    return Cell(Config(name="test", **config))


config = Config(name="test", **current(CONFIGS))
SHAPE = pair_shape(config)
timing = Timing(config)


def sums(weights, act):
    """Sums of the products of the low and of the high halves, or of whole weights."""
    low, *high = (weights[name] for name in SHAPE.members if name != "shift")
    return tuple(int(half @ act) for half in (low << weights.get("shift", 0), *high))


def members(rng, extreme):
    """Weights that fit a cell, as arrays of the members of a pair."""
    names = list(SHAPE.members)
    kinds = [element for element in config.elements if element.shifts or element.bits == 8
             or config.split]
    element = kinds[rng.integers(len(kinds))]
    values = {name: np.zeros(PAIRS, int) for name in names}
    if element.shifts:
        values[names[0]] = np.full(PAIRS, -15) if extreme else rng.integers(-15, 16, PAIRS)
        values["shift"] = np.full(PAIRS, 14) if extreme else rng.integers(0, 15, PAIRS)
    elif element.bits == 4:
        for name in ("low", "high"):
            values[name] = np.full(PAIRS, rng.choice(element.numbers[[0, -1]])) if extreme else \
                rng.choice(element.numbers.astype(int), PAIRS)
    else:
        whole = np.full(PAIRS, -128) if extreme else rng.integers(-128, 128, PAIRS)
        values |= {"low": whole & 15, "high": whole >> 4} if config.split else {"whole": whole}
    return values


@cocotb.test()
@cocotb.parametrize(pause=[never, lambda: sometimes(1, 0.3)])
async def sums_of_blocks_are_exact(dut, pause):
    """Blocks of both formats follow each other; beats that do not count change nothing."""
    async with Bench(dut) as bench:
        rng, pauses = bench.rng, pause()
        beats, wanted = [], {}
        for _ in range(200):
            total = 0
            for half in range(1 if rng.random() < 0.2 else 2):
                while next(pauses):
                    beats.append(None)
                extreme = rng.random() < 0.1
                weights = members(rng, extreme)
                act = np.full(PAIRS, -128) if extreme else rng.integers(-128, 128, PAIRS)
                beats.append((weights, act, half))
                total += np.array(sums(weights, act))
            wanted[len(beats) - 1] = total
        found = await run(dut, rng, beats)
        for n, total in wanted.items():
            assert found[n] == total.tolist(), f"beat {n}: {found[n]}, expected {total}"


def packed(weights):
    """The member ``weights``."""
    return sum(pack(SHAPE, {name: int(values[n]) for name, values in weights.items()})
               << SHAPE.size * n for n in range(PAIRS))


async def run(dut, rng, beats):
    """Totals after each beat; group ``g`` of a beat is given ``g`` cycles after group 0."""
    size, found = config.depth, {}
    garbage = (members(rng, False), rng.integers(-128, 128, PAIRS), 0)
    for cycle in range(len(beats) + timing.value + 1):
        weights = {name: np.zeros(PAIRS, int) for name in SHAPE.members}
        act = np.zeros(PAIRS, int)
        for group in range(timing.groups):
            n = cycle - group
            beat = beats[n] if 0 <= n < len(beats) and beats[n] else garbage
            part = slice(group * size, (group + 1) * size)
            act[part] = beat[1][part]
            for name, values in weights.items():
                values[part] = beat[0][name][part]
        dut.weights.value = packed(weights)
        dut.act.value = int.from_bytes(act.astype(np.int8).tobytes(), "little")
        n = cycle - timing.sum
        counts = 0 <= n < len(beats) and beats[n] is not None
        dut.sum.value = pack(sum_control, {"en": counts,
                                           "start": counts and beats[n][2] == 0})
        await RisingEdge(dut.clk)
        n = cycle - timing.value
        if 0 <= n < len(beats):
            found[n] = [getattr(dut, name).value.to_signed() for name in ("low", "high")
                        if hasattr(dut, name)]
    return found
