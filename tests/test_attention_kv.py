"""Byte layout of keys and values, against bytes counted by hand, and against each other."""

from dataclasses import replace

import numpy as np
import pytest

from hw.config import Config
from hw.formats import KV
from verif.formats import random_activations
from verif.reference.kv import (
    bounds_blocks,
    bounds_read,
    bounds_write,
    kv_blocks,
    kv_read,
    kv_write,
    unfold,
)
from verif.reference.transposer import transpose


def machine(slices):
    wide = slices > 4
    return Config(name="test", data_bits=512 if wide else 32, slices=slices, max_head=256,
                  burst=64 if wide else 16, d_fifo=16384)


def written(config, position, head_blocks, size=8192, kv="int8"):
    """An image that holds one token with distinct bytes, else 0xEE; packed ones repeat."""
    image = np.full(size, 0xEE, np.uint8)
    k = np.arange(32 * head_blocks)
    v = k + 0x80
    if kv == "int4":
        k, v = (16 * (7 * n % 16) for n in (k, k + 5))
    kv_write(image, config, 1, position, k.astype(np.uint8), np.arange(head_blocks) + 0xA0,
             v.astype(np.uint8).view(np.int8), 0xB7, kv)
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


def both(low, high):
    """A byte of two packed elements, which are named by their numbers in the head."""
    return 7 * low % 16 | 7 * high % 16 << 4


def test_golden_bytes_of_one_slice_packed():
    # As above, but a row of keys is one beat: a tile is a beat of scales and 16 beats. Token 18 is
    # row 2 of tile 1. Byte j has elements 2 j, in the lower half, and 2 j + 1.
    tile = 64 + 17 * 16
    golden = {tile + 2: 0xA0}
    for byte in range(16):
        golden[tile + 16 + 2 * 16 + byte] = both(2 * byte, 2 * byte + 1)
    # Of two value beats the first one has the first eight bytes: tokens 18 and 19 share a beat.
    codes = 64 + 34 * 16
    golden[codes + 18] = 0xB7
    for group in (0, 1):
        for byte in range(8):
            channel = 16 * group + 2 * byte
            golden[codes + 32 + group * 16 * 16 + 9 * 16 + byte] = both(channel + 5, channel + 6)
    assert found(written(machine(1), 18, 1, kv="int4")) == golden
    assert machine(1).part_beats(1, packed=True) == (34 + 2, 32)


def test_golden_bytes_of_two_slices_packed():
    # Two slices: two sections of 1 + 16 beats of keys, a beat of codes, 2 x 16 beats of values: 67
    # beats of 32 bytes, or 34 lines. Token 37 is token 5 of block 1: row 2 of slice 1.
    start = 64 + 34 * 64
    golden = {start + 16 + 2: 0xA0, start + 17 * 32 + 16 + 2: 0xA1, start + 34 * 32 + 5: 0xB7}
    for block in (0, 1):
        for byte in range(16):
            element = 32 * block + 2 * byte
            golden[start + (17 * block + 1 + 2) * 32 + 16 + byte] = both(element, element + 1)
    # Token 5 has the other eight bytes of each piece in the beat that it shares with token 4.
    for group in (0, 1):
        for byte in range(8):
            for s in (0, 1):
                channel = 32 * group + 2 * (2 * byte) + s
                golden[start + (35 + 16 * group + 2) * 32 + 16 * s + 8 + byte] = both(
                    channel + 5, channel + 2 + 5)
    assert found(written(machine(2), 37, 2, kv="int4")) == golden
    assert machine(2).kv_lines(2, packed=True) == 34


