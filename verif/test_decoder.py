"""cocotb test of :class:`hw.matmul.decoder.ElementDecoder`: all codes of all elements."""

import cocotb
import numpy as np
from amaranth.lib import data

from hw.config import Config
from hw.formats import FORMATS, NAN
from hw.matmul.decoder import ElementDecoder
from hw.matmul.layouts import pair_shape
from hw.matmul.timing import PAIRS
from verif.bench import current, pipeline


CONFIGS = {
    "formats":  dict(formats=tuple(FORMATS)),
    "integers": dict(formats=("int8", "int4")),
    "only_fp8": dict(formats=("mxfp8",)),
    "whole":    dict(formats=("int16", "mxfp6", "mxfp8e5m2")),
}


def component(config):
    return ElementDecoder(Config(name="test", **config))


config = Config(name="test", **current(CONFIGS))
SHAPE = pair_shape(config)


@cocotb.test()
async def every_code_has_its_integer(dut):
    """Each code at each place of a piece; the flag tells whether one of the piece is no number."""
    for element in config.elements:
        bits   = min(element.bits, 8)
        codes  = (np.arange(256)[:, None] + 17 * np.arange(PAIRS)) % (1 << max(bits, 8))
        codes %= 64 if bits == 6 else 256
        pieces = [sum(int(code) << (6 if bits == 6 else 8) * n for n, code in enumerate(piece))
                  for piece in codes]
        for upper in (0, 1):
            found = await pipeline(
                dut, {"element": [element.number] * len(pieces), "i": pieces,
                      "upper": [upper] * len(pieces)},
                {"o": data.ArrayLayout(SHAPE, PAIRS), "nan": None}, latency=0)
            members = {name: np.array([[pair[name] for pair in piece] for piece in found["o"]], int)
                       for name in SHAPE.members}
            if element.bits == 4:
                assert np.array_equal(members["low"], element.decode(codes & 15))
                assert np.array_equal(members["high"], element.decode(codes >> 4))
                assert not any(found["nan"])
                continue
            if element.bits == 16:
                wanted = codes - 256 * ((codes >> 7) & upper)
            else:
                wanted = element.decode(codes).astype(int)
            value = members["low"] + 16 * members["high"] if config.split else members["whole"]
            value <<= members.get("shift", 0)
            numbers = wanted != NAN
            assert np.array_equal(value[numbers], wanted[numbers]), element.name
            assert np.array_equal(np.array(found["nan"], bool), ~numbers.all(axis=1))
