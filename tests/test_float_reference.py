"""The FP32 reference against the arithmetic of the host, and against exact rationals."""

from fractions import Fraction

import numpy as np
import pytest

from verif.floats import CORNERS, operand_pairs, rounded
from verif.reference import floats
from verif.reference.floats import NAN, bits, from_bits


PAIRS = operand_pairs(np.random.default_rng(7), 1_000_000)


def operands():
    return [from_bits(b) for b in PAIRS]


def settled(x):
    """Host results by the rules of the machine: subnormals and zeros to +0, one NaN."""
    b = bits(x).copy()
    b[b & 0x7F800000 == 0] = 0
    b[np.isnan(x)] = NAN
    return b


@pytest.mark.parametrize("name, operation", [("add", np.add), ("multiply", np.multiply)])
def test_results_are_those_of_the_host(name, operation):
    a, b = (from_bits(settled(x)) for x in operands())
    with np.errstate(all="ignore"):
        wanted = operation(a, b)
        exact  = operation(a.astype(np.float64), b.astype(np.float64))
    # The host rounds what lies just below the smallest normal number up to it.
    wanted = settled(np.where(np.abs(exact) < 2.0**-126, np.float32(0), wanted))
    assert np.array_equal(bits(getattr(floats, name)(*operands())), wanted)


def test_product_just_below_the_normal_range_is_zero():
    a, b = from_bits(0x00800001), from_bits(0x3F7FFFFE)
    assert Fraction(float(a)) * Fraction(float(b)) < Fraction(1, 2**126)
    assert a * b == np.float32(2.0**-126), "the host rounds up"
    assert bits(floats.multiply(a, b)) == 0
    assert bits(floats.fixed_to_float(2**25 - 1, 1, -151)) == 0
    assert bits(floats.fixed_to_float(2**25 - 1, 1, -150)) == 0x01000000


def test_fixed_to_float_rounds_once():
    rng = np.random.default_rng(8)
    value    = rng.integers(-2**32, 2**32, 3000) >> rng.integers(0, 32, 3000)
    factor   = rng.integers(-2**11, 2**11, 3000)
    exponent = rng.integers(-190, 120, 3000)
    exponent[:1000] = rng.integers(-166, -120, 1000)
    check_fixed(value, factor, exponent)


def check_fixed(value, factor, exponent):
    results = bits(floats.fixed_to_float(value, factor, exponent))
    for v, f, e, result in zip(*(x.tolist() for x in (value, factor, exponent, results))):
        assert result == rounded(Fraction(v * f) * Fraction(2)**e), (v, f, e)


def test_fixed_to_float_rounds_long_products_once():
    rng = np.random.default_rng(9)
    value = rng.integers(-2**59, 2**59, 3000) >> rng.integers(0, 20, 3000)
    check_fixed(value, rng.choice([-15, -8, 1, 3, 15], 3000), rng.integers(-200, 90, 3000))
    # A tie, or the least that it can be away from one.
    tie = 2 * rng.integers(2**23, 2**24, 3000) + 1 << rng.integers(20, 38, 3000)
    check_fixed(tie + rng.integers(-1, 2, 3000), rng.choice([-1, 1], 3000), np.full(3000, -60))


def test_fixed_to_float_refuses_what_it_cannot_hold():
    check_fixed(np.array([2**62]), np.array([1]), np.array([0]))
    with pytest.raises(OverflowError, match="exceeds 63 bits"):
        floats.fixed_to_float(2**40, [2**10, 2**23], 0)


def test_float_to_fixed_rounds_to_even_and_saturates():
    x = np.float32([0.5, 1.5, 2.5, -0.5, -1.5, 3.25]) / np.float32(65536)
    assert floats.float_to_fixed(x).tolist() == [0, 2, 2, 0, -2, 3]
    extremes = np.float32([1e9, -1e9, np.inf, -np.inf, np.nan, 1e-39, 32767.998])
    assert floats.float_to_fixed(extremes).tolist() == [
        2**31 - 1, -2**31, 2**31 - 1, -2**31, -2**31, 0, 2**31 - 128]


def test_shift_down_is_a_product_with_a_power_of_two():
    x = from_bits(np.repeat(CORNERS, 256))
    d = np.tile(np.arange(256), len(CORNERS))
    with np.errstate(all="ignore"):
        exact  = floats.flush(x).astype(np.float64) * 2.0**-d
        wanted = settled(np.where(np.abs(exact) < 2.0**-126, 0.0, exact).astype(np.float32))
    assert np.array_equal(bits(floats.shift_down(x, d)), wanted)


def test_half_parts_are_those_of_every_half():
    halves = np.arange(65536, dtype=np.uint16)
    factor, exponent, nan = floats.half_parts(halves)
    values = halves.view(np.float16).astype(np.float64)
    assert np.array_equal(nan, ~np.isfinite(values))
    assert np.array_equal(np.ldexp(factor.astype(float), exponent)[~nan], values[~nan])
    assert np.abs(factor).max() == 2047


def test_bfloat_parts_are_those_of_every_bfloat():
    codes = np.arange(65536, dtype=np.uint16)
    factor, exponent, nan = floats.bfloat_parts(codes)
    values = (codes.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(invalid="ignore"):
        values = values.astype(np.float64)
    assert np.array_equal(nan, ~np.isfinite(values))
    assert np.array_equal(np.ldexp(factor.astype(float), exponent)[~nan], values[~nan])
    assert np.abs(factor).max() == 255


def test_tree_sum_adds_neighbours_first():
    x = np.float32([1e8, 1, -1e8, 1])
    assert floats.tree_sum(x) == np.float32(np.float32(1e8 + 1) + np.float32(1 - 1e8))
    assert floats.tree_sum(np.ones((3, 32), np.float32)).tolist() == [32, 32, 32]
    with pytest.raises(ValueError, match="power of two long, not 3"):
        floats.tree_sum(np.ones(3))


def test_conversions_are_those_of_the_host():
    """A million integers of up to 63 bits to FP32, and as many FP32 numbers to fixed point."""
    rng = np.random.default_rng(9)
    value = rng.integers(-2**62, 2**62, 1_000_000) >> rng.integers(0, 62, 1_000_000)
    assert np.array_equal(bits(floats.fixed_to_float(value, 1, 0)), bits(value.astype(np.float32)))
    x = operands()[0]
    with np.errstate(all="ignore"):
        exact = np.where(np.abs(x) < 2.0**-126, 0, x).astype(np.float64) * 65536
    wanted = np.clip(np.rint(np.nan_to_num(exact, nan=-np.inf)), -2.0**31, 2.0**31 - 1)
    assert np.array_equal(floats.float_to_fixed(x), wanted.astype(np.int64))
