"""Division by one number for each head."""

import numpy as np

from verif.reference.floats import multiply
from verif.reference.functions import reciprocal


__all__ = ["divide"]


#: Elements of a block.
BLOCK = 32


def divide(x, l, head):
    """``x * reciprocal(l)``: each ``head`` blocks of the last axis by the next element of ``l``.

    Reference for op ``divide`` of :class:`hw.vector.unit.VectorUnit`. Float32 arrays; the last
    axis of ``l`` has one element for each head, of which the last may have fewer blocks.
    """
    x = np.asarray(x, np.float32)
    r = np.repeat(reciprocal(l), head * BLOCK, axis=-1)[..., :x.shape[-1]]
    return multiply(x, r)
