"""Gated linear unit with SiLU."""

import numpy as np

from verif.reference.floats import add, multiply
from verif.reference.functions import exp2, reciprocal


__all__ = ["gate"]


#: -log2(e)
MINUS_LOG2_E = np.float32(-1.44269504)


def gate(a, b):
    """``a / (1 + e^-a) * b`` of float32 arrays.

    Reference for op ``gate`` of :class:`hw.vector.unit.VectorUnit`.
    """
    e = exp2(multiply(a, MINUS_LOG2_E))
    r = reciprocal(add(e, np.float32(1)))
    return multiply(multiply(a, r), b)
