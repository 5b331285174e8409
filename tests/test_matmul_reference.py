"""The reference of the matrix product, against float64 and against single cases."""

from fractions import Fraction

import numpy as np
import pytest

from hw.formats import ACTIVATIONS, FORMATS, NAN, VALUES, ScaleKind
from verif.floats import rounded
from verif.formats import random_activations, random_elements, random_scales
from verif.reference.floats import NAN as NAN_BITS
from verif.reference.floats import add, from_bits, multiply
from verif.reference.matmul import matmul


def operands(rng, rows, size, vectors):
    weights = rng.integers(-128, 128, (rows, size))
    blocks = -(-size // 32)
    scales = (rng.normal(size=(rows, blocks)) * 2.0**-8).astype(np.float16)
    act = rng.integers(-127, 128, (*vectors, size))
    codes = rng.integers(118, 136, (*vectors, blocks))
    return weights, scales, act, codes


def exact(weights, scales, act, codes):
    """Terms of each block in float64, [..., N, blocks]: every one is exact."""
    pad = -weights.shape[1] % 32
    w = np.pad(weights, ((0, 0), (0, pad))).reshape(len(weights), -1, 32)
    a = np.pad(act, (*[(0, 0)] * (act.ndim - 1), (0, pad)))
    a = a.reshape(*act.shape[:-1], 1, -1, 32)
    lsb = np.ldexp(1.0, codes.astype(int) - 133)[..., None, :]
    return (w * a).sum(-1) * scales.astype(np.float64) * lsb


@pytest.mark.parametrize("size", [16, 32, 112, 416])
@pytest.mark.parametrize("vectors", [(), (3,), (2, 5)], ids=str)
def test_agrees_with_float64(size, vectors):
    rng = np.random.default_rng(size)
    arguments = operands(rng, 40, size, vectors)
    y, terms = matmul(*arguments), exact(*arguments)
    assert y.shape == (*vectors, 40) and y.dtype == np.float32
    # Each term and each sum is rounded once.
    bound = 2.0**-24 * np.abs(terms).sum(-1) * (terms.shape[-1] + 1)
    assert (np.abs(y - terms.sum(-1)) <= bound).all()


def test_one_block_is_rounded_once():
    arguments = operands(np.random.default_rng(1), 64, 32, (4,))
    assert np.array_equal(matmul(*arguments), exact(*arguments)[..., 0].astype(np.float32))


def test_blocks_are_added_in_ascending_order():
    weights = np.zeros((1, 96), int)
    weights[0, ::32] = 1
    act = np.zeros(96, int)
    act[::32] = 64, 64, -64
    # 1 + 2^60 - 2^60: the 1 is lost in the second block.
    codes, scales = np.array([127, 187, 187]), np.ones((1, 3), np.float16)
    assert matmul(weights, scales, act, codes) == 0
    assert matmul(weights[:, ::-1], scales, act[::-1], codes[::-1]) == 1


def test_scales_of_keys_are_powers_of_two():
    rng = np.random.default_rng(2)
    weights, _, act, codes = operands(rng, 8, 64, ())
    keys = rng.integers(100, 150, (8, 2)).astype(np.uint8)
    scales = np.ldexp(1.0, keys.astype(int) - 133)
    terms = exact(weights, scales, act, codes).astype(np.float32)
    assert np.array_equal(matmul(weights, keys, act, codes, "mxint8"),
                          add(terms[..., 0], terms[..., 1]))


def test_values_have_no_scale():
    weights, scales, act, codes = operands(np.random.default_rng(3), 8, 32, ())
    keys = np.full((8, 1), 127, np.uint8)
    assert np.array_equal(matmul(weights, scales, act, codes, VALUES),
                          matmul(weights, keys, act, codes, "mxint8"))


@pytest.mark.parametrize("place", ["scale", "infinite scale", "code"])
def test_nan_spreads(place):
    weights, scales, act, codes = operands(np.random.default_rng(4), 2, 64, ())
    if place == "code":
        codes[1] = 255
    else:
        scales[0, 1] = np.nan if place == "scale" else np.inf
    y = matmul(weights, scales, act, codes)
    assert y.view(np.uint32)[0] == 0x7FC00000
    assert np.isnan(y[1]) == (place == "code")


def test_old_sums_are_shifted():
    weights, scales, act, codes = operands(np.random.default_rng(5), 8, 32, (2,))
    old = np.linspace(1, 9, 16, dtype=np.float32).reshape(2, 8)
    shift = np.array([3, 200])
    wanted = add(np.stack([old[0] / 8, np.zeros(8)]), matmul(weights, scales, act, codes))
    assert np.array_equal(matmul(weights, scales, act, codes, old=old, shift=shift), wanted)


def test_many_rows_are_cut_into_parts(monkeypatch):
    arguments = operands(np.random.default_rng(6), 50, 64, (3,))
    whole = matmul(*arguments)
    monkeypatch.setattr("verif.reference.matmul.TERMS", 7 * 2 * 3)
    assert np.array_equal(matmul(*arguments), whole)


def test_wrong_operands():
    with pytest.raises(ValueError, match="rows of 32 elements need activations of 32, 1 codes "
                       "and 1 scales, not 64, 2 and 1"):
        matmul(np.zeros((2, 32), int), np.ones((2, 1), np.float16), np.zeros(64), np.zeros(2))
    with pytest.raises(ValueError, match="format must be one of int8, .*, not 'fp9'"):
        matmul(np.zeros((2, 32), int), np.ones((2, 1), np.float16), np.zeros(32), np.zeros(1),
               "fp9")


def scale_value(format, scale):
    """A scale as a rational; None if it is no number."""
    kind = format.scale
    if kind == ScaleKind.E8M0:
        return None if scale == 255 else Fraction(2)**(int(scale) - 127)
    if kind == ScaleKind.E4M3:
        exponent, mantissa = scale >> 3 & 15, Fraction(int(scale & 7), 8)
        if scale & 127 == 127:
            return None
        return (1 + mantissa) * Fraction(2)**(int(exponent) - 7) if exponent else mantissa / 64
    value = float(scale) if kind == ScaleKind.FP16 else float(
        np.uint32(int(scale) << 16).view(np.float32))
    return Fraction(value) if np.isfinite(value) else None


def exact_bits(weights, scales, act, codes, format, activation, factor):
    """The result of one row and one vector, with a rational for each block."""
    total = None
    unit = Fraction(2)**(format.element.lsb + ACTIVATIONS[activation].lsb - 127)
    each = format.group or len(weights)
    for first in range(0, len(weights), 32):
        term, code = Fraction(0), int(codes[first // 32])
        for k in range(first, min(first + 32, len(weights))):
            scale = scale_value(format, scales[k // each])
            if scale is None or weights[k] == NAN or code == 255:
                term = None
                break
            term += int(weights[k]) * int(act[k]) * scale
        term = from_bits(NAN_BITS if term is None else rounded(term * unit * Fraction(2)**code))
        total = term if total is None else add(total, term)
    return total if factor is None else multiply(total, factor)


def check_exactly(weights, scales, act, codes, format, activation, factor=None):
    found = matmul(weights, scales, act, codes, format.name, factor=factor, activation=activation)
    wanted = [[exact_bits(w, s, a, c, format, activation, factor)
               for w, s in zip(weights, scales)] for a, c in zip(act, codes)]
    assert np.array_equal(found.view(np.uint32), np.array(wanted, np.float32).view(np.uint32))
    return found


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", FORMATS)
def test_every_pair_of_formats_is_exact(name, activation):
    format, rng = FORMATS[name], np.random.default_rng(7)
    # Rows of 4 and 6 bits are whole blocks.
    for size in (32, 192 if format.whole else 176, 320):
        weights = random_elements(rng, format.element, (8, size), 0.2)
        scales = random_scales(rng, format.scale, (8, format.scales(size)), 0.1)
        act = random_activations(rng, ACTIVATIONS[activation], (4, size))
        codes = rng.integers(100, 140, (4, -(-size // 32)))
        codes[:, -1] = 0, 127, 254, 255
        factor = np.float32(rng.normal()) if format.factor else None
        found = check_exactly(weights, scales, act, codes, format, activation, factor)
        assert np.isfinite(found).any()


def one(format):
    """A scale of 1."""
    return {ScaleKind.FP16: np.float16(1), ScaleKind.BF16: np.uint16(0x3F80),
            ScaleKind.E8M0: np.uint8(127), ScaleKind.E4M3: np.uint8(0x38)}[format.scale]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", FORMATS)
def test_the_largest_blocks_and_what_cancels_in_them(name, activation):
    format, multiplicand = FORMATS[name], ACTIVATIONS[activation]
    low, high = int(format.element.numbers[0]), format.element.largest
    tiny = int(format.element.numbers[format.element.numbers > 0][0])
    weights = np.full((6, 32), high)
    weights[1] = low
    weights[2, ::2] = low                # all but cancels, or does
    weights[3, 16:] = -high              # cancels across the halves
    weights[4, 16:] = -high
    weights[4, 31] = tiny
    weights[5] = tiny
    act = np.full((3, 32), multiplicand.largest)
    act[1] *= -1
    act[2, 0] = 1
    scales = np.full((6, format.scales(32)), one(format))
    for code in (0, 60, 127, 254):
        check_exactly(weights, scales, act, np.full((3, 1), code), format, activation)


def test_subnormal_scales_are_numbers():
    for name, scale in (("int8", np.uint16(1).view(np.float16)), ("int8row", np.uint16(1)),
                        ("nvfp4", np.uint8(1)), ("mxfp8", np.uint8(0))):
        format = FORMATS[name]
        weights = np.full((1, 32), format.element.largest)
        scales = np.full((1, format.scales(32)), scale)
        found = check_exactly(weights, scales, np.full((1, 32), 127), np.full((1, 1), 250), format,
                              "int8")
        assert found > 0


def test_signs_of_e4m3_scales_are_ignored():
    format = FORMATS["nvfp4"]
    weights, act = np.full((1, 32), 12), np.full((1, 32), 64)
    for codes in ([0x38, 0xB8], [0xB8, 0x38]):
        found = check_exactly(weights, np.uint8([codes]), act, np.full((1, 1), 127), format, "int8")
        assert found == 32 * 6


def test_halves_of_a_block_are_rounded_together():
    format, rng = FORMATS["nvfp4"], np.random.default_rng(8)
    weights = random_elements(rng, format.element, (20, 32), 0)
    scales = rng.integers(0x38, 0x48, (20, 2))
    act = random_activations(rng, ACTIVATIONS["e4m3"], (5, 32), 0)
    codes = np.full((5, 1), 127)
    whole = check_exactly(weights, scales, act, codes, format, "e4m3")
    first, second = (matmul(np.where(np.arange(32) // 16 == half, weights, 0), scales, act, codes,
                            "nvfp4", activation="e4m3") for half in (0, 1))
    assert (add(first, second) != whole).any()


def test_activations_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match="an activation is not a number"):
        matmul(np.zeros((2, 32), int), np.ones((2, 1), np.float16), np.full(32, NAN), np.zeros(1),
               activation="e4m3")
