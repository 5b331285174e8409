"""Byte layout of matrices on the tape, against bytes counted by hand, and against each other."""

import time

import numpy as np
import pytest

from hw.formats import FORMATS, KEYS, NAN
from verif.reference.tape import pack, tape_beats, tiling, unpack


def test_golden_bytes_of_int8_with_one_slice():
    # 32 rows of 16: two tiles of 16 rows, each half a block. 16 scales of 2 bytes are two beats.
    weights = np.arange(512).reshape(32, 16) % 251 - 125
    scales = (np.arange(32) + 0x3C00).astype(np.uint16).reshape(32, 1)
    tape = pack(weights, scales, "int8", 1)
    assert len(tape) == 2 * (2 + 16) * 16
    assert tape[0:4].hex() == "003c013c"
    assert tape[16:18].hex() == "083c"                       # row 8: second beat of scales
    # Row 0 is -125, -124, ...: 0x83, 0x84, ...; row 1 starts at -109.
    assert tape[32:48].hex() == "838485868788898a8b8c8d8e8f909192"
    assert tape[48:50].hex() == "9394"
    # Tile 1 starts with the scale of row 16; its first weight is 256 % 251 - 125 = -120.
    assert tape[288:290].hex() == "103c"
    assert tape[320:322].hex() == "8889"


def test_golden_bytes_of_int8_with_two_slices():
    # 32 rows of 48: one tile of 16 rows a slice, one and a half blocks, a group for each block.
    weights = np.zeros((32, 48), int)
    weights[5, 2] = 0x11     # row 2 of slice 1, block 0, half 0
    weights[4, 31] = -2      # row 2 of slice 0, block 0, half 1
    weights[31, 47] = 0x33   # row 15 of slice 1, block 1, half 0
    scales = np.zeros((32, 2), np.uint16)
    scales[5] = 0x1234, 0x5678
    tape = pack(weights, scales, "int8", 2)
    assert len(tape) == (2 + 32 + 2 + 16) * 32
    golden = {
        # Scale beat 0, piece of slice 1, row 2.
        16 + 4: 0x34, 16 + 5: 0x12,
        # Block 0: rows of two beats.
        (2 + 4) * 32 + 16 + 2: 0x11,
        (2 + 5) * 32 + 15: 0xFE,
        # Group of block 1: scales, then rows of one beat.
        34 * 32 + 16 + 4: 0x78, 34 * 32 + 16 + 5: 0x56,
        (36 + 15) * 32 + 16 + 15: 0x33,
    }
    assert {at: byte for at, byte in enumerate(tape) if byte} == golden


def test_golden_bytes_of_int4_with_one_slice():
    # 32 rows of 32: two tiles of 16 rows, which are 8 pairs of two beats.
    weights = np.zeros((32, 32), int)
    weights[0, 0], weights[1, 0] = 3, -8          # one byte: low and high nibble
    weights[2, 17], weights[3, 17] = -1, 7        # pair 1, half 1
    weights[31, 31] = 5                           # tile 1, pair 7, half 1, high nibble
    scales = np.zeros((32, 1), np.float16)
    scales[3], scales[16] = 1.0, -2.0
    tape = pack(weights, scales, "int4", 1)
    assert len(tape) == 2 * (2 + 16) * 16
    golden = {
        7: 0x3C,
        2 * 16: 0x83,
        (2 + 2 + 1) * 16 + 1: 0x7F,
        18 * 16 + 1: 0xC0,
        (18 + 2 + 15) * 16 + 15: 0x50,
    }
    assert {at: byte for at, byte in enumerate(tape) if byte} == golden


def test_golden_bytes_of_int4_with_two_slices():
    # 32 rows of 64: one tile of 16 rows a slice, two groups of a block.
    weights = np.zeros((32, 64), int)
    weights[9, 40] = -3        # slice 1, row 4: pair 2, low nibble; block 1, half 0
    weights[11, 40] = 6        # slice 1, row 5: pair 2, high nibble
    scales = np.zeros((32, 2), np.uint16)
    scales[9], scales[30] = (0xAAAA, 0xBEEF), (0x0102, 0)
    tape = pack(weights, scales, "int4", 2)
    assert len(tape) == 2 * (2 + 16) * 32
    golden = {
        16 + 8: 0xAA, 16 + 9: 0xAA,
        # Row 15 of slice 0: second beat of scales.
        32 + 14: 0x02, 32 + 15: 0x01,
        18 * 32 + 16 + 8: 0xEF, 18 * 32 + 16 + 9: 0xBE,
        (18 + 2 + 4) * 32 + 16 + 8: 0x6D,
    }
    assert {at: byte for at, byte in enumerate(tape) if byte} == golden


