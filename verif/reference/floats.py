"""FP32 arithmetic of the machine: one rounding to nearest even, subnormals flushed to +0.

Every function takes and returns numpy arrays (or scalars), elementwise, and gives the bits that the
hardware gives: no NaN but 0x7FC00000, no zero but +0.
"""

import numpy as np


__all__ = ["NAN", "bits", "from_bits", "canonical", "flush", "add", "multiply", "maximum",
           "minimum", "fixed_to_float", "shift_down", "float_to_fixed", "half_parts",
           "bfloat_parts", "tree_sum"]


#: Bits of every NaN result.
NAN = 0x7FC00000

#: Smallest normal magnitude.
TINY = 2.0**-126


def bits(x):
    """Bits of float32 values, as uint32."""
    return np.asarray(x, np.float32).view(np.uint32)


def from_bits(b):
    """The float32 values whose bits are ``b``."""
    return np.asarray(b).astype(np.uint32).view(np.float32)


def canonical(x):
    """``x`` with every NaN replaced by 0x7FC00000 and every zero by +0."""
    b = bits(x)
    exponent_mantissa = b & np.uint32(0x7FFFFFFF)
    b = np.where(exponent_mantissa == 0, np.uint32(0), b)
    return from_bits(np.where(exponent_mantissa > 0x7F800000, np.uint32(NAN), b))


def flush(x):
    """``x`` with subnormals and zeros replaced by +0, in canonical form: how operands are read."""
    b = bits(x)
    subnormal = (b & np.uint32(0x7F800000)) == 0
    return canonical(from_bits(np.where(subnormal, np.uint32(0), b)))


def round_exact(x):
    """Float64 ``x``, which is exact, rounded once to float32."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        # The rule is about the exact magnitude: nothing below 2^-126 is rounded up to it.
        return canonical(np.where(np.abs(x) < TINY, 0.0, x).astype(np.float32))


def add(a, b):
    """``fl32(a + b)``. Reference for :class:`hw.float.add.FloatAdd`."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        # A sum of floats that is below the normal range is exact, so that it may be flushed late.
        return flush(flush(a) + flush(b))


def multiply(a, b):
    """``fl32(a * b)``. Reference for :class:`hw.float.multiply.FloatMultiply`."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return round_exact(flush(a).astype(np.float64) * flush(b).astype(np.float64))


def maximum(a, b):
    """The larger of both; NaN if one of them is.

    Reference for :class:`hw.float.extreme.FloatExtreme`, and for the op of this name.
    """
    return canonical(np.maximum(flush(a), flush(b)))


def minimum(a, b):
    """The smaller of both; NaN if one of them is."""
    return canonical(np.minimum(flush(a), flush(b)))


def fixed_to_float(value, factor, exponent, nan=False):
    """``fl32(value * factor * 2^exponent)`` of integers, NaN where ``nan``.

    Reference for :class:`hw.float.scale.FixedToFloat`. Raises :class:`OverflowError` if a product
    needs more than 63 bits.
    """
    product = exact_product(np.asarray(value, np.int64), np.asarray(factor, np.int64))
    exponent = np.asarray(exponent, np.int32)
    if np.any(np.abs(product) > 2**53):
        # Rounded to odd, float64 has more bits than float32 by enough that one rounding remains.
        odd = product >> 10 | ((product & 1023) != 0)
        wide = np.abs(product) > 2**53
        product, exponent = np.where(wide, odd, product), exponent + 10 * wide
    with np.errstate(over="ignore", under="ignore"):
        # What leaves the range of float64 is far outside that of float32.
        scaled = np.ldexp(product.astype(np.float64), exponent)
    return round_exact(np.where(nan, np.nan, scaled))


def exact_product(a, b):
    """``a * b`` of int64 arrays; :class:`OverflowError` if that does not fit 63 bits."""
    most = [max(int(x.max()), -int(x.min())) if x.size else 0 for x in (a, b)]
    if most[0] * most[1] >= 2**63 and np.any(np.abs(a.astype(float) * b.astype(float)) >= 2**63):
        raise OverflowError("a product of value and factor exceeds 63 bits")
    return a * b


def shift_down(x, d):
    """``x * 2^-d`` for integers ``d >= 0``: the exponent less ``d``, flushed to +0 below 1."""
    b = bits(flush(x)).astype(np.int64)
    exponent = b >> 23 & 0xFF
    d = np.asarray(d, np.int64)
    shifted = np.where(exponent > d, b - (d << 23), 0)
    return from_bits(np.where(exponent == 255, b, shifted))


def float_to_fixed(x):
    """``saturate32(rne(x * 2^16))`` as int64; NaN gives -2^31.

    Reference for :class:`hw.float.fixed.FloatToFixed`.
    """
    scaled = flush(x).astype(np.float64) * 65536.0
    scaled = np.where(np.isnan(scaled), -np.inf, scaled)
    return np.clip(np.rint(scaled), -2.0**31, 2.0**31 - 1).astype(np.int64)


def half_parts(half):
    """Bits of FP16 values as ``(factor, exponent, nan)``: each value is ``factor * 2^exponent``.

    ``factor`` is signed, of 11 bits and a sign; subnormals are kept. Infinities and NaNs set
    ``nan``.
    """
    half     = np.asarray(half).astype(np.int64)
    biased   = half >> 10 & 31
    mantissa = half & 1023
    factor   = np.where(biased == 0, mantissa, mantissa + 1024)
    return (np.where(half >> 15 & 1, -factor, factor), np.maximum(biased, 1) - 25, biased == 31)


def bfloat_parts(codes):
    """Bits of BF16 values as ``(factor, exponent, nan)``, like :func:`half_parts`.

    ``factor`` has 8 bits and a sign.
    """
    codes    = np.asarray(codes).astype(np.int64)
    biased   = codes >> 7 & 255
    mantissa = codes & 127
    factor   = np.where(biased == 0, mantissa, mantissa + 128)
    return (np.where(codes >> 15 & 1, -factor, factor), np.maximum(biased, 1) - 134,
            biased == 255)


def tree_sum(x):
    """Sum over the last axis, a power of two long, by a binary tree over adjacent elements."""
    x = flush(x)
    if x.shape[-1] & (x.shape[-1] - 1):
        raise ValueError(f"the last axis must be a power of two long, not {x.shape[-1]}")
    while x.shape[-1] > 1:
        x = add(x[..., 0::2], x[..., 1::2])
    return x[..., 0]
