"""Byte layout of keys and values, against bytes counted by hand, and against each other."""

import numpy as np
import pytest

from hw.config import Config
from hw.formats import KV
from verif.formats import random_activations
from verif.reference.kv import bounds_blocks, kv_blocks, kv_read, kv_write
from verif.reference.transposer import transpose


def machine(slices):
    wide = slices > 4
    return Config(name="test", data_bits=512 if wide else 32, slices=slices, max_head=256,
                  burst=64 if wide else 16, d_fifo=16384)


def written(config, position, head_blocks, size=8192):
    """An image that holds one token with distinct bytes, else 0xEE."""
    image = np.full(size, 0xEE, np.uint8)
    k = np.arange(32 * head_blocks)
    kv_write(image, config, 1, position, k.astype(np.int8), np.arange(head_blocks) + 0xA0,
             (k + 0x80).astype(np.uint8).view(np.int8), 0xB7)
    return image


def found(image):
    return {int(offset): int(image[offset]) for offset in np.flatnonzero(image != 0xEE)}


def test_golden_bytes_of_one_slice():
    # One slice: beats of 16 bytes, lines of 64. Keys of 32 tokens are two tiles of 16 rows, each a
    # beat of scales and 16 x 2 beats. Token 18 is row 2 of tile 1. The head starts at byte 64.
    golden = {}
    tile = 64 + 33 * 16
    golden[tile + 2] = 0xA0
    for byte in range(32):
        golden[tile + 16 + 2 * 32 + byte] = byte
    # Two beats of value codes, then 32 beats of channels 0-15, then 32 of channels 16-31.
    codes = 64 + 66 * 16
    golden[codes + 18] = 0xB7
    for byte in range(16):
        golden[codes + 32 + 18 * 16 + byte] = 0x80 + byte
        golden[codes + 32 + 32 * 16 + 18 * 16 + byte] = 0x90 + byte
    assert found(written(machine(1), 18, 1)) == golden


def test_golden_bytes_of_two_slices():
    # Two slices: beats of 32 bytes, lines of 64. Keys of 32 tokens are one tile of 16 rows a slice;
    # 2 head blocks are two groups of 1 + 32 beats. A KV block is 66 + 1 + 64 beats, or 66 lines.
    # Token 37 is token 5 of block 1: row 2 of slice 1.
    start = 64 + 66 * 64
    golden = {start + 16 + 2: 0xA0, start + 33 * 32 + 16 + 2: 0xA1}
    for half in (0, 1):
        for byte in range(16):
            at = (1 + 2 * 2 + half) * 32 + 16 + byte
            golden[start + at] = 16 * half + byte
            golden[start + 33 * 32 + at] = 32 + 16 * half + byte
    golden[start + 66 * 32 + 5] = 0xB7
    values = start + 67 * 32
    for group in (0, 1):
        for i in range(16):
            for s in (0, 1):
                channel = 32 * group + 2 * i + s
                golden[values + group * 32 * 32 + 5 * 32 + 16 * s + i] = 0x80 + channel
    assert found(written(machine(2), 37, 2, 16384)) == golden


def test_golden_bytes_of_a_small_head():
    # Eight slices: beats of 128 bytes, which are a line. Keys of 32 tokens are a tile of 4 rows a
    # slice, 1 + 8 beats, then a beat of value codes. 32 channels are 4 bytes of a piece, so four
    # tokens share a beat of values. Token 27 is row 3 of slice 3, and token 11 of the second half:
    # its bytes are those from 8 on in the fourth beat of that half.
    golden = {128 + 16 * 3 + 3: 0xA0, 128 + 9 * 128 + 27: 0xB7}
    for half in (0, 1):
        for byte in range(16):
            golden[128 + (1 + 2 * 3 + half) * 128 + 16 * 3 + byte] = 16 * half + byte
    for i in range(4):
        for s in range(8):
            golden[128 + (10 + 4 + 3) * 128 + 16 * s + 8 + i] = 0x80 + 8 * i + s
    assert found(written(machine(8), 27, 1)) == golden
    assert machine(8).part_beats(1) == (10, 8)


