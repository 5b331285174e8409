"""Random weights of any format, with many extremes."""

import numpy as np

from hw.formats import NAN, ScaleKind


__all__ = ["random_elements", "random_scales"]


def random_elements(rng, element, shape, extreme=0.1):
    """Integers of elements; some rows are all of the smallest one."""
    found = rng.choice(element.numbers.astype(int), shape)
    found[rng.random(shape[0]) < extreme] = element.numbers[0]
    if element.nans:
        found[rng.random(shape) < 1e-3] = NAN
    return found


def random_scales(rng, kind, shape, odd=0.02):
    """Scales of a :class:`hw.formats.ScaleKind`; some are NaN, infinite or subnormal."""
    if kind == ScaleKind.FP16:
        scales = (rng.normal(size=shape) * 2.0**-4).astype(np.float16)
        any_ = rng.integers(0, 2**16, shape).astype(np.uint16).view(np.float16)
        return np.where(rng.random(shape) < odd, any_, scales)
    scales = rng.integers(118, 136, shape).astype(np.uint8)
    scales[rng.random(shape) < odd / 2] = 255
    return scales
