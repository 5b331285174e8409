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
    "only_int8":   dict(depth=8, formats=("int8",)),
}


def component(config):
    return Cell(Config(name="test", **config))


config = Config(name="test", **current(CONFIGS))
SHAPE = pair_shape(config)
timing = Timing(config)


def sums(weights, act):
    """Sums of the products of the low and of the high halves, or of whole weights."""
    return tuple(int(half @ act) for half in weights)


def halves(rng, extreme):
    """Weights that fit a cell: of 8 bits in two halves, or of 4 bits."""
    if not config.split:
        return np.full((1, PAIRS), -128) if extreme else rng.integers(-128, 128, (1, PAIRS))
    if rng.integers(2):
        whole = np.full(PAIRS, -128) if extreme else rng.integers(-128, 128, PAIRS)
        return np.stack([whole & 15, whole >> 4])
    four = np.concatenate([FORMATS[name].element.integers for name in config.formats
                           if FORMATS[name].four])
    if extreme:
        return np.full((2, PAIRS), rng.choice([four.min(), four.max()]))
    return rng.choice(four, (2, PAIRS))


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
                weights = halves(rng, extreme)
                act = np.full(PAIRS, -128) if extreme else rng.integers(-128, 128, PAIRS)
                beats.append((weights, act, half))
                total += np.array(sums(weights, act))
            wanted[len(beats) - 1] = total
        found = await run(dut, rng, beats)
        for n, total in wanted.items():
            assert found[n] == total.tolist(), f"beat {n}: {found[n]}, expected {total}"


def packed(weights):
    """The member ``weights``."""
    names, size = list(SHAPE.members), SHAPE.size
    return sum(pack(SHAPE, dict(zip(names, pair.tolist()))) << size * n
               for n, pair in enumerate(weights.T))


async def run(dut, rng, beats):
    """Totals after each beat; group ``g`` of a beat is given ``g`` cycles after group 0."""
    size, found = config.depth, {}
    garbage = (halves(rng, False), rng.integers(-128, 128, PAIRS), 0)
    for cycle in range(len(beats) + timing.value + 1):
        weights, act = np.zeros_like(garbage[0]), np.zeros(PAIRS, int)
        for group in range(timing.groups):
            n = cycle - group
            beat = beats[n] if 0 <= n < len(beats) and beats[n] else garbage
            part = slice(group * size, (group + 1) * size)
            weights[:, part], act[part] = beat[0][:, part], beat[1][part]
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
