"""Rounds weights to the elements of a format, in groups along K, each group with a scale.

:func:`find_scales` and :func:`round_to` are the two steps; :func:`quantise_weights` is both.
"""

import numpy as np

from hw.formats import ScaleKind, named
from verif.reference.matmul import scale_parts
from verif.reference.quantise import power_codes


__all__ = ["GROUP", "dequantise_weights", "find_scales", "quantise_weights", "round_to"]

#: Elements of a block: rows are padded to whole blocks.
GROUP = 32

#: E4M3, in which NVFP4 has its scales: smallest normal and largest number.
SMALLEST, LARGEST = 2.0**-6, 448.0

#: Least factor, so that its reciprocal over a scale is a number.
LEAST_FACTOR = 2.0**-120


def quantise_weights(w, format, rule="floor"):
    """Integers of elements, scales, and factor of a float32 matrix ``[N, K]``.

    K is padded with zeros to whole blocks of 32. Section 2 of interfaces.md has the rules. Raises
    :class:`ValueError` if a scale exceeds FP16.

    Parameters
    ----------
    w : float32 [N, K]
    format : str
        A name of :data:`hw.formats.FORMATS`.
    rule : str
        Of E8M0 scales, a name of :data:`verif.reference.quantise.RULES`.

    Returns
    -------
    (integer array of N x K padded, array of N x ``format.scales(K)``, float32 or None)
    """
    w = matrix(w)
    w = np.pad(w, ((0, 0), (0, -w.shape[1] % GROUP)))
    scales, factor = find_scales(w, format, rule)
    return round_to(w, scales, factor, format), scales, factor


def matrix(w):
    w = np.asarray(w, np.float32)
    if w.ndim != 2:
        raise ValueError(f"weights must be a matrix, not an array of {w.ndim} dimensions")
    return w


def find_scales(w, format, rule="floor"):
    """``(scales, factor)`` of a float32 matrix: an array of N x ``format.scales(K)``, in
    ``format.scale.dtype``; and a float32, or None if the format has no factor.
    """
    format = named(format)
    largest = largest_of(matrix(w), format)
    factor = find_factor(largest, format) if format.factor else None
    return scales_of(largest, format, factor, rule), factor


def largest_of(w, format):
    """The element of largest magnitude of each group of a float32 matrix, with its sign."""
    rows, size = w.shape
    groups, group = format.scales(size), format.group or size
    padded = np.zeros((rows, groups * group), np.float32)
    padded[:, :size] = w
    groups = padded.reshape(rows, groups, group)
    at = np.abs(groups).argmax(axis=2)[..., None]
    largest = np.take_along_axis(groups, at, axis=2)[..., 0]
    if not np.isfinite(largest).all():
        raise ValueError("a weight is infinite or not a number")
    return largest


def scales_of(largest, format, factor=None, rule="floor"):
    """Scales of groups that have these elements of largest magnitude, float32 of any shape."""
    if format.scale == ScaleKind.E8M0:
        return power_codes(largest, format.element, rule).astype(np.uint8)
    if format.scale == ScaleKind.E4M3:
        wanted = np.abs(largest) / top_of(format.element) / factor
        e4m3 = named("fp8").element
        return e4m3.encode(e4m3.round(np.ldexp(np.clip(wanted, SMALLEST, LARGEST).astype(float),
                                               -e4m3.lsb)))
    return free_scales(largest, format)


def top_of(element):
    """The largest element, as float32."""
    return np.ldexp(np.float32(element.largest), element.lsb)


def free_scales(largest, format):
    """FP16 or BF16 scales."""
    element = format.element
    if element.full:
        wanted = largest / np.float32(element.numbers[0])
    else:
        wanted = np.abs(largest) / top_of(element)
    if format.scale == ScaleKind.BF16:
        return bfloat_up(wanted)
    with np.errstate(over="ignore"):
        scales = wanted.astype(np.float16)
    if not np.isfinite(scales).all():
        raise ValueError(f"a weight of {np.abs(largest).max():g} needs a scale beyond FP16")
    return scales


def bfloat_up(x):
    """Bits of the smallest BF16 numbers not below float32 ``x``, which is not negative.

    Rounded to nearest, a scale of BF16 could clip the largest of 32767 steps by 64 of them.
    """
    return (x.view(np.uint32).astype(np.uint64) + 0xFFFF >> 16).astype(np.uint16)


def find_factor(largest, format):
    """Factor of a matrix of NVFP4; all steps in float32, in the order of torchao."""
    factor = np.float32(np.abs(largest).max(initial=0)) / (
        np.float32(LARGEST) * top_of(format.element))
    return np.float32(max(factor, LEAST_FACTOR) if factor else 1)


def round_to(w, scales, factor, format, first=0):
    """Integers of elements of float32 columns ``w``, with given scales.

    Parameters
    ----------
    w : float32 [N, columns]
        Columns of the matrix from ``first`` on.
    scales, factor :
        Of the whole matrix, as :func:`find_scales` gives them.
    """
    format, w = named(format), matrix(w)
    element, scale = format.element, values_of(scales, format, first, w.shape[1])
    if format.factor:
        # NVIDIA's order, also that of torchao: elements are multiplied by a reciprocal.
        ratio = w * (np.float32(1) / np.float32(factor) / scale.astype(np.float32))
    elif format.scale == ScaleKind.E8M0:
        # Exact.
        ratio = w / scale
    else:
        d = scale.astype(np.float32)
        ratio = np.divide(w, d, out=np.zeros_like(w), where=d != 0)
    return element.round(np.ldexp(ratio.astype(np.float64), -element.lsb))


def values_of(scales, format, first, columns):
    """Float64 scale of each element of columns ``first`` on: ``[N, columns]``."""
    factor, exponent, _ = scale_parts(scales, format.scale)
    found = np.ldexp(factor.astype(np.float64), exponent)
    at = np.arange(first, first + columns) // format.group if format.group else np.zeros(
        columns, int)
    return found[:, at]


def dequantise_weights(q, scales, format, factor=None):
    """The float32 matrix that integers, scales and factor stand for."""
    format = named(format)
    found = q * np.ldexp(values_of(scales, format, 0, q.shape[1]), format.element.lsb)
    return (found if factor is None else found * float(factor)).astype(np.float32)
