"""cocotb tests of :class:`hw.float.add.FloatAdd`."""

import cocotb

from hw.float.add import FloatAdd
from verif.bench import Bench, pipeline
from verif.floats import operand_pairs, wrong_results
from verif.reference.floats import add, bits, from_bits


CONFIGS = {"fp32": {}}

#: Random vectors, by simulator.
VECTORS = {"Verilator": 20000, "Icarus Verilog": 1000}


def component(config):
    return FloatAdd()


@cocotb.test()
async def matches_reference(dut):
    """Corners, near pairs and random pairs give the reference's bits after the stated latency."""
    async with Bench(dut) as bench:
        a, b = operand_pairs(bench.rng, VECTORS[cocotb.SIM_NAME])
        wanted = bits(add(from_bits(a), from_bits(b)))
        results = await pipeline(dut, {"a": a, "b": b}, ["o"], FloatAdd.latency)
        wrong = wrong_results((a, b), results["o"], wanted)
        assert not wrong, wrong
