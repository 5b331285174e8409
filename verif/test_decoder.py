"""cocotb test of :class:`hw.matmul.decoder.ElementDecoder`: all codes of all elements."""

import cocotb
import numpy as np
from cocotb.triggers import Timer

from hw.config import Config
from hw.formats import FORMATS, NAN
from hw.matmul.decoder import ElementDecoder
from hw.matmul.layouts import pair_shape
from hw.matmul.timing import PAIRS
from verif.bench import current
from verif.packing import unpack


CONFIGS = {
    "formats":  dict(formats=tuple(FORMATS)),
    "integers": dict(formats=("int8", "int4")),
    "only_fp8": dict(formats=("mxfp8",)),
}


def component(config):
    return ElementDecoder(Config(name="test", **config))


config = Config(name="test", **current(CONFIGS))
SHAPE = pair_shape(config)


def pairs(dut):
    """The decoded weights, as arrays of members of a pair."""
    value, mask = int(dut.o.value), (1 << SHAPE.size) - 1
    found = [unpack(SHAPE, value >> SHAPE.size * n & mask) for n in range(PAIRS)]
    return {name: np.array([int(pair[name]) for pair in found]) for name in SHAPE.members}


@cocotb.test()
async def every_code_has_its_integer(dut):
    """Each code at each place of a piece; the flag tells whether one of the piece is no number."""
    for element in config.elements:
        dut.element.value = element.number
        for first in range(256):
            data = (first + 17 * np.arange(PAIRS)) % 256
            dut.i.value = int.from_bytes(data.astype(np.uint8).tobytes(), "little")
            await Timer(1, "ns")
            found = pairs(dut)
            if element.bits == 4:
                assert np.array_equal(found["low"], element.decode(data & 15))
                assert np.array_equal(found["high"], element.decode(data >> 4))
                assert not dut.nan.value
                continue
            wanted = element.decode(data).astype(int)
            value = found["low"] + 16 * found["high"] if config.split else found["whole"]
            value <<= found.get("shift", 0)
            numbers = wanted != NAN
            assert np.array_equal(value[numbers], wanted[numbers]), f"{element.name}, {data}"
            assert bool(dut.nan.value) == (not numbers.all())