@pytest.mark.parametrize("slices", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("head_blocks", [1, 2, 3, 8])
def test_packed_beats_unfold_to_those_of_bytes(slices, head_blocks):
    """The same elements in both layouts: what the array gets is the same, beat by beat."""
    config, rng = machine(slices), np.random.default_rng(slices)
    images = {kv: np.zeros(config.kv_lines(head_blocks, kv == "int4") * config.line_bytes, np.uint8)
              for kv in ("int8", "int4")}
    for token in range(32):
        k, v = (rng.integers(-7, 8, (2, 32 * head_blocks)) * 16).astype(np.int8)
        codes = rng.integers(0, 256, head_blocks + 1, np.uint8)
        for kv, image in images.items():
            kv_write(image, config, 0, token, k, codes[1:], v, codes[0], kv)
    (k, v), (packed_k, packed_v) = (
        np.split(image.reshape(-1, config.beat_bytes)[:sum(parts)], [parts[0]])
        for image, parts in ((image, config.part_beats(head_blocks, kv == "int4"))
                             for kv, image in images.items()))
    assert np.array_equal(unfold(packed_v), v)
    # Of keys the codes are not packed: the first beat of each section, and those behind them.
    codes = config.value_scale_beats
    assert np.array_equal(packed_k[-codes:], k[-codes:])
    sections = [packed_k[n:n + 17] for n in range(0, len(packed_k) - codes, 17)]
    sections[-1] = sections[-1][:(len(packed_k) - codes) % 17 or 17]
    assert np.array_equal(
        np.concatenate([np.concatenate([section[:1], unfold(section[1:])])
                        for section in sections]), k[:-codes])


@pytest.mark.parametrize("slices", [1, 2, 8, 16])
def test_packed_bounds_that_are_written_are_read(slices):
    config, rng = machine(slices), np.random.default_rng(slices)
    image = np.zeros((2 * config.bounds_lines(2, packed=True)) * config.line_bytes, np.uint8)
    bounds = (rng.integers(-7, 8, (64, 128)) * 16).astype(np.int8)
    codes = rng.integers(0, 256, (64, 4), np.uint8)
    for page in rng.permutation(64):
        bounds_write(image, config, 0, page, bounds[page], codes[page], "int4")
    got, got_codes = bounds_read(image, config, 0, 64, 2, "int4")
    assert np.array_equal(got, bounds) and np.array_equal(got_codes, codes)


@pytest.mark.parametrize("slices, head_blocks, kv", [
    (slices, *head) for slices in (1, 2, 4, 8, 16, 32, 64)
    for head in ((1, "int8"), (2, "e4m3"), (3, "e5m2"), (8, "int8"), (1, "int4"), (3, "int4"),
                 (8, "int4"))
    if slices <= 16 or head[1] != "int4"])
def test_what_is_written_is_read(slices, head_blocks, kv):
    config, rng = machine(slices), np.random.default_rng(slices)
    count, base = 70, 3
    lines = config.kv_lines(head_blocks, KV[kv].packed)
    image = np.zeros((base + 3 * lines) * config.line_bytes, np.uint8)
    k, v = random_activations(rng, KV[kv], (2, count, 32 * head_blocks))
    k_codes = rng.integers(0, 256, (count, head_blocks), np.uint8)
    v_codes = rng.integers(0, 256, count, np.uint8)
    for position in rng.permutation(count):
        kv_write(image, config, base, position, KV[kv].encode(k[position]), k_codes[position],
                 KV[kv].encode(v[position]), v_codes[position], kv)
    for got, wanted in zip(kv_read(image, config, base, count, head_blocks, kv),
                           (k, k_codes, v, v_codes)):
        assert np.array_equal(got, wanted)
    assert not image[:base * config.line_bytes].any()


@pytest.mark.parametrize("slices, kv", [
    (1, "int8"), (2, "int8"), (8, "int8"), (64, "int8"), (1, "int4"), (2, "int4"), (16, "int4")])
@pytest.mark.parametrize("head_blocks", [1, 3, 4])
def test_blocks_written_at_once_are_those_of_their_tokens(slices, kv, head_blocks):
    config, rng = machine(slices), np.random.default_rng(slices)
    k, v = rng.integers(0, 256, (2, 96, 32 * head_blocks), np.uint8)
    k_codes = rng.integers(0, 256, (96, head_blocks), np.uint8)
    v_codes = rng.integers(0, 256, 96, np.uint8)
    lines = config.kv_lines(head_blocks, KV[kv].packed)
    image = np.zeros(3 * lines * config.line_bytes, np.uint8)
    for position in range(96):
        kv_write(image, config, 0, position, k[position], k_codes[position], v[position],
                 v_codes[position], kv)
    assert np.array_equal(kv_blocks(config, k, k_codes, v, v_codes, kv).reshape(-1), image)


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


def test_machines_of_many_slices_have_no_packed_values():
    with pytest.raises(ValueError, match="kv int4 needs at most 16 slices, .* not 32"):
        replace(machine(32), kv=("int8", "int4"))
    assert replace(machine(16), kv=("int8", "int4")).packs
