"""Choice of a token."""

import numpy as np

from verif.reference.floats import add, bits, from_bits, multiply
from verif.reference.functions import log2
from verif.reference.threefry import threefry


__all__ = ["pick", "noise"]


#: -ln(2)
MINUS_LN_2 = np.float32(-0.6931472)


def pick(logits, imm, noise=None):
    """Index of the largest ``logits * imm + noise`` in the last axis, int64.

    Reference for op ``pick`` of :class:`hw.vector.unit.VectorUnit`. The lowest index wins ties; NaN
    is lowest of all.
    """
    values = multiply(logits, np.float32(imm))
    if noise is not None:
        values = add(values, noise)
    b = bits(values).astype(np.int64)
    # Order of integers that is the order of values; there is no -0 among them.
    order = np.where(b >> 31 == 1, 0xFFFFFFFF - b, b | 1 << 31)
    return np.argmax(np.where(np.isnan(values), 0, order), axis=-1)


def noise(indices, position, seed):
    """Gumbel noise of elements ``indices`` at ``position``, float32.

    A counter-based generator makes two words for each pair of elements; ``seed`` has 64 bits, the
    lower half first.
    """
    indices = np.asarray(indices, np.int64)
    words = threefry((seed & 0xFFFFFFFF, seed >> 32), (indices >> 1, position))
    word = np.where(indices & 1, words[1], words[0]).astype(np.int64)
    # The middle of one of 2^23 intervals of 0..1: 1.m - (1 - 2^-24), which is exact.
    u = add(from_bits(word >> 9 | 0x3F800000), np.float32(2**-24 - 1))
    w = multiply(log2(u), MINUS_LN_2)
    return multiply(log2(w), MINUS_LN_2)
