"""What the configuration states about attention, against the blocks that it does not know."""

import dataclasses

import pytest

from hw.attention.softmax import softmax_latency
from hw.config import load, presets
from hw.geometry import BLOCK, SOFTMAX_CYCLES, SUM_CYCLES
from hw.matmul.timing import Timing


@pytest.mark.parametrize("preset", presets())
def test_stated_cycles_are_those_of_the_blocks(preset):
    config = load(preset)
    assert 0 <= SUM_CYCLES - Timing(config).write <= 8
    rest = softmax_latency(config) - BLOCK // config.softmax_lanes
    assert 0 <= SOFTMAX_CYCLES - rest <= 12


@pytest.mark.parametrize("preset", presets())
def test_keys_are_as_far_ahead_as_probabilities_take(preset):
    config = load(preset)
    assert 1 <= config.keys_ahead <= 7
    # A faster memory makes blocks shorter, so that more of them are under way.
    words = config.beat_bytes * 8 // config.channels
    faster = dataclasses.replace(config, data_bits=min(words, 1024), burst=4,
                                 d_fifo=2**16, w_fifo=2**16)
    assert faster.keys_ahead >= config.keys_ahead


def test_output_of_all_groups_has_accumulator_rows():
    for preset in presets():
        config = load(preset)
        assert config.acc_rows >= 16 + config.kv_groups * config.output_rows
        assert config.output_rows * config.slices >= config.max_head