@pytest.mark.parametrize("slices", [1, 2, 4, 8, 16, 32, 64])
@pytest.mark.parametrize("head_blocks, kv", [(1, "int8"), (2, "e4m3"), (3, "e5m2"), (8, "int8")])
def test_what_is_written_is_read(slices, head_blocks, kv):
    config, rng = machine(slices), np.random.default_rng(slices)
    count, base = 70, 3
    image = np.zeros((base + 3 * config.kv_lines(head_blocks)) * config.line_bytes, np.uint8)
    k, v = random_activations(rng, KV[kv], (2, count, 32 * head_blocks))
    k_codes = rng.integers(0, 256, (count, head_blocks), np.uint8)
    v_codes = rng.integers(0, 256, count, np.uint8)
    for position in rng.permutation(count):
        kv_write(image, config, base, position, KV[kv].encode(k[position]), k_codes[position],
                 KV[kv].encode(v[position]), v_codes[position])
    for got, wanted in zip(kv_read(image, config, base, count, head_blocks, kv),
                           (k, k_codes, v, v_codes)):
        assert np.array_equal(got, wanted)
    assert not image[:base * config.line_bytes].any()


@pytest.mark.parametrize("slices", [1, 2, 8, 64])
@pytest.mark.parametrize("head_blocks", [1, 3, 4])
def test_blocks_written_at_once_are_those_of_their_tokens(slices, head_blocks):
    config, rng = machine(slices), np.random.default_rng(slices)
    k, v = rng.integers(0, 256, (2, 96, 32 * head_blocks), np.uint8)
    k_codes = rng.integers(0, 256, (96, head_blocks), np.uint8)
    v_codes = rng.integers(0, 256, 96, np.uint8)
    image = np.zeros(3 * config.kv_lines(head_blocks) * config.line_bytes, np.uint8)
    for position in range(96):
        kv_write(image, config, 0, position, k[position], k_codes[position], v[position],
                 v_codes[position])
    assert np.array_equal(kv_blocks(config, k, k_codes, v, v_codes).reshape(-1), image)


@pytest.mark.parametrize("slices", [1, 2, 8])
def test_blocks_of_bounds_are_keys_of_pages(slices):
    """Maxima and minima of a page are a key of twice as many blocks."""
    config, rng = machine(slices), np.random.default_rng(slices)
    bounds = rng.integers(0, 256, (40, 128), np.uint8)
    codes = rng.integers(0, 256, (40, 4), np.uint8)
    image = bounds_blocks(config, bounds, codes)
    assert image.shape == (2, config.bounds_lines(2) * config.line_bytes)
    wanted = np.zeros((2, config.kv_lines(4) * config.line_bytes), np.uint8)
    for page in range(40):
        block, row = divmod(page, 32)
        kv_write(wanted[block], config, 0, row, bounds[page], codes[page],
                 np.zeros(128, np.uint8), 0)
    assert np.array_equal(image, wanted[:, :image.shape[1]])


def test_transposed_bytes():
    # Byte i of slice s of token t is 64 * s + ... made distinct in its pair (token, channel).
    rows = np.arange(32)[:, None] * 8 + np.arange(32)[None, :] % 8
    beats = transpose(rows, 2, 3)
    assert beats.shape == (6, 2, 16)
    for i in range(3):
        for half in (0, 1):
            for s in (0, 1):
                for p in range(16):
                    assert beats[2 * i + half, s, p] == rows[16 * half + p, 16 * s + i]


def test_transposed_bytes_of_a_small_head():
    # Two bytes a token: token 11 is in row 1 of its half, from byte 10 on.
    rows = np.arange(4 * 32).reshape(4, 32)
    beats = transpose(rows, 2, 2)
    for i in range(2):
        for half in (0, 1):
            for s in (0, 1):
                for p in range(16):
                    assert beats[2 * i + half, s, p] == rows[2 * half + p % 2,
                                                             16 * s + p // 2 * 2 + i]
