"""Rounds weights to the elements of a format, in groups of 32 along K, each group with a scale."""

import numpy as np

from hw.formats import ScaleKind, named


__all__ = ["GROUP", "dequantise_weights", "quantise_weights"]

GROUP = 32

#: Smallest code of a scale, and largest that is a number.
CODES = 0, 254


def quantise_weights(w, format):
    """Integers of elements, and scales, of a float32 matrix ``[N, K]``.

    FP16 scales: of ``int4`` the value of largest magnitude becomes -8, of other elements the
    largest magnitude becomes the largest element. E8M0 scales: the largest power of two not above
    the largest magnitude over that of the largest element (OCP MX 1.0, section 6.3), so that what
    lies above the largest element is saturated. K is padded with zeros to whole groups. Raises
    :class:`ValueError` if a scale exceeds FP16.

    Returns
    -------
    (integer array of N x K padded, array of N x groups: float16, or E8M0 codes in uint8)
    """
    format = named(format)
    w = np.asarray(w, np.float32)
    if w.ndim != 2:
        raise ValueError(f"weights must be a matrix, not an array of {w.ndim} dimensions")
    rows, k = w.shape
    groups = -(-k // GROUP)
    padded = np.zeros((rows, groups * GROUP), np.float32)
    padded[:, :k] = w
    blocks = padded.reshape(rows, groups, GROUP)
    rule = {ScaleKind.FP16: half_scales, ScaleKind.E8M0: power_scales}[format.scale]
    q, scales = rule(blocks, format.element)
    return q.reshape(rows, -1), scales


def half_scales(blocks, element):
    """Integers and FP16 scales."""
    at = np.abs(blocks).argmax(axis=2)[..., None]
    largest = np.take_along_axis(blocks, at, axis=2)[..., 0]
    if element.full:
        wanted = largest / np.float32(element.numbers[0])
    else:
        wanted = np.abs(largest) / np.ldexp(np.float32(element.largest), element.lsb)
    with np.errstate(over="ignore"):
        scales = wanted.astype(np.float16)
    if not np.isfinite(scales).all():
        raise ValueError(f"a weight of {np.abs(largest).max():g} needs a scale beyond FP16")
    d = np.ldexp(scales.astype(np.float32), element.lsb)[..., None]
    ratio = np.divide(blocks, d, out=np.zeros_like(blocks), where=d != 0)
    return element.round(ratio.astype(np.float64)), scales


def power_scales(blocks, element):
    """Integers and E8M0 codes."""
    largest = np.abs(blocks).max(axis=2)
    exponent = np.frexp(largest)[1] - 1
    top = int(np.floor(np.log2(element.largest))) + element.lsb
    codes = np.where(largest == 0, 0, np.clip(exponent - top + 127, *CODES))
    scaled = np.ldexp(blocks.astype(np.float64), 127 - element.lsb - codes[..., None])
    return element.round(scaled), codes.astype(np.uint8)


def dequantise_weights(q, scales, format):
    """The float32 matrix that integers and scales stand for."""
    rows, k = q.shape
    element, scale = named(format).element, named(format).scale
    if scale == ScaleKind.E8M0:
        factor = np.ldexp(1.0, scales.astype(int) - 127)
    else:
        factor = scales.astype(np.float64)
    blocks = q.reshape(rows, k // GROUP, GROUP) * np.ldexp(factor, element.lsb)[..., None]
    return blocks.astype(np.float32).reshape(rows, k)
