"""cocotb tests of :class:`hw.float.fixed.FloatToFixed`."""

import cocotb
import numpy as np
from amaranth.hdl import signed

from hw.float.fixed import FloatToFixed
from verif.bench import Bench, pipeline
from verif.floats import CORNERS, random_floats, wrong_results
from verif.reference.floats import bits, float_to_fixed, from_bits


CONFIGS = {"fp32": {}}

#: Random vectors, by simulator.
VECTORS = {"Verilator": 20000, "Icarus Verilog": 1000}


def component(config):
    return FloatToFixed()


def ties():
    """Bits of values half between two results, and of their neighbours, up to saturation."""
    halves = (np.arange(-9, 10, 2) / 2**17).astype(np.float32)
    large  = np.float32([2**15, 2**14, 2**15 - 2**-8, 2**7 + 2**-17, 2**-16, 2**-17, 2**-18])
    values = bits(np.concatenate([halves, large, -large])).astype(np.int64)
    return np.concatenate([values - 1, values, values + 1]).astype(np.uint32)


@cocotb.test()
async def matches_reference(dut):
    """Corners, ties and random values give the reference's integers after the stated latency."""
    async with Bench(dut) as bench:
        count  = VECTORS[cocotb.SIM_NAME]
        spread = bits((bench.rng.uniform(-1, 1, count) * 2.0**bench.rng.integers(-18, 18, count))
                      .astype(np.float32))
        i = np.concatenate([CORNERS, ties(), random_floats(bench.rng, count), spread])
        wanted = float_to_fixed(from_bits(i))
        results = await pipeline(dut, {"i": i}, {"o": signed(32)}, FloatToFixed.latency)
        wrong = wrong_results((i,), results["o"], wanted)
        assert not wrong, wrong
