"""Byte layout of matrices on the tape, against bytes counted by hand, and against each other."""

import time

import numpy as np
import pytest

from hw.formats import FORMATS, KEYS, NAN, VALUES
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


def nonzero(tape):
    return {at: byte for at, byte in enumerate(tape) if byte}


@pytest.mark.parametrize("format, integers", [
    ("mxfp6", (1, -60, -10)), ("mxfp6e3m2", (1, -448, -24))])
def test_golden_bytes_of_6_bits_with_two_slices(format, integers):
    # 32 rows of 64: one tile of 16 rows a slice. Each of two blocks is a beat of 16 codes, then 8
    # pairs of rows of three beats: 25 beats.
    weights, scales = np.zeros((32, 64), int), np.zeros((32, 2), np.uint8)
    # Row 2 of slice 1, block 1, half 0, element 3: code 000001 in bits 18 to 23 of 48 bytes.
    weights[5, 35] = integers[0]
    # Row 3 of slice 1, block 0, half 1, element 15: code 111111, the last bits of the 48 bytes.
    weights[7, 31] = integers[1]
    # Row 3 of slice 0, block 0, half 1, element 1: bits 6 to 11 of the last 12 bytes.
    weights[6, 17] = integers[2]
    scales[5] = 0xA0, 0xA1
    tape = pack(weights, scales, format, 2)
    assert len(tape) == 50 * 32
    code = {"mxfp6": 0b101010, "mxfp6e3m2": 0b101110}[format]
    assert nonzero(tape) == {
        16 + 2: 0xA0, 25 * 32 + 16 + 2: 0xA1,
        # Pair 1 of block 1: its first beat.
        (25 + 1 + 3) * 32 + 16 + 2: 1 << 2,
        # Pair 1 of block 0: its third beat.
        (1 + 3 + 2) * 32 + 16 + 15: 0b111111 << 2,
        (1 + 3 + 2) * 32 + 4: (code & 3) << 6,
        (1 + 3 + 2) * 32 + 5: code >> 2,
    }


def test_golden_bytes_of_int16_with_one_slice():
    # 32 rows of 48: two tiles of 16 rows, each with 2 beats of 16 scales, 4 beats for each row of
    # block 0 and 2 for each row of block 1, which is a half: 98 beats.
    weights, scales = np.zeros((32, 48), int), np.zeros((32, 1), np.uint16)
    weights[3, 21] = -2        # block 0, half 1, element 5
    weights[17, 40] = 0x1234   # tile 1, row 1, block 1, half 0, element 8
    scales[9], scales[17] = 0x3F80, 0xABCD
    tape = pack(weights, scales, "int16", 1)
    assert len(tape) == 2 * 98 * 16
    assert nonzero(tape) == {
        16 + 2: 0x80, 16 + 3: 0x3F,
        98 * 16 + 2: 0xCD, 98 * 16 + 3: 0xAB,
        (2 + 3 * 4 + 2) * 16 + 5: 0xFF, (2 + 3 * 4 + 3) * 16 + 5: 0xFE,
        (98 + 2 + 64 + 2) * 16 + 8: 0x12, (98 + 2 + 64 + 3) * 16 + 8: 0x34,
    }


def test_golden_bytes_of_nvfp4_with_one_slice():
    # 32 rows of 32: a beat with the factor, then two tiles of 2 beats of scales and 8 pairs.
    weights, scales = np.zeros((32, 32), int), np.zeros((32, 2), np.uint8)
    weights[2, 17], weights[3, 17] = 12, -1       # codes 7 and 9
    scales[3], scales[8], scales[16] = (0x38, 0x40), (0, 0x11), (0x01, 0x7E)
    tape = pack(weights, scales, "nvfp4", 1, np.float32(-1.5))
    assert len(tape) == (1 + 2 * 18) * 16
    assert nonzero(tape) == {
        2: 0xC0, 3: 0xBF,
        16 + 6: 0x38, 16 + 7: 0x40, 32 + 1: 0x11,
        19 * 16: 0x01, 19 * 16 + 1: 0x7E,
        (1 + 2 + 2 + 1) * 16 + 1: 0x97,
    }


def test_the_factor_is_in_the_piece_of_every_slice():
    weights, scales = np.zeros((32, 32), int), np.zeros((32, 2), np.uint8)
    tape = pack(weights, scales, "nvfp4", 4, np.float32(1))
    assert len(tape) == (1 + 1 + 4 * 2) * 64
    assert nonzero(tape) == {16 * s + byte: value for s in range(4)
                             for byte, value in ((2, 0x80), (3, 0x3F))}


def test_golden_bytes_of_scales_of_128():
    # 32 rows of 320 on one slice: 10 blocks have 3 scales. A tile is 2 beats of scales and 4 blocks
    # of 8 pairs of 2 beats, the same again, and 2 beats of scales and 2 blocks.
    weights, scales = np.zeros((32, 320), int), np.zeros((32, 3), np.uint16)
    weights[0, 288] = 5        # block 9
    scales[1] = 0x0102, 0x0304, 0x0506
    tape = pack(weights, scales, "int4g128", 1)
    assert len(tape) == 2 * (66 + 66 + 34) * 16
    assert nonzero(tape) == {
        2: 2, 3: 1, 66 * 16 + 2: 4, 66 * 16 + 3: 3, 132 * 16 + 2: 6, 132 * 16 + 3: 5,
        (132 + 2 + 16) * 16: 5,
    }


