"""cocotb test of :class:`hw.matmul.scales.ScaleDecoder`: all scales of all kinds."""

import cocotb
import numpy as np

from hw.config import Config
from hw.formats import FORMATS, ScaleKind
from hw.matmul.layouts import scale_shape
from hw.matmul.scales import BIASES, MEANING, ScaleDecoder
from verif.bench import current, pipeline
from verif.reference.matmul import scale_parts


CONFIGS = {
    "all":  dict(formats=tuple(FORMATS)),
    "fp16": dict(formats=("int4",)),
}

#: Icarus takes minutes for all 16-bit scales of all kinds.
STEP = 1 if getattr(cocotb, "SIM_NAME", "") == "Verilator" else 37


def component(config):
    return ScaleDecoder(Config(name="test", **config))


config = Config(name="test", **current(CONFIGS))
KINDS  = {FORMATS[name].scale for name in config.formats} | {ScaleKind.E8M0}


@cocotb.test()
async def every_scale_has_its_value(dut):
    for kind in sorted(KINDS, key=lambda kind: kind.name):
        codes = np.arange(0, 256 if kind == ScaleKind.E8M0 else 2**16, STEP)
        meaning = {"scale": kind, "offset": BIASES[kind]}
        found = await pipeline(
            dut, {"i": codes.tolist(), "meaning": (MEANING, [meaning] * len(codes)),
                  "nan": [0] * len(codes)}, {"o": scale_shape(config)}, latency=0)
        fields = {name: np.array([o[name] for o in found["o"]]) for name in found["o"][0]
                  if name not in ("first", "second")}
        if kind == ScaleKind.E4M3:
            parts = [np.array([o[name]["significand"] << o[name]["shift"] for o in found["o"]])
                     for name in ("first", "second")]
            wanted = scale_parts(codes.astype("<u2").view(np.uint8).reshape(-1, 2), kind)
            values = np.stack(parts, axis=1) * np.exp2(fields["exponent"])[:, None]
            nan = wanted[2].any(axis=1)
            assert fields["halved"].all()
            assert np.array_equal(values[~nan], (wanted[0] * np.exp2(wanted[1]))[~nan])
        else:
            dtype = np.uint8 if kind == ScaleKind.E8M0 else np.uint16
            wanted, nan = scale_parts(codes.astype(dtype), kind), None
            nan = np.asarray(wanted[2], bool)
            values = fields["factor"] * np.exp2(fields["exponent"].astype(float))
            assert np.array_equal(values[~nan], (wanted[0] * np.exp2(np.float64(wanted[1])))[~nan])
            assert not fields.get("halved", np.zeros(1)).any()
        assert np.array_equal(fields["nan"].astype(bool), nan)
