"""Rotary position embedding."""

import numpy as np

from verif.reference.floats import add, multiply


__all__ = ["rope"]


def rope(x, table):
    """Pairs of adjacent elements of the last axis, rotated by pairs (cos, sin) of ``table``.

    Reference for op ``rope`` of :class:`hw.vector.unit.VectorUnit`. Where ``x`` is longer than
    ``table``, the table repeats; the last table may be used in part.
    """
    x = np.asarray(x, np.float32)
    table = np.resize(np.asarray(table, np.float32), x.shape[-1])
    x0, x1 = x[..., 0::2], x[..., 1::2]
    cos, sin = table[0::2], table[1::2]
    y = np.empty_like(x)
    y[..., 0::2] = add(multiply(x0, cos), multiply(-x1, sin))
    y[..., 1::2] = add(multiply(x0, sin), multiply(x1, cos))
    return y
