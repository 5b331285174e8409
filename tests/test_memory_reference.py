"""The memory reference against what it must be by definition, and errors of the memory system."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.config import Config
from hw.memory.reader import Reader
from hw.signatures import Part
from verif.reference.kv import block_place, bounds_read, kv_read
from verif.reference.memory import (
    append,
    bursts,
    channel_address,
    choose,
    global_address,
    walk,
)
from verif.reference.pattern import seen


CONFIGS = [Config(name="narrow", data_bits=32, slices=1),
           Config(name="channels", data_bits=64, channels=4, slices=4),
           Config(name="wide", data_bits=512, channels=2, slices=8, burst=8)]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_channels_share_the_memory_word_by_word(config):
    size = config.data_bits // 8
    for address in range(3 * config.word_bytes):
        channel, inside = channel_address(address, config)
        assert channel == address % config.word_bytes // size
        assert inside == address // config.word_bytes * size + address % size
        assert global_address(inside, channel, config) == address


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@settings(deadline=None, max_examples=50)
@given(start=st.integers(0, 1000), words=st.integers(0, 300))
def test_bursts_cover_the_run_and_cross_no_border(config, start, words):
    span = config.burst * config.word_bytes
    covered = []
    for address, number in bursts(start * config.word_bytes, words, config):
        assert 1 <= number <= config.burst
        assert address // span == (address + number * config.word_bytes - 1) // span
        covered += range(address // config.word_bytes, address // config.word_bytes + number)
    assert covered == list(range(start, start + words))


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("head_blocks", [1, 2])
@pytest.mark.parametrize("count, blocks", [(0, 0), (1, 1), (32, 1), (33, 2), (64, 2)])
@pytest.mark.parametrize("kv", ["e4m3", "int4"])
def test_walk_reads_keys_and_values_of_blocks_that_hold_tokens(config, head_blocks, count, blocks,
                                                               kv):
    packed = kv == "int4"
    forward = head_blocks - 1
    parts = walk(7, count, head_blocks, config, kv=kv, forward=forward)
    keys, values = config.part_beats(head_blocks, packed)
    assert len(parts) == blocks
    for n, block in enumerate(parts):
        byte = (7 + n * config.kv_lines(head_blocks, packed)) * config.line_bytes
        known = {"head_blocks": head_blocks, "packed": packed, "number": n, "first": n == 0,
                 "last": n == blocks - 1, "forward": forward and n == blocks - 1}
        assert block == (({"kind": Part.KEYS.value, **known}, byte, keys),
                         ({"kind": Part.VALUES.value, **known}, byte + keys * config.beat_bytes,
                          values))


@settings(deadline=None)
@given(count=st.integers(1, 2000), span=st.integers(1, 64), window=st.integers(0, 500),
       sinks=st.integers(0, 200))
def test_walk_reads_all_that_is_seen_and_nothing_else(count, span, window, sinks):
    span = min(span, count)
    tokens = np.arange(count)
    wanted = {int(token) // 32 for position in range(count - span, count)
              for token in tokens[seen(tokens, position, window, sinks)]}
    parts = walk(0, count, 1, CONFIGS[0], span=span, window=window, sinks=sinks)
    assert [block[0][0]["number"] for block in parts] == sorted(wanted)
    assert [block[0][0]["first"] for block in parts] == [1] + [0] * (len(parts) - 1)
    assert [block[0][0]["last"] for block in parts] == [0] * (len(parts) - 1) + [1]


def test_walk_finds_blocks_in_ring_and_table():
    config = CONFIGS[0]

    def places(**fields):
        stride = config.kv_lines(1) * config.line_bytes
        return [divmod(block[0][1], stride) for block in walk(0, 320, 1, config, **fields)]

    ring = [0, 1 + (7 - 1) % 4, 1 + (8 - 1) % 4, 1 + (9 - 1) % 4]
    window = {"window": 65, "sinks": 3, "ring": 4}
    assert places(**window) == [(place, 0) for place in ring]
    table = np.array([30, 10, 40, 20, 50])
    assert places(**window, table=table) == [(table[place], 0) for place in ring]
    assert places(window=1, chosen=[2, 3], ring=0) == [(2, 0), (3, 0), (9, 0)]
    with pytest.raises(IndexError):
        walk(0, 161, 1, config, table=table)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_walk_of_bounds_reads_a_block_for_32_pages(config):
    parts = walk(3, 33, 2, config, bounds=True, ring=1, table=[], window=1)
    stride = config.bounds_lines(2) * config.line_bytes
    assert [(part["kind"], part["number"], byte, beats) for (part, byte, beats), in parts] == [
        (Part.BOUNDS.value, n, 3 * config.line_bytes + n * stride, config.key_beats(4))
        for n in (0, 1)]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("head_blocks", [1, 2])
def test_appended_tokens_are_read_back(config, head_blocks):
    rng = np.random.default_rng(0)
    heads, tokens, stride = 2, 40, 2 * config.kv_lines(head_blocks)
    image = np.zeros(heads * stride * config.line_bytes, np.uint8)
    staging = rng.integers(-128, 128, (tokens, 2, heads, head_blocks, 32)).astype(np.int8)
    codes = rng.integers(0, 256, (tokens, 2, heads, head_blocks))
    for position in range(tokens):
        append(image, staging[position].reshape(-1, 32), codes[position].reshape(-1), 0, position,
               heads, head_blocks, stride, config)
    for head in range(heads):
        k, k_codes, v, v_codes = kv_read(image, config, head * stride, tokens, head_blocks)
        assert np.array_equal(k, staging[:, 0, head].reshape(tokens, -1))
        assert np.array_equal(k_codes, codes[:, 0, head])
        assert np.array_equal(v, staging[:, 1, head].reshape(tokens, -1))
        assert np.array_equal(v_codes, codes[:, 1, head, 0])


@pytest.mark.parametrize("bounds", [False, True], ids=["tokens", "bounds"])
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_tokens_appended_together_lie_as_one_by_one(config, bounds):
    """Staged are keys, then values, head by head; the tokens lie in two KV blocks."""
    rng, heads, tokens, first = np.random.default_rng(4), 2, 5, 29
    stride = 2 * (config.bounds_lines if bounds else config.kv_lines)(2)
    images = [np.zeros(heads * stride * config.line_bytes, np.uint8) for _ in range(2)]
    # Of bounds, largest and smallest keys of a head lie together.
    kinds, blocks = (1, 4) if bounds else (2, 2)
    staging = rng.integers(-128, 128, (kinds, heads, tokens, blocks, 32)).astype(np.int8)
    codes = rng.integers(0, 256, staging.shape[:-1])
    shape = (heads, 2, stride, config)
    append(images[0], staging.reshape(-1, 32), codes.reshape(-1), 0, first, *shape, bounds=bounds,
           more=tokens - 1)
    for n in range(tokens):
        append(images[1], staging[:, :, n].reshape(-1, 32), codes[:, :, n].reshape(-1), 0,
               first + n, *shape, bounds=bounds)
    assert np.array_equal(*images) and images[0].any()


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("table", [None, [4, 0, 5, 2]], ids=["no table", "table"])
def test_a_ring_holds_the_sinks_and_the_last_tokens(config, table):
    """300 tokens in four blocks: the first one is kept, the others are those of the end."""
    rng, tokens = np.random.default_rng(1), 300
    where = dict(ring=3, sinks=17, table=table)
    image = np.zeros(6 * config.kv_lines(1) * config.line_bytes, np.uint8)
    staging = rng.integers(-128, 128, (tokens, 2, 32)).astype(np.int8)
    codes = rng.integers(0, 256, (tokens, 2))
    for position in range(tokens):
        append(image, staging[position], codes[position], 0, position, 1, 1, 0, config, **where)
    k, k_codes, v, v_codes = kv_read(image, config, 0, tokens, 1, **where)
    kept = np.r_[0:32, tokens - 2 * 32 - tokens % 32:tokens]
    assert np.array_equal(k[kept], staging[kept, 0])
    assert np.array_equal(k_codes[kept, 0], codes[kept, 0])
    assert np.array_equal(v[kept], staging[kept, 1]) and np.array_equal(v_codes[kept],
                                                                        codes[kept, 1])


def test_a_block_beyond_the_table_has_no_place():
    assert [block_place(n, table=[7, 3]) for n in (0, 1)] == [7, 3]
    assert [block_place(n, 2, 32, [7, 3, 9]) for n in range(5)] == [7, 3, 9, 3, 9]
    config, image = CONFIGS[0], np.zeros(1 << 16, np.uint8)
    with pytest.raises(IndexError, match="block 2 is beyond the block table of 2 entries"):
        append(image, np.ones((4, 32), np.int8), np.ones(4), 0, 63, 1, 1, 0, config, more=1,
               table=[0, 1])
    assert not image.any()
    with pytest.raises(IndexError, match="block 2 is beyond the block table of 2 entries"):
        block_place(2, table=[7, 3])


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("head_blocks", [1, 2])
def test_appended_bounds_are_read_back(config, head_blocks):
    rng = np.random.default_rng(2)
    heads, pages, stride = 2, 40, 2 * config.bounds_lines(head_blocks)
    image = np.zeros(heads * stride * config.line_bytes, np.uint8)
    staging = rng.integers(-128, 128, (pages, heads, 2 * head_blocks, 32)).astype(np.int8)
    codes = rng.integers(0, 256, (pages, heads, 2 * head_blocks))
    for page in range(pages):
        append(image, staging[page].reshape(-1, 32), codes[page].reshape(-1), 0, page, heads,
               head_blocks, stride, config, bounds=True, ring=1, table=[5])
    for head in range(heads):
        bounds, scales = bounds_read(image, config, head * stride, pages, head_blocks)
        assert np.array_equal(bounds, staging[:, head].reshape(pages, -1))
        assert np.array_equal(scales, codes[:, head])


@pytest.mark.parametrize("pages, count, sent, legal", [
    ([], 5, [], True), ([0, 4, 5], 5, [0, 4], True), ([3, 3], 9, [3], False),
    ([1, 9, 8, 2], 5, [1], False), ([7, 2**22 - 1, 2**22], 2**32 - 1, [7, 2**22 - 1], True)])
def test_a_list_of_pages_is_ascending(pages, count, sent, legal):
    config = CONFIGS[0]
    image = np.zeros(2 * config.line_bytes, np.uint8)
    image[config.line_bytes:][:4 * len(pages)] = np.array(pages, "<u4").view(np.uint8)
    assert choose(image, 1, len(pages), count, config) == (sent, legal)


def test_a_fifo_must_hold_a_burst():
    with pytest.raises(ValueError, match="fifo_bytes must hold a burst of 16 words of 4 bytes, "
                                         "not 32 bytes"):
        Reader(CONFIGS[0], 32)
