"""cocotb tests of :class:`hw.primitives.Multiplier`."""

import cocotb
import numpy as np
from amaranth.hdl import Shape

from hw.primitives import Multiplier
from verif.bench import Bench, current, pipeline
from verif.floats import wrong_results


CONFIGS = {
    "one":   dict(a_width=14, b_width=18, signed=True),
    "split": dict(a_width=24, b_width=24, signed=False),
    "three": dict(a_width=42, b_width=12, signed=True, technology="ecp5"),
}


def component(config):
    return Multiplier(**config)


config = current(CONFIGS)


def integers(rng, width, signed, count):
    """Random integers, and both ends of the range."""
    low  = -(1 << width - 1) if signed else 0
    high = low + (1 << width) - 1
    return np.where(rng.random(count) < 0.1, rng.choice([low, high, 0], count),
                    rng.integers(low, high + 1, count))


@cocotb.test()
async def product_after_the_stated_latency(dut):
    """Products of random operands, and of the extreme ones, are exact."""
    async with Bench(dut) as bench:
        a_width, b_width, signed = config["a_width"], config["b_width"], config["signed"]
        a = integers(bench.rng, a_width, signed, 1000)
        b = integers(bench.rng, b_width, signed, 1000)
        shape = Shape(a_width + b_width, signed)
        results = await pipeline(
            dut, {"a": (Shape(a_width, signed), a), "b": (Shape(b_width, signed), b)},
            {"o": shape}, Multiplier.latency_of(a_width, b_width))
        wrong = wrong_results((a, b), results["o"], a * b)
        assert not wrong, wrong
