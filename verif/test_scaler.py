"""cocotb tests of :class:`hw.matmul.scaler.BlockScaler`."""

import cocotb
import numpy as np
from amaranth.hdl import signed

from hw.config import Config
from hw.formats import BLOCK, FORMATS, ScaleKind
from hw.matmul.layouts import scale_shape
from hw.matmul.scaler import BlockScaler
from hw.matmul.widths import FACTORS, pairs, peak
from verif.bench import Bench, current, pipeline


CONFIGS = {
    "integers":   dict(formats=("int8", "int4")),
    "powers":     dict(formats=("mxfp4",)),
    "halves":     dict(formats=("nvfp4",)),
    "everything": dict(formats=tuple(FORMATS), activations=("int8", "e4m3"),
                       kv=("int8", "e5m2")),
    "dsp":        dict(formats=tuple(FORMATS), activations=("int8", "e4m3"), technology="ecp5"),
}


def component(config):
    return BlockScaler(Config(name="test", **config))


config = Config(name="test", **current(CONFIGS))
SHAPE  = scale_shape(config)

#: Terms of a test.
NUMBER = 4000 if getattr(cocotb, "SIM_NAME", "") == "Verilator" else 400


def integer(rng, most):
    """An integer of any size up to ``most``, often of the largest."""
    size = most if rng.random() < 0.2 else most >> int(rng.integers(0, most.bit_length()))
    return (size if rng.random() < 0.5 else int(rng.integers(0, size + 1))) * (
        -1 if rng.random() < 0.5 else 1)


def random_term(rng):
    """``(inputs, scale, integer of the term)`` of a block of any pair of formats."""
    format, multiplicand = pairs(config)[rng.integers(len(pairs(config)))]
    most  = BLOCK * peak(format.element) * peak(multiplicand)
    scale = {"exponent": int(rng.integers(-256, 256)), "nan": int(rng.integers(2))}
    if format.scale == ScaleKind.E4M3:
        halves = [integer(rng, most // 2) for _ in range(2)]
        scales = [(int(rng.integers(16)), int(rng.integers(15))) for _ in range(2)]
        scale |= {"halved": 1, **{name: {"significand": s, "shift": e}
                                  for name, (s, e) in zip(("first", "second"), scales)}}
        return sum(halves), halves, scale, sum(h * (s << e) for h, (s, e) in zip(halves, scales))
    value = integer(rng, most)
    factor = int(rng.integers(-2048, 2048)) if format.scale in FACTORS else 1
    if "factor" in SHAPE.members:
        scale["factor"] = factor
    if "plain" in SHAPE.members:
        scale["plain"] = int(format.scale not in FACTORS)
    return value, [0, 0], scale, value * factor


@cocotb.test()
async def terms_are_exact(dut):
    """Terms of all kinds follow each other."""
    async with Bench(dut) as bench:
        terms  = [random_term(bench.rng) for _ in range(NUMBER)]
        codes  = bench.rng.integers(-133, 123, NUMBER).tolist()
        scaler = component(current(CONFIGS))
        inputs = {"value": (signed(scaler.plain_bits), [value for value, _, _, _ in terms]),
                  "scale": (SHAPE, [scale for _, _, scale, _ in terms]),
                  "code": (signed(11), codes)}
        if config.halves:
            for n, name in enumerate(("first", "second")):
                inputs[name] = signed(scaler.half_bits), [halves[n] for _, halves, _, _ in terms]
        found = await pipeline(dut, inputs, {"o": signed(scaler.term_bits),
                                             "exponent": signed(12), "nan": None}, scaler.latency)
        assert found["o"] == [wanted for _, _, _, wanted in terms]
        assert found["nan"] == [scale["nan"] for _, _, scale, _ in terms]
        assert np.array_equal(found["exponent"], [scale["exponent"] + code for (_, _, scale, _),
                                                  code in zip(terms, codes)])