def test_scales_of_128_of_low_tiles_share_beats():
    # 32 rows of 160 on 16 slices: height 2, and a beat has room for 4 scales of a row.
    weights, scales = np.zeros((32, 160), int), np.zeros((32, 2), np.uint16)
    scales[2], scales[18] = (0x11, 0x22), (0x33, 0x44)        # rows 0 and 1 of slice 2
    tape = pack(weights, scales, "int4g128", 16)
    assert len(tape) == (1 + 5 * 2) * 256
    assert nonzero(tape) == {32: 0x11, 34: 0x33, 36: 0x22, 38: 0x44}


def test_golden_bytes_of_scales_of_rows():
    # 48 rows of 64 on one slice: three tiles of 2 beats of scales and 2 blocks of 16 x 2 beats.
    weights, scales = np.zeros((48, 64), int), np.zeros((48, 1), np.uint16)
    weights[33, 63], scales[33] = 9, 0x3F81
    tape = pack(weights, scales, "int8row", 1)
    assert len(tape) == 3 * 66 * 16
    assert nonzero(tape) == {2 * 66 * 16 + 2: 0x81, 2 * 66 * 16 + 3: 0x3F,
                             (2 * 66 + 2 + 32 + 3) * 16 + 15: 9}


def test_rows_beyond_the_matrix_are_zeros_with_scales_of_zero():
    for format in FORMATS.values():
        weights = np.full((1, 32), format.element.largest)
        scales = np.full((1, format.scales(32)), 1, format.scale.dtype)
        tape = np.frombuffer(pack(weights, scales, format, 4, np.float32(0) if format.factor
                                  else None), np.uint8)
        # Slice 0 alone has bytes.
        assert not tape.reshape(-1, 4, 16)[:, 1:].any()
        again = unpack(tape.tobytes(), (4 * format.step, 32), format, 4)
        assert not again[0][1:].any() and not again[1][1:].any()


def test_values_have_no_scales():
    tape = pack(np.ones((32, 32), int), np.zeros((32, 1), np.uint8), VALUES, 2)
    assert len(tape) == 32 * 32 and set(tape) == {1}


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
    (1056, 64, "int4", (2, 10, 8)),
    (1056, 64, "int8", (2, 9, 8)),
    (576, 32, "int8", (2, 9, 9)),
    (160, 4, "int8", (3, 16, 8)),
    (132, 4, "int8", (3, 16, 1)),
    (272, 8, "int8", (3, 12, 10)),
    (304, 16, "int4", (2, 10, 10)),
    (260, 16, "int8", (2, 10, 7)),
    (49152, 32, "int8", (96, 16, 16)),
    (33, 1, "int8", (3, 16, 1)),
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


@pytest.mark.parametrize("format", FORMATS.values(), ids=lambda format: format.name)
@pytest.mark.parametrize("tiles", [(4, 12, 14), (1, 2, 6), (3, 4, 16)])
def test_a_matrix_may_be_cut_in_any_way(format, tiles):
    rng, slices = np.random.default_rng(1), 2
    factor = np.float32(rng.normal()) if format.factor else None
    shape = ((tiles[0] - 1) * tiles[1] + tiles[2]) * slices - 1, 96
    weights, scales = random_matrix(rng, *shape, format)
    tape = pack(weights, scales, format, slices, factor, tiles)
    assert len(tape) == tape_beats(shape, format, slices, tiles) * 16 * slices
    back, back_scales, _ = unpack(tape, shape, format, slices, tiles)
    assert np.array_equal(back, weights) and back_scales.tobytes() == scales.tobytes()


def test_tiles_that_are_cut_otherwise_hold_other_rows():
    """Two tiles of 4 rows and one of 6, two slices: row 17 is the first one of slice 1 in the last
    tile, which begins behind 16 rows of 2 beats and the scales of two tiles."""
    weights = np.zeros((28, 32), int)
    weights[17, 3] = 7
    tape = pack(weights, np.zeros((28, 1), np.float16), "int8", 2, tiles=(3, 4, 6))
    (place,) = np.flatnonzero(np.frombuffer(tape, np.uint8))
    assert place == (3 + 2 * 2 * 4) * 32 + 16 + 3


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


def test_factors_are_given_where_there_are_some():
    weights, scales = np.zeros((32, 32), int), np.zeros((32, 2), np.uint8)
    with pytest.raises(ValueError, match="a matrix of nvfp4 has a factor"):
        pack(weights, scales, "nvfp4", 1)
    with pytest.raises(ValueError, match="a matrix of mxfp8 has no factor"):
        pack(weights, scales[:, :1], "mxfp8", 1, np.float32(1))


def test_wrong_scales():
    with pytest.raises(TypeError, match="scales of int8 must be float16, not float64"):
        pack(np.zeros((32, 32), int), np.ones((32, 1)), "int8", 1)


def test_wrong_length():
    with pytest.raises(ValueError, match="the tape must have 576 bytes, not 16"):
        unpack(bytes(16), (32, 16), "int8", 1)
