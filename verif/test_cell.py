"""cocotb tests of :class:`hw.matmul.cell.Cell`."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.config import Config
from hw.matmul.cell import Cell
from hw.matmul.layouts import sum_control
from hw.matmul.timing import PAIRS, Timing
from verif.bench import Bench, current
from verif.packing import pack
from verif.streams import never, sometimes


CONFIGS = {
    "dot_product": dict(depth=16),
    "in_between":  dict(depth=4),
    "systolic":    dict(depth=1),
    "only_int8":   dict(depth=8, formats=("int8",)),
}


def component(config):
    return Cell(Config(name="test", **config))


config = Config(name="test", **current(CONFIGS))
timing = Timing(config)


def sums(weights, act, four):
    """Sums of the low and of the high halves of weights, or of whole ones."""
    w = weights.astype(np.int8).astype(int)
    if "int4" not in config.formats:
        return (int(w @ act),)
    low = ((w & 15) ^ 8) - 8 if four else w & 15
    return int(low @ act), int((w >> 4) @ act)


@cocotb.test()
@cocotb.parametrize(pause=[never, lambda: sometimes(1, 0.3)])
async def sums_of_blocks_are_exact(dut, pause):
    """Blocks of both formats follow each other; beats that do not count change nothing."""
    async with Bench(dut) as bench:
        rng, pauses = bench.rng, pause()
        beats, wanted = [], {}
        for number in range(200):
            four = "int4" in config.formats and bool(rng.integers(2))
            total = 0
            for half in range(1 if not four and rng.random() < 0.2 else 2):
                while next(pauses):
                    beats.append(None)
                extreme = rng.random() < 0.1
                weights = np.full(PAIRS, 0x80 if number % 2 else 0x88) if extreme else \
                    rng.integers(0, 256, PAIRS)
                act = np.full(PAIRS, -128) if extreme else rng.integers(-128, 128, PAIRS)
                beats.append((four, weights, act, half))
                total += np.array(sums(weights, act, four))
            wanted[len(beats) - 1] = total
        found = await run(dut, rng, beats)
        for n, total in wanted.items():
            assert found[n] == total.tolist(), f"beat {n}: {found[n]}, expected {total}"


async def run(dut, rng, beats):
    """Totals after each beat; group ``g`` of a beat is given ``g`` cycles after group 0."""
    size, found = config.depth, {}
    garbage = (False, rng.integers(0, 256, PAIRS), rng.integers(-128, 128, PAIRS), 0)
    for cycle in range(len(beats) + timing.value + 1):
        four, weights, act = 0, np.zeros(PAIRS, int), np.zeros(PAIRS, int)
        for group in range(timing.groups):
            n = cycle - group
            beat = beats[n] if 0 <= n < len(beats) and beats[n] else garbage
            part = slice(group * size, (group + 1) * size)
            four |= beat[0] << group
            weights[part], act[part] = beat[1][part], beat[2][part]
        dut.four.value = four
        dut.weights.value = int.from_bytes(weights.astype(np.uint8).tobytes(), "little")
        dut.act.value = int.from_bytes(act.astype(np.int8).tobytes(), "little")
        n = cycle - timing.sum
        counts = 0 <= n < len(beats) and beats[n] is not None
        dut.sum.value = pack(sum_control, {"en": counts,
                                           "start": counts and beats[n][3] == 0})
        await RisingEdge(dut.clk)
        n = cycle - timing.value
        if 0 <= n < len(beats):
            found[n] = [getattr(dut, name).value.to_signed() for name in ("low", "high")
                        if hasattr(dut, name)]
    return found
