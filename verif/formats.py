"""Random weights and activations of any format, with many extremes."""

import numpy as np

from hw.formats import NAN, ScaleKind


__all__ = ["random_activations", "random_elements", "random_scales"]


def random_elements(rng, element, shape, extreme=0.1, nan=True):
    """Integers of elements; some rows are all of the smallest one, and some elements are NaN."""
    found = rng.choice(element.numbers.astype(int), shape)
    found[rng.random(shape[0]) < extreme] = element.numbers[0]
    if element.nans and nan:
        found[rng.random(shape) < 1e-3] = NAN
    return found


def random_activations(rng, element, shape, extreme=0.1):
    """Integers of activations, of which none is NaN; some vectors are all of the largest one."""
    found = rng.choice(element.numbers.astype(int), shape)
    found[rng.random(shape[:-1]) < extreme] = element.largest
    return found


def random_scales(rng, kind, shape, odd=0.02):
    """Scales of a :class:`hw.formats.ScaleKind`; some are NaN, infinite or subnormal."""
    strange = rng.random(shape) < odd
    if kind == ScaleKind.FP16:
        scales = (rng.normal(size=shape) * 2.0**-4).astype(np.float16)
        any_ = rng.integers(0, 2**16, shape).astype(np.uint16).view(np.float16)
        return np.where(strange, any_, scales)
    if kind == ScaleKind.BF16:
        scales = (rng.normal(size=shape) * 2.0**-4).astype(np.float32).view(np.uint32) >> 16
        any_ = rng.integers(0, 2**16, shape)
        # Half of the strange ones are subnormal or NaN.
        any_ &= np.where(rng.random(shape) < 0.25, 0x807F, 0xFFFF)
        any_ |= np.where(rng.random(shape) < 0.25, 0x7F80, 0)
        return np.where(strange, any_, scales).astype(np.uint16)
    if kind == ScaleKind.E4M3:
        scales = rng.integers(0, 256, shape)
        scales -= scales & 127 == 127
        return np.where(strange, rng.choice([0, 1, 7, 127, 255], shape), scales).astype(np.uint8)
    scales = rng.integers(118, 136, shape).astype(np.uint8)
    scales[rng.random(shape) < odd / 2] = 255
    return scales
