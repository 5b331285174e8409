"""cocotb tests of :class:`hw.float.function.FunctionUnit`."""

import cocotb
import numpy as np

from hw.float.function import Function, FunctionUnit
from verif.bench import Bench, pipeline
from verif.floats import CORNERS, random_floats, wrong_results
from verif.reference.floats import bits, from_bits
from verif.reference.functions import function


CONFIGS = {"fp32": {}}

#: Random vectors of each operation, by simulator.
VECTORS = {"Verilator": 20000, "Icarus Verilog": 500}


def component(config):
    return FunctionUnit()


def operands(op, rng, count):
    """Bits of corners, of every segment's ends, of exact results, and of random operands."""
    ends   = np.arange(256, dtype=np.int64)[:, None] << 16 | 126 << 23
    ends   = (ends + np.arange(-1, 2)).ravel()
    powers = np.arange(1, 255) << 23
    small  = np.arange(-130, 130).astype(np.float32)
    usual  = bits(rng.uniform(-130, 130, count).astype(np.float32))
    usual  = np.where(rng.random(count) < 0.2, rng.integers(0x3F700000, 0x3F900000, count), usual)
    random = np.where(rng.random(count) < 0.5, usual, random_floats(rng, count))
    if op in ("LOG2", "RSQRT"):
        random = np.where(rng.random(count) < 0.9, random & 0x7FFFFFFF, random)
    return np.concatenate([CORNERS, ends, powers, bits(small), random]).astype(np.uint32)


@cocotb.test()
async def matches_reference(dut):
    """All operations, in random order, give the reference's bits after the stated latency."""
    async with Bench(dut) as bench:
        rows = []
        for op in Function:
            i = operands(op.name, bench.rng, VECTORS[cocotb.SIM_NAME])
            wanted = bits(function(op.name, from_bits(i)))
            rows.append(np.stack([np.full(len(i), op.value), i, wanted]))
        op, i, wanted = bench.rng.permutation(np.concatenate(rows, axis=1), axis=1)
        results = await pipeline(dut, {"op": op, "i": i}, ["o"], FunctionUnit.latency)
        wrong = wrong_results((op, i), results["o"], wanted)
        assert not wrong, wrong