def test_scales_of_low_tiles_share_beats():
    # 32 rows on 32 slices: height 1, so that the FP16 scales of 8 blocks fill a piece.
    weights = np.ones((32, 32 * 10), int)
    scales = (np.arange(32 * 10) + 1).astype(np.uint16).reshape(32, 10)
    tape = np.frombuffer(pack(weights, scales, "int8", 32), np.uint8).reshape(-1, 32, 16)
    assert len(tape) == (1 + 8 * 2) + (1 + 2 * 2)
    assert (tape[0].view(np.uint16) == scales[:, :8]).all()
    assert (tape[17].view(np.uint16)[:, :2] == scales[:, 8:]).all()
    assert not tape[17, :, 4:].any()


def test_codes_of_one_byte():
    # A tile of keys: 16 rows a slice, one beat of codes for a block.
    codes = np.arange(32, dtype=np.uint8).reshape(32, 1)
    tape = pack(np.zeros((32, 32), int), codes, KEYS, 2)
    assert len(tape) == 33 * 32
    assert list(tape[:32]) == [*range(0, 32, 2), *range(1, 32, 2)]


@pytest.mark.parametrize("rows, slices, format, wanted", [
    (32, 1, "int8", (2, 16, 16)),
    (96, 2, "int8", (3, 16, 16)),
    (96, 4, "int8", (2, 16, 8)),
    (96, 8, "int4", (1, 12, 12)),
    (160, 16, "int4", (1, 10, 10)),
    (288, 32, "int8", (1, 9, 9)),
    (288, 32, "int4", (1, 10, 10)),
    (32, 64, "int8", (1, 1, 1)),
    (32, 64, "int4", (1, 2, 2)),
    (1056, 64, "int4", (2, 16, 2)),
])
def test_tiling(rows, slices, format, wanted):
    assert tiling(rows, slices, format) == wanted


def random_matrix(rng, rows, size, format):
    element, scale = format.element, format.scale
    weights = rng.choice(element.integers[element.integers != NAN], (rows, size))
    scales = rng.bytes(rows * format.scales(size) * scale.dtype.itemsize)
    return weights, np.frombuffer(scales, scale.dtype).reshape(rows, -1)


@pytest.mark.parametrize("slices", [1, 2, 4, 8, 64])
@pytest.mark.parametrize("format", [*FORMATS.values(), KEYS], ids=lambda format: format.name)
def test_what_is_packed_is_unpacked(format, slices):
    rng = np.random.default_rng(slices)
    factor = np.float32(rng.normal()) if format.factor else None
    for rows, size in ((32, 32), (96, 48), (160, 100), (800, 416)):
        weights, scales = random_matrix(rng, rows, size, format)
        tape = pack(weights, scales, format, slices, factor)
        assert len(tape) == tape_beats((rows, size), format, slices) * 16 * slices
        back, back_scales, back_factor = unpack(tape, (rows, size), format, slices)
        assert np.array_equal(back, weights) and back_factor == factor
        assert back_scales.dtype == scales.dtype
        assert back_scales.tobytes() == scales.tobytes()


def test_millions_of_weights_take_no_time():
    weights = np.zeros((4096, 1024), np.int8)
    scales = np.zeros((4096, 32), np.float16)
    start = time.process_time()
    pack(weights, scales, "int4", 4)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("weights, scales, format, message", [
    ([[8] * 32], [[1.0]], "int4", "int4 elements are -8 to 7, and not all between; 8 is none"),
    ([[0] * 32], [[1.0, 1.0]], "int8", r"scales must have shape \(1, 1\), not \(1, 2\)"),
    ([[0] * 32], [[1.0]], "int5", "format must be one of .*, not 'int5'"),
])
def test_wrong_matrices(weights, scales, format, message):
    with pytest.raises(ValueError, match=message):
        pack(np.array(weights), np.array(scales, np.float16), format, 1)


def test_wrong_scales():
    with pytest.raises(TypeError, match="scales of int8 must be float16, not float64"):
        pack(np.zeros((32, 32), int), np.ones((32, 1)), "int8", 1)


def test_wrong_length():
    with pytest.raises(ValueError, match="the tape must have 576 bytes, not 16"):
        unpack(bytes(16), (32, 16), "int8", 1)
