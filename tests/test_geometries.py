"""Results do not change with slices, columns, depth, lanes or the memory's width: not by a bit."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from hw.config import Config
from hw.config import load as load_config
from sim.device import SimulatedDevice
from sw.compile.compiler import compile_model
from sw.runtime.emulator import Emulator
from sw.runtime.session import Session
from sw.runtime.verify import Verifier
from tests.models import random_model


#: Three heads of 16 that share keys and values, and no size that is a multiple of 32.
MODEL = replace(random_model(dim=48, hidden=80, n_heads=3, n_kv_heads=1, vocabulary=107,
                             shared=False), name="odd")
PROMPT, TOKENS = [1, 5, 9, 60, 33, 17], 3

SMALL = dict(w_fifo=4096, d_fifo=2048, replay=2048, workspace=16384, act_blocks=64, max_head=32,
             kv_staging=16, outstanding=4, burst=16, formats=("int4", "mxfp4"))

#: No two have the same number of anything. The preset is one that other tests build.
GEOMETRIES = {
    "formats": load_config("formats"),
    "narrow":  Config(name="narrow", data_bits=32, slices=1, columns=2, depth=8, lanes=2, **SMALL),
    "high":    Config(name="high", data_bits=64, slices=4, columns=3, depth=4, lanes=4, **SMALL),
    "broad":   Config(name="broad", data_bits=256, slices=8, columns=1, depth=2, lanes=16, **SMALL),
}

#: More of them, for the emulator: also such that need other padding.
EMULATED = GEOMETRIES | {
    f"{slices}_slices": replace(GEOMETRIES["broad"], name=f"{slices}_slices", slices=slices,
                                columns=columns, lanes=lanes, workspace=65536, w_fifo=16384,
                                d_fifo=16384, replay=16384, burst=32, max_head=64)
    for slices, columns, lanes in ((16, 5, 8), (32, 64, 32), (64, 7, 4))}


def logits(device, compiled):
    """Bits of logits that tokens were chosen by, ``[position, token]``, of a right run; and its
    tokens."""
    session, verifier = Session(device, compiled), Verifier(device, compiled)
    tokens = list(session.tokens())
    verifier.verify(session.outcome)
    found = [np.concatenate([np.frombuffer(device.read(address, 4 * elements), "<u4")
                             for address, elements in compiled.logits_address(position)])
             for position in range(len(PROMPT) - 1, session.outcome.positions)]
    return np.array(found)[:, :MODEL.vocabulary], tokens


def on_emulator(config, format):
    compiled = compile_model(MODEL, config, PROMPT, TOKENS, format=format, check=True)
    return logits(Emulator(config, memory_bytes=compiled.memory.bytes), compiled)


def on_hardware(config, format):
    compiled = compile_model(MODEL, config, PROMPT, TOKENS, format=format, check=True)
    with SimulatedDevice(config, memory_bytes=compiled.memory.bytes) as device:
        return logits(device, compiled)


def assert_same(runs):
    """All runs have the same bits; what they are is not all the same."""
    (first, tokens), *others = runs
    assert len(first) == TOKENS
    assert len(np.unique(first)) > 0.9 * first.size
    for bits, chosen in others:
        assert np.array_equal(bits, first) and chosen == tokens


def test_the_geometries_differ_in_everything():
    for name in ("word_bytes", "slices", "columns", "depth", "lanes"):
        assert len({getattr(config, name) for config in GEOMETRIES.values()}) == len(GEOMETRIES)


@pytest.mark.parametrize("format", ["int4", "mxfp4"])
def test_emulated_machines_give_the_same_bits(format):
    assert_same([on_emulator(config, format) for config in EMULATED.values()])


@pytest.mark.parametrize("format", ["int4", "mxfp4"])
def test_simulated_machines_give_the_same_bits(format):
    """And the same as an emulated one."""
    assert_same([on_emulator(GEOMETRIES["narrow"], format),
                 *(on_hardware(config, format) for config in GEOMETRIES.values())])


@pytest.mark.parametrize("name, lanes, rows", [
    ("nano", 1, 2), ("sim", 4, 4), ("ulx3s", 1, 4), ("server", 16, 2), ("wide", 32, 1)])
def test_a_row_and_what_the_softmax_takes_leave_at_once(name, lanes, rows):
    config = load_config(name)
    assert (config.softmax_lanes, config.drain_rows) == (lanes, rows)


def test_groups_of_rows_fill_blocks():
    """A column ends with a full group, whatever the geometry: tiles are whole blocks, or with one
    slice half blocks."""
    for slices, columns, lanes in itertools.product(
            (1, 2, 4, 8, 16, 32, 64), (1, 3, 8, 24, 64), (2, 4, 8, 16, 32)):
        config = Config(name="any", slices=slices, columns=columns, lanes=lanes, burst=64,
                        data_bits=512 if slices > 2 else 32, w_fifo=16384, d_fifo=16384)
        together = slices * config.drain_rows
        assert min(32, 16 * slices) % min(32, together) == 0
        assert together >= max(min(lanes, 16 * slices), config.softmax_lanes)
        assert 4 * config.softmax_lanes >= min(128, columns * slices)
