"""Rounds weights to integers in groups of 32 along K, each group with an FP16 scale."""

import numpy as np


__all__ = ["FORMATS", "GROUP", "dequantise_weights", "quantise_weights"]

GROUP = 32
FORMATS = ("int8", "int4")


def quantise_weights(w, format):
    """Integers and FP16 scales of a float32 matrix ``[N, K]``.

    ``int4``: the value of largest magnitude becomes -8. ``int8``: the largest magnitude becomes
    127. K is padded with zeros to whole groups. Raises :class:`ValueError` if a scale exceeds FP16.

    Returns
    -------
    (int8 array of N x K padded, float16 array of N x groups)
    """
    if format not in FORMATS:
        raise ValueError(f"the weight format must be one of {', '.join(FORMATS)}, not {format!r}")
    w = np.asarray(w, np.float32)
    if w.ndim != 2:
        raise ValueError(f"weights must be a matrix, not an array of {w.ndim} dimensions")
    rows, k = w.shape
    groups = -(-k // GROUP)
    padded = np.zeros((rows, groups * GROUP), np.float32)
    padded[:, :k] = w
    blocks = padded.reshape(rows, groups, GROUP)
    at = np.abs(blocks).argmax(axis=2)[..., None]
    largest = np.take_along_axis(blocks, at, axis=2)[..., 0]
    low, high, wanted = ((-8, 7, largest / np.float32(-8)) if format == "int4" else
                         (-127, 127, np.abs(largest) / np.float32(127)))
    with np.errstate(over="ignore"):
        scales = wanted.astype(np.float16)
    if not np.isfinite(scales).all():
        raise ValueError(f"a weight of {np.abs(largest).max():g} needs a scale beyond FP16")
    d = scales.astype(np.float32)[..., None]
    ratio = np.divide(blocks, d, out=np.zeros_like(blocks), where=d != 0)
    q = np.clip(np.rint(ratio), low, high).astype(np.int8)
    return q.reshape(rows, -1), scales


def dequantise_weights(q, scales):
    """The float32 matrix that integers and scales stand for."""
    rows, k = q.shape
    blocks = q.reshape(rows, k // GROUP, GROUP).astype(np.float32)
    return (blocks * scales.astype(np.float32)[..., None]).reshape(rows, k)
