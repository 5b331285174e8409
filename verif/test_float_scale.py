"""cocotb tests of :class:`hw.float.scale.FixedToFloat`."""

import cocotb
import numpy as np
from amaranth.hdl import signed

from hw.float.scale import FixedToFloat
from verif.bench import Bench, current, pipeline
from verif.floats import wrong_results
from verif.reference.floats import bits, fixed_to_float


CONFIGS = {
    "block_sum":  dict(width=33),
    "widest":     dict(width=56),
    "wide":       dict(width=38),
    "narrow":     dict(width=9),
}

#: Random vectors, by simulator.
VECTORS = {"Verilator": 24000, "Icarus Verilog": 1000}


def component(config):
    return FixedToFloat(**config)


config = current(CONFIGS)


def corners(width):
    """Integers at which something changes: the extremes, and around the digits of a float."""
    magnitudes = {0, 1, 2, 3, (1 << width - 1) - 1}
    magnitudes |= {(1 << n) + m for n in (8, 23, 24, 25, 26, width - 2) for m in (-1, 0, 1)
                   if n < width - 1}
    return [-1 << width - 1, *(sign * m for m in sorted(magnitudes) for sign in (1, -1))]


def integers(rng, width, count):
    """Signed integers of all magnitudes, with many powers of two and their neighbours.

    One in eight is a corner.
    """
    size  = rng.integers(0, width, count)
    value = rng.integers(0, 1 << 62, count) >> (62 - size)
    near  = (1 << size) + rng.integers(-1, 2, count)
    # Halves between two floats, and beside them.
    tie   = (value & -1 << np.maximum(size - 25, 0)) + rng.integers(-1, 2, count)
    value = np.choose(rng.integers(0, 3, count), [value, near, tie])
    limit = 1 << width - 1
    value = np.where(rng.random(count) < 0.125, rng.choice(corners(width), count), value)
    return np.clip(np.where(rng.random(count) < 0.5, -value, value), -limit, limit - 1)


@cocotb.test()
async def matches_reference(dut):
    """Random integers at all exponents give the reference's bits after the stated latency."""
    async with Bench(dut) as bench:
        rng, count = bench.rng, VECTORS[cocotb.SIM_NAME]
        value = integers(rng, config["width"], count)
        # Any exponents, those of normal results, and those of results next to the smallest one.
        size     = np.log2(np.abs(value) + 1).astype(int)
        bottom   = -126 - size + rng.integers(-2, 3, count)
        exponent = np.choose(rng.integers(0, 3, count), [
            rng.integers(-2048, 2048, count), rng.integers(-200, 140, count), bottom])
        nan      = (rng.random(count) < 0.05).astype(int)
        inputs   = {"value": (signed(config["width"]), value), "nan": nan,
                    "exponent": (signed(12), exponent)}
        wanted   = bits(fixed_to_float(value, 1, exponent, nan == 1))
        results  = await pipeline(dut, inputs, ["o"], component(config).latency)
        wrong    = wrong_results((value, exponent, nan), results["o"], wanted)
        assert not wrong, wrong
