"""cocotb tests of :class:`hw.float.extreme.FloatExtreme`."""

import cocotb

from hw.float.extreme import FloatExtreme
from verif.bench import Bench, pipeline
from verif.floats import operand_pairs, wrong_results
from verif.reference.floats import bits, from_bits, maximum, minimum


CONFIGS = {"fp32": {}}

#: Random vectors, by simulator.
VECTORS = {"Verilator": 20000, "Icarus Verilog": 1000}


def component(config):
    return FloatExtreme()


@cocotb.test()
@cocotb.parametrize(smaller=[0, 1])
async def matches_reference(dut, smaller):
    """Corners, near pairs and random pairs give the reference's bits after the stated latency."""
    async with Bench(dut) as bench:
        a, b = operand_pairs(bench.rng, VECTORS[cocotb.SIM_NAME])
        wanted = bits((minimum if smaller else maximum)(from_bits(a), from_bits(b)))
        dut.smaller.value = smaller
        results = await pipeline(dut, {"a": a, "b": b}, ["o"], FloatExtreme.latency)
        wrong = wrong_results((a, b), results["o"], wanted)
        assert not wrong, wrong
