"""Rounds a matrix so that its products keep their values: the algorithm GPTQ.

Frantar, Ashkboos, Hoefler and Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers", arXiv 2210.17323. Columns are rounded in their order; what a rounding
changes in the products is made up for, as well as can be, by the columns that are still to come.
"""

import numpy as np

from hw.formats import Float, ScaleKind, named
from sw.quantise import (
    dequantise_weights,
    find_factor,
    largest_of,
    matrix,
    round_to,
    scales_of,
)


__all__ = ["damped", "gptq"]

#: Columns whose errors are gathered before the columns behind them are corrected, at most; and
#: rows that are rounded at a time.
COLUMNS, ROWS = 128, 4096

#: Multiples of a group's largest magnitude that are tried as the one its scale is made for: below
#: 1 some elements are clipped, above it the steps of floats lie elsewhere.
POWERS = 0.5, 1, 2
INTEGERS = np.arange(12, 23) / 20
FLOATS = np.arange(12, 31) / 20


def gptq(w, hessian, format, *, damping=0.01, search=True, rule="floor"):
    """Integers, scales and factor of a float32 matrix ``[N, K]``, like
    :func:`sw.quantise.quantise_weights`, so that ``X @ w.T`` changes little.

    Parameters
    ----------
    w : float32 [N, K]
        K is whole blocks of 32.
    hessian : float64 [K, K]
        ``X.T @ X`` of inputs X.
    format : str
        A name of :data:`hw.formats.FORMATS`.
    damping : float
        Share of the mean of the diagonal that is added to it.
    search : bool
        Round each group with several scales, if its elements have less than 8 bits, and keep what
        changes the products least; else scales are those of :func:`sw.quantise.find_scales`.
    rule : str
        Of E8M0 scales.
    """
    w, kind = matrix(w), named(format)
    size = w.shape[1]
    if np.shape(hessian) != (size, size):
        raise ValueError(f"a matrix of {size} columns needs a Hessian of {size} x {size}, not "
                         f"{' x '.join(map(str, np.shape(hessian)))}")
    # Upper triangular; upper.T @ upper is the inverse.
    upper = np.linalg.cholesky(np.linalg.inv(damped(hessian, damping))).T
    factor = find_factor(largest_of(w, kind), kind) if kind.factor else None
    times = multiples(kind) if search and kind.element.bits < 8 else (1,)
    parts = [round_rows(w[first:first + ROWS], upper, format, factor, times, rule)
             for first in range(0, len(w), ROWS)]
    return *map(np.concatenate, zip(*parts)), factor


def damped(hessian, damping):
    """A Hessian with a share of the mean of its diagonal added to the diagonal."""
    hessian = np.array(hessian, np.float64)
    if not np.isfinite(hessian).all():
        raise ValueError("inputs of the calibration text are not finite")
    diagonal = np.einsum("ii->i", hessian)
    # Inputs that are always zero, as those of the padding, do not count.
    mean = diagonal[diagonal > 0].mean() if (diagonal > 0).any() else 1.0
    diagonal += damping * mean
    return hessian


def multiples(format):
    """What is tried; a scale of either sign where elements reach farther below zero."""
    if format.scale == ScaleKind.E8M0:
        return POWERS
    if isinstance(format.element, Float):
        return FLOATS
    return np.concatenate([INTEGERS, -INTEGERS]) if format.element.full else INTEGERS


def round_rows(w, upper, format, factor, times, rule):
    """``(integers, scales)`` of some rows, which do not depend on the others."""
    kind, (rows, size) = named(format), w.shape
    group = kind.group or size
    q = np.zeros((rows, size), kind.element.integers.dtype)
    scales = np.zeros((rows, kind.scales(size)), kind.scale.dtype)
    # The weights that would keep the products, given the columns that are rounded already.
    left = w.astype(np.float64)
    for first in range(0, size, min(group, COLUMNS)):
        at, field = slice(first, min(first + min(group, COLUMNS), size)), first // group
        if first % group == 0:
            largest = largest_of(left[:, first:first + group].astype(np.float32), kind)[:, 0]
            tried = scales_of(np.multiply.outer(times, largest).astype(np.float32), kind, factor,
                              rule)
        else:
            tried = scales[None, :, field]
        q[:, at], errors, scales[:, field] = round_columns(left[:, at], tried, factor, format,
                                                           upper[at, at])
        left[:, at.stop:] -= errors @ upper[at, at.stop:]
    return q, scales


def round_columns(left, tried, factor, format, upper):
    """``(integers, errors, scale)`` of columns that share a scale; each row has the scale, out of
    ``tried [scales, N]``, with which the squares of its errors have the least sum.

    An error is that of a column over its element of the diagonal of ``upper``.
    """
    count, (rows, size) = len(tried), left.shape
    left, scale = np.tile(left, (count, 1)), tried.reshape(-1, 1)
    errors, q = np.empty_like(left), []
    for n in range(size):
        column = left[:, n:n + 1]
        q.append(round_to(column, scale, factor, format))
        rounded = dequantise_weights(q[-1], scale, format, factor)
        errors[:, n:n + 1] = (column - rounded) / upper[n, n]
        left[:, n + 1:] -= errors[:, n:n + 1] * upper[n, n + 1:]
    best = np.square(errors).sum(axis=1).reshape(count, rows).argmin(axis=0)
    best = rows * best + np.arange(rows)
    return np.concatenate(q, axis=1)[best], errors[best], scale[best, 0]
