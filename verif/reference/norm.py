"""RMS norm."""

import numpy as np

from verif.reference.floats import add, multiply, tree_sum
from verif.reference.functions import rsqrt


__all__ = ["norm"]


#: Elements that are summed by a tree.
BLOCK = 32


def norm(x, gain, imm):
    """``x / sqrt(sum(x^2) + imm) * gain`` over the last axis, float32, as long as whole blocks.

    Reference for op ``norm`` of :class:`hw.vector.unit.VectorUnit`. ``gain`` contains the root of
    the vector's length, and ``imm`` is the length times epsilon. Inside a block of 32 elements the
    squares are summed by a tree; blocks are added in ascending order, then ``imm``.
    """
    x = np.asarray(x, np.float32)
    if x.shape[-1] % BLOCK or not x.shape[-1]:
        raise ValueError(f"a vector must be whole blocks of {BLOCK}, not {x.shape[-1]} elements")
    sums = tree_sum(multiply(x, x).reshape(*x.shape[:-1], -1, BLOCK))
    total = sums[..., 0]
    for block in range(1, sums.shape[-1]):
        total = add(total, sums[..., block])
    r = rsqrt(add(total, np.float32(imm)))
    return multiply(multiply(x, r[..., None]), gain)
