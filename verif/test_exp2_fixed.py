"""cocotb tests of :class:`hw.float.exp2.Exp2Fixed`."""

import cocotb
import numpy as np

from hw.float.exp2 import Exp2Fixed
from verif.bench import Bench, pipeline
from verif.floats import wrong_results
from verif.reference.functions import exp2_16


CONFIGS = {"fixed": {}}

#: One fraction of so many is tested, by simulator.
STRIDE = {"Verilator": 1, "Icarus Verilog": 37}


def component(config):
    return Exp2Fixed()


@cocotb.test()
async def matches_reference(dut):
    """Fractions from end to end give the reference's bits after the stated latency."""
    async with Bench(dut):
        f = np.append(np.arange(0, 65536, STRIDE[cocotb.SIM_NAME]), 65535)
        results = await pipeline(dut, {"f": f}, ["o"], Exp2Fixed.latency)
        wrong = wrong_results((f,), results["o"], exp2_16(f))
        assert not wrong, wrong
