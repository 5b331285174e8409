"""cocotb tests of :class:`hw.matmul.cell.Cell`."""

from itertools import product

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.config import Config
from hw.formats import FORMATS, ScaleKind
from hw.matmul.cell import Cell
from hw.matmul.layouts import act_shape, pair_shape, sum_control
from hw.matmul.timing import PAIRS, Timing
from hw.matmul.widths import pairs
from verif.bench import Bench, current
from verif.packing import pack
from verif.streams import never, sometimes


ALL = dict(formats=tuple(FORMATS), activations=("int8", "e4m3"), kv=("int8", "e4m3", "e5m2"))

CONFIGS = {
    "dot_product": dict(depth=16),
    "in_between":  dict(depth=4),
    "systolic":    dict(depth=1),
    "formats":     dict(depth=4) | ALL,
    "dsp":         dict(depth=4, technology="ecp5") | ALL,
    "only_fp8":    dict(depth=8, formats=("mxfp8",)),
    "only_fp8_8":  dict(depth=8, formats=("mxfp8",), activations=("e4m3",)),
    "only_nvfp4":  dict(depth=8, formats=("nvfp4",)),
    "only_int8":   dict(depth=8, formats=("int8",)),
    "only_int16":  dict(depth=8, formats=("int16",)),
}


def component(config):
    return Cell(Config(name="test", **config))


config = Config(name="test", **current(CONFIGS))
SHAPE, ACT = pair_shape(config), act_shape(config)
timing = Timing(config)

#: Everything that is multiplied: (element of weights, of activations, scaled by halves).
KINDS = [(format.element, multiplicand, format.scale == ScaleKind.E4M3)
         for format, multiplicand in pairs(config)]


def extremes(rng, values, extreme):
    """16 of ``values``, or 16 times the first or the last one."""
    return np.full(PAIRS, rng.choice(values[[0, -1]])) if extreme else rng.choice(values, PAIRS)


def shifted(element, integers):
    """Significands and shifts of integers."""
    shift = np.maximum(0, [int(abs(n)).bit_length() - element.mantissa - 1 for n in integers])
    return integers.astype(np.int64) >> shift, shift


def weight_members(element, integers):
    """Members of pairs, as arrays, for integers [1 or 2 rows, 16]."""
    whole = "low" if config.split else "whole"
    found = {name: np.zeros(PAIRS, np.int64) for name in SHAPE.members}
    if element.bits == 4:
        return found | dict(zip(("low", "high"), integers))
    if element.shifts:
        return found | dict(zip((whole, "shift"), shifted(element, integers[0])))
    if config.split:
        return found | {"low": integers[0] & 15, "high": integers[0] >> 4}
    return found | {"whole": integers[0]}


def act_members(element, integers):
    if element.shifts:
        return dict(zip(("value", "shift"), shifted(element, integers)))
    return {name: integers if name == "value" else np.zeros(PAIRS, np.int64)
            for name in ACT.members}


def sums(element, weights, act):
    """Sums of the products of the low and of the high halves, or of whole weights."""
    if element.bits == 4:
        return [int(row.astype(object) @ act) for row in weights]
    if element.shifts:
        return [int(weights[0].astype(object) @ act)] + [0] * config.split
    if config.split:
        return [int((weights[0] & 15) @ act), int((weights[0] >> 4) @ act)]
    return [int(weights[0] @ act)]


def random_beat(rng, element, multiplicand, upper):
    """Integers of weights and activations of a beat."""
    extreme = rng.random() < 0.1
    if element.bits == 16:
        numbers = np.arange(-128, 128) if upper else np.arange(256)
    else:
        numbers = element.numbers.astype(np.int64)
        if element.bits == 8 and not element.shifts:
            numbers = np.arange(-128, 128)
    weights = [extremes(rng, numbers, extreme) for _ in range(2 if element.bits == 4 else 1)]
    acts = multiplicand.numbers if multiplicand.shifts else np.arange(-128, 128)
    return weights, extremes(rng, acts.astype(np.int64), extreme)


@cocotb.test()
@cocotb.parametrize(pause=[never, lambda: sometimes(1, 0.3)])
async def sums_of_blocks_are_exact(dut, pause):
    """Blocks of all formats follow each other; beats that do not count change nothing."""
    async with Bench(dut) as bench:
        rng, pauses = bench.rng, pause()
        beats, wanted = [], {}
        for _ in range(250):
            element, multiplicand, apart = KINDS[rng.integers(len(KINDS))]
            halves = 2 if apart or rng.random() > 0.2 else 1
            totals = []
            for half, upper in product(range(halves), (1, 0) if element.bits == 16 else (0,)):
                while next(pauses):
                    beats.append(None)
                weights, act = random_beat(rng, element, multiplicand, upper)
                start = half == 0 and (upper or element.bits != 16)
                beats.append((weight_members(element, weights), act_members(multiplicand, act),
                              {"en": 1, "start": start, "upper": upper, "apart": apart}))
                totals.append(np.array(sums(element, weights, act), object) << 8 * upper)
            wanted[len(beats) - 1] = (totals[1], totals[0]) if apart else (sum(totals), None)
        found = await run(dut, rng, beats)
        for n, (total, first) in wanted.items():
            assert found[n][0] == list(total), f"beat {n}: {found[n]}, expected {total}"
            assert first is None or found[n][1] == list(first), f"beat {n}: {found[n]}, {first}"


def packed(shape, members):
    """16 of ``shape``."""
    return sum(pack(shape, {name: int(values[n]) for name, values in members.items()})
               << shape.size * n for n in range(PAIRS))


def values_of(dut, names):
    return [getattr(dut, name).value.to_signed() for name in names if hasattr(dut, name)]


async def run(dut, rng, beats):
    """Totals after each beat; group ``g`` of a beat is given ``g`` cycles after group 0."""
    size, found = config.depth, {}
    weights, act = random_beat(rng, *KINDS[0][:2], 0)
    garbage = weight_members(KINDS[0][0], weights), act_members(KINDS[0][1], act)
    for cycle in range(len(beats) + timing.value + 1):
        members = [{name: np.zeros(PAIRS, np.int64) for name in shape.members}
                   for shape in (SHAPE, ACT)]
        for group in range(timing.groups):
            n = cycle - group
            beat = beats[n] if 0 <= n < len(beats) and beats[n] else garbage
            part = slice(group * size, (group + 1) * size)
            for arrays, given in zip(members, beat):
                for name, values in arrays.items():
                    values[part] = given[name][part]
        dut.weights.value, dut.act.value = packed(SHAPE, members[0]), packed(ACT, members[1])
        n = cycle - timing.sum
        counts = 0 <= n < len(beats) and beats[n] is not None
        dut.sum.value = pack(sum_control, beats[n][2] if counts else {})
        await RisingEdge(dut.clk)
        n = cycle - timing.value
        if 0 <= n < len(beats):
            found[n] = (values_of(dut, ("low", "high")),
                        values_of(dut, ("first_low", "first_high")))
    return found
