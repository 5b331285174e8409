"""Quantisation to INT8 blocks with a power-of-two scale."""

import numpy as np

from verif.reference.floats import bits, flush


__all__ = ["quantise"]


#: Elements of a block, which has one code.
BLOCK = 32


def quantise(x, group=1):
    """Float32 ``x`` as ``(int8 elements, uint8 codes of blocks)``.

    Reference for :class:`hw.vector.quantiser.Quantiser`. The last axis is whole blocks of 32. All
    blocks of a group have the code of the group's largest magnitude: its biased exponent, 0 if it
    flushes to zero and 255 if any element is infinite or NaN; with either, all elements are 0.
    A value is ``q * 2^(code - 127 - 6)``, rounded to nearest even and clipped to -127..127. The
    last group may have fewer blocks.
    """
    x = flush(x)
    if x.shape[-1] % BLOCK:
        raise ValueError(f"a vector must be whole blocks of {BLOCK}, not {x.shape[-1]} elements")
    exponents = (bits(x) >> 23 & 0xFF).astype(np.int64)
    blocks = exponents.reshape(*x.shape[:-1], -1, BLOCK).max(axis=-1)
    starts = np.arange(0, blocks.shape[-1], group)
    codes = np.maximum.reduceat(blocks, starts, axis=-1)
    codes = np.repeat(codes, group, axis=-1)[..., :blocks.shape[-1]]

    scale = np.repeat(codes, BLOCK, axis=-1)
    empty = (scale == 0) | (scale == 255)
    # Exact in float64, whatever the exponents.
    scaled = np.ldexp(np.where(empty, 0, x).astype(np.float64), 133 - scale)
    q = np.clip(np.rint(scaled), -127, 127)
    return q.astype(np.int8), codes.astype(np.uint8)
