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
VECTORS = {"Verilator": 20000, "Icarus Verilog": 1000}


def component(config):
    return FixedToFloat(**config)


config = current(CONFIGS)


def integers(rng, width, count):
    """Signed integers of all magnitudes, with many powers of two and their neighbours."""
    size  = rng.integers(0, width, count)
    value = rng.integers(0, 1 << 62, count) >> (62 - size)
    near  = (1 << size) + rng.integers(-1, 2, count)
    # Halves between two floats, and beside them.
    tie   = (value & -1 << np.maximum(size - 25, 0)) + rng.integers(-1, 2, count)
    value = np.choose(rng.integers(0, 3, count), [value, near, tie])
    limit = 1 << width - 1
    return np.clip(np.where(rng.random(count) < 0.5, -value, value), -limit, limit - 1)


def corners(width):
    """Integers at which something changes: zero, the extremes, a float's digits and one more."""
    magnitudes = {0, 1, 2, 3, (1 << width - 1) - 1}
    magnitudes |= {1 << n for n in (22, 23, 24, 25, width - 2) if 0 < n < width - 1}
    magnitudes |= {(1 << n) - 1 for n in (23, 24, 25) if n < width}
    return [-1 << width - 1, *(sign * m for m in sorted(magnitudes) for sign in (1, -1))]


def operands(rng, count):
    """All corners, several times, then ``count`` random integers."""
    return np.concatenate([np.tile(corners(config["width"]), 64),
                           integers(rng, config["width"], count)])


@cocotb.test()
async def matches_reference(dut):
    """Corners and random integers give the reference's bits after the stated latency."""
    async with Bench(dut) as bench:
        rng   = bench.rng
        value = operands(rng, VECTORS[cocotb.SIM_NAME])
        count = len(value)
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
