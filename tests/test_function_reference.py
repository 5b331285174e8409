"""The scalar functions against float64, and their tables against the fit."""

from pathlib import Path

import numpy as np
import pytest

from hw.float import fitting, tables
from verif.reference.floats import bits, from_bits
from verif.reference.functions import exp2, exp2_16, function, log2, passed, reciprocal, rsqrt


#: Every mantissa, and every 16th.
ALL  = np.arange(1 << 23, dtype=np.int64)
SOME = ALL[::16]


def octave(exponent, mantissas=SOME):
    """The floats from ``2^exponent`` to its double."""
    return from_bits(mantissas | exponent + 127 << 23)


def relative_error(results, exact):
    return np.abs(results / exact - 1).max()


def test_tables_are_those_of_the_fit():
    assert Path(tables.__file__).read_text() == fitting.source()


@pytest.mark.parametrize("name", ["EXP2", "LOG2", "RECIPROCAL", "RSQRT"])
def test_tables_fit_the_hardware(name):
    c0, c1, c2 = np.array(getattr(tables, name)).T
    assert len(c0) == 128
    assert c0.min() >= 0 and c0.max() < 2**31
    assert np.abs(c1).max() < 2**20 and np.abs(c2).max() < 2**13
    # The slope changes steadily, so that its ends are its extremes.
    slopes = [c1 + (c2 * s >> 17) >> 3 for s in (-2**17, 2**17 - 1)]
    assert np.abs(slopes).max() < 2**17


def test_reciprocal_of_every_mantissa():
    x = octave(0, ALL)
    assert relative_error(reciprocal(x), 1 / x.astype(np.float64)) < 1.2e-7


@pytest.mark.parametrize("exponent", [-125, -2, -1, 0, 1, 100])
def test_rsqrt(exponent):
    x = octave(exponent)
    assert relative_error(rsqrt(x), x.astype(np.float64)**-0.5) < 1.2e-7


@pytest.mark.parametrize("low, high", [(-126, 127.99), (-1, 1), (-1e-3, 1e-3)])
def test_exp2(low, high):
    x = np.linspace(low, high, 500_000).astype(np.float32)
    assert relative_error(exp2(x), np.exp2(x.astype(np.float64))) < 1.2e-7


@pytest.mark.parametrize("exponent", [-126, -24, -2, -1, 0, 1, 2, 127])
def test_log2(exponent):
    x = octave(exponent)
    exact = np.log2(x.astype(np.float64))
    half_lsb = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64) / 2
    assert (np.abs(log2(x) - exact) - half_lsb).max() < 6e-8


def test_log2_beside_one_keeps_its_sign_and_a_relative_error():
    steps = np.arange(1, 1 << 16, dtype=np.int64)
    for x in (from_bits(0x3F800000 - steps), from_bits(0x3F800000 + steps)):
        assert relative_error(log2(x), np.log2(x.astype(np.float64))) < 8e-3
    assert bits(log2(np.float32(1))) == 0
    assert log2(from_bits(0x3F7FFFFF)) < 0


def test_results_that_are_exact():
    n = np.arange(-126, 128)
    powers = np.exp2(n.astype(np.float64)).astype(np.float32)
    assert np.array_equal(exp2(n.astype(np.float32)), powers)
    assert np.array_equal(log2(powers), n.astype(np.float32))
    assert np.array_equal(reciprocal(powers[:-1]), powers[:-1][::-1])
    assert bits(reciprocal(powers[-1])) == 0, "a subnormal"
    assert np.array_equal(rsqrt(powers[::2]), np.exp2(-n[::2] / 2).astype(np.float32))


INF = np.inf


@pytest.mark.parametrize("op, x, wanted", [
    ("EXP2", 128, INF), ("EXP2", INF, INF), ("EXP2", -126, 2.0**-126), ("EXP2", -126.00001, 0),
    ("EXP2", -1e30, 0), ("EXP2", -INF, 0), ("EXP2", 0, 1), ("EXP2", -1e-40, 1), ("EXP2", -1e-30, 1),
    ("LOG2", 0, -INF), ("LOG2", -0.0, -INF), ("LOG2", 1e-40, -INF), ("LOG2", INF, INF),
    ("LOG2", -1, np.nan), ("LOG2", -INF, np.nan),
    ("RECIPROCAL", 0, INF), ("RECIPROCAL", -0.0, INF), ("RECIPROCAL", -1e-40, INF),
    ("RECIPROCAL", INF, 0), ("RECIPROCAL", -INF, 0), ("RECIPROCAL", -4, -0.25),
    ("RSQRT", 0, INF), ("RSQRT", -0.0, INF), ("RSQRT", INF, 0), ("RSQRT", -1, np.nan),
    ("RSQRT", -INF, np.nan), ("RSQRT", -1e-40, INF),
    ("PASS", -1.5, -1.5), ("PASS", -1e-40, 0), ("PASS", -INF, -INF), ("PASS", INF, INF),
    *((op, np.nan, np.nan) for op in ("EXP2", "LOG2", "RECIPROCAL", "RSQRT", "PASS")),
])
def test_special_operands(op, x, wanted):
    assert bits(function(op, np.float32(x))) == bits(np.float32(wanted))


def test_pass_changes_no_normal_number():
    x = from_bits(np.random.default_rng(9).integers(0x00800000, 0x7F800000, 10000))
    assert np.array_equal(passed(-x), -x)


def test_exp2_16_is_monotone_and_in_range():
    f = np.arange(65536)
    y = exp2_16(f)
    assert y[0] == 65536 and y[-1] == 131071
    assert (np.diff(y) >= 0).all()
    assert relative_error(y / 65536, np.exp2(f / 65536)) < 1.2e-5
