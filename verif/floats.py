"""Operands for tests of FP32 units: corners, their pairs, and random values that meet often."""

from fractions import Fraction

import numpy as np

from verif.reference.floats import bits


__all__ = ["CORNERS", "random_floats", "operand_pairs", "rounded", "wrong_results"]


def corners():
    magnitudes = [
        0, 1, 0x7FFFFF,                                  # zero, subnormals
        0x800000, 0x800001, 0xFFFFFF, 0x1000000,         # smallest normals
        0x33800000, 0x34000000, 0x34000001, 0x3F000000,  # 2^-24, 2^-23, 1/2
        0x3F7FFFFE, 0x3F7FFFFF, 0x3F800000, 0x3F800001,  # around 1
        0x3FC00000, 0x40000000, 0x4B000001, 0x4B7FFFFF,  # 1.5, 2, integers of 24 bits
        0x7E800000, 0x7F000000, 0x7F7FFFFE, 0x7F7FFFFF,  # largest
        0x7F800000, 0x7F800001, 0x7FC00000, 0x7FFFFFFF,  # infinity, NaNs
    ]
    return np.array(magnitudes + [m | 1 << 31 for m in magnitudes], np.uint32)


#: Bits of values at which something changes.
CORNERS = corners()


def random_floats(rng, count):
    """Bits of ``count`` values: any bits, moderate ones, and short significands by turns."""
    anything = rng.integers(0, 1 << 32, count, np.uint32)
    moderate = bits((rng.standard_normal(count) * 2.0**rng.integers(-12, 12, count))
                    .astype(np.float32))
    short    = moderate & np.uint32(0xFFFFE000)
    return np.choose(rng.integers(0, 3, count), [anything, moderate, short]).astype(np.uint32)


def operand_pairs(rng, count):
    """Bits of all pairs of corners, then of ``count`` random pairs, many of them nearly equal."""
    a, b = (array.ravel() for array in np.meshgrid(CORNERS, CORNERS))
    x, y = random_floats(rng, count), random_floats(rng, count)
    # Neighbours of the first operand, with the exponent moved a little, and either sign.
    near = (x.astype(np.int64) + rng.integers(-3, 4, count)
            + (rng.integers(-2, 3, count) << 23) + (rng.integers(0, 2, count) << 31))
    y = np.where(rng.random(count) < 0.4, near.astype(np.uint32), y)
    return np.concatenate([a, x]), np.concatenate([b, y])


def rounded(exact):
    """Bits of a rational number rounded to nearest even, flushed and limited."""
    magnitude = abs(exact)
    if magnitude < Fraction(1, 2**126):
        return 0
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if Fraction(2)**exponent > magnitude:
        exponent -= 1
    # round() of a rational is to nearest even.
    significand = round(magnitude / Fraction(2)**(exponent - 23))
    if significand == 2**24:
        significand, exponent = 2**23, exponent + 1
    sign = (exact < 0) << 31
    return sign | (0x7F800000 if exponent > 127 else exponent + 127 << 23 | significand - 2**23)


def wrong_results(operands, results, wanted):
    """A sentence about the rows in which 32-bit ``results`` differ; empty if there is none."""
    rows = [" ".join(f"{int(bits):08x}" for bits in row)
            for row in zip(*operands, results, wanted) if int(row[-1]) != int(row[-2])]
    if not rows:
        return ""
    return f"{len(rows)} of {len(wanted)} wrong (operands, result, wanted): {'; '.join(rows[:8])}"
