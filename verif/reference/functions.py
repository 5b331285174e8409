"""Scalar functions of the machine, bit by bit: piecewise quadratics with integer coefficients.

An operand is split into a 25-bit argument, whose upper 7 bits choose a segment and whose lower 18
are ``s``, and an exponent. The polynomial's value, an integer with 30 fraction bits, is rounded to
FP32 once.
"""

import numpy as np

from hw.float import tables
from verif.reference.floats import bits, fixed_to_float, flush


__all__ = ["passed", "exp2", "log2", "reciprocal", "rsqrt", "function", "exp2_16"]


#: Exponent that makes any value but zero overflow.
HUGE = 1000


def polynomial(table, argument):
    """Value of ``table`` at a 25-bit argument, an integer with 30 fraction bits."""
    c0, c1, c2 = np.asarray(table, np.int64).T[:, argument >> 18]
    s = (argument & 0x3FFFF) - 0x20000
    slope = c1 + (c2 * s >> 17) >> 3
    return c0 + (slope * s >> 11)


def parts(x):
    """``x`` as ``(negative, biased exponent, 23-bit mantissa)``."""
    b = bits(flush(x)).astype(np.int64)
    return b >> 31 == 1, b >> 23 & 255, b & 0x7FFFFF


def passed(x):
    """``x``, with subnormals flushed. Reference for op ``PASS`` of
    :class:`hw.float.function.FunctionUnit`."""
    return flush(x)


def exp2(x):
    """``2^x``. Reference for op ``EXP2`` of :class:`hw.float.function.FunctionUnit`.

    The magnitude of ``x`` is cut to 25 fraction bits. Relative error below 1.2e-7.
    """
    negative, biased, mantissa = parts(x)
    magnitude = (mantissa + 0x800000 << 8) >> np.clip(133 - biased, 0, 63)
    fixed = np.where(negative, -magnitude, magnitude)
    value = polynomial(tables.EXP2, fixed & 0x1FFFFFF)
    exponent = (fixed >> 25) - 30
    big = biased > 133
    value = np.where(big, ~negative, value)
    exponent = np.where(big, HUGE, exponent)
    return fixed_to_float(value, 1, exponent, np.isnan(x))


def log2(x):
    """``log2(x)``. Reference for op ``LOG2`` of :class:`hw.float.function.FunctionUnit`.

    Absolute error below 5e-8 and half an lsb of the result; next to 1, where the polynomial is
    anchored, below 2^-29. Zero only for 1, and negative for all below 1.
    """
    negative, biased, mantissa = parts(x)
    value = (biased - 127 << 30) + polynomial(tables.LOG2, mantissa << 2)
    value = np.where(biased == 0, -1, np.where(biased == 255, 1, value))
    exponent = np.where((biased == 0) | (biased == 255), HUGE, -30)
    return fixed_to_float(value, 1, exponent, np.isnan(x) | negative)


def reciprocal(x):
    """``1 / x``. Reference for op ``RECIPROCAL`` of :class:`hw.float.function.FunctionUnit`.

    Relative error below 1.2e-7; exact for powers of two. The reciprocal of zero is +infinity.
    """
    negative, biased, mantissa = parts(x)
    value = polynomial(tables.RECIPROCAL, mantissa << 2)
    value = np.where(biased == 0, 1, np.where(biased == 255, 0, value))
    exponent = np.where(biased == 0, HUGE, 127 - biased - 31)
    return fixed_to_float(np.where(negative, -value, value), 1, exponent, np.isnan(x))


def rsqrt(x):
    """``1 / sqrt(x)``. Reference for op ``RSQRT`` of :class:`hw.float.function.FunctionUnit`.

    Relative error below 1.2e-7; exact for powers of four.
    """
    negative, biased, mantissa = parts(x)
    odd   = biased + 1 & 1
    value = polynomial(tables.RSQRT, odd << 24 | mantissa << 1)
    value = np.where(biased == 0, 1, np.where(biased == 255, 0, value))
    exponent = np.where(biased == 0, HUGE, -(biased - 127 >> 1) - 31)
    return fixed_to_float(value, 1, exponent, np.isnan(x) | negative)


FUNCTIONS = {"PASS": passed, "EXP2": exp2, "LOG2": log2, "RECIPROCAL": reciprocal, "RSQRT": rsqrt}


def function(op, x):
    """The result of ``op``, the name of a ``Function``."""
    return FUNCTIONS[op](x)


def exp2_16(f):
    """``2^(f / 65536)`` with 16 fraction bits, as int64 in 65536..131071, for f in 0..65535.

    Monotone; relative error below 1.2e-5. Reference for :class:`hw.float.exp2.Exp2Fixed`.
    """
    f = np.asarray(f, np.int64)
    c0, c1, c2 = np.asarray(tables.EXP2_FIXED, np.int64).T[:, f >> 12]
    s = f & 0xFFF
    slope = c1 + (c2 * s >> 12)
    return c0 + (slope * s >> 12) >> 4
