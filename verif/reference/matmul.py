"""Product of quantised weights and quantised activations: section 3 of interfaces.md."""

import numpy as np

from hw.formats import NAN, ScaleKind, named
from verif.reference.floats import add, fixed_to_float, half_parts, shift_down


__all__ = ["scale_parts", "matmul"]


#: Elements that share a scale.
BLOCK = 32

#: An INT8 element with an E8M0 code has an lsb of 2^(code - LSB).
LSB = 127 + 6

#: Block sums that are held at a time.
TERMS = 2**20


def scale_parts(scales, kind):
    """``(factor, exponent, nan)`` of weight scales: each is ``factor * 2^exponent``.

    ``kind`` is a :class:`hw.formats.ScaleKind`.
    """
    scales = np.asarray(scales)
    if kind == ScaleKind.FP16:
        return half_parts(scales.view(np.uint16) if scales.dtype == np.float16 else scales)
    one = np.ones(scales.shape, np.int64)
    if kind == ScaleKind.E8M0:
        return one, scales.astype(np.int64) - 127, scales == 255
    return one, 0 * one, np.zeros(scales.shape, bool)


def matmul(weights, scales, act, codes, format="int8", old=None, shift=0):
    """``y[..., n] = sum over blocks of weights * act``, as float32 [..., N].

    Reference for :class:`hw.matmul.engine.MatmulEngine`. The sum of a block of 32 is an exact
    integer; it is scaled with one rounding; blocks are added in FP32 in ascending order.

    Parameters
    ----------
    weights : int [N, K]
        Integers of elements. A row may end in half a block.
    scales : [N, ceil(K / 32)]
        FP16 as float16 or bits, or E8M0 codes, as the format says.
    act, codes : int8 [..., K], uint8 [..., ceil(K / 32)]
        Activations with E8M0 codes.
    format : str or :class:`hw.formats.Format`
    old, shift : float32 [..., N] and int [...], optional
        What the first block is added to, after it is divided by ``2^shift``.
    """
    format = named(format) if isinstance(format, str) else format
    weights, act, codes = np.asarray(weights), np.asarray(act), np.asarray(codes)
    size, blocks = weights.shape[1], -(-weights.shape[1] // BLOCK)
    if act.shape[-1] != size or codes.shape[-1] != blocks or scales.shape[-1] != blocks:
        raise ValueError(f"rows of {size} elements need activations of {size} and {blocks} scales, "
                         f"not {act.shape[-1]}, {codes.shape[-1]} and {scales.shape[-1]}")
    vectors = act.shape[:-1]
    pad = blocks * BLOCK - size
    act = np.pad(act.reshape(-1, size), ((0, 0), (0, pad))).astype(np.float32)
    act = act.reshape(-1, blocks, BLOCK).transpose(1, 2, 0)
    codes = codes.reshape(-1, blocks).T[:, None].astype(np.int64)
    if old is not None:
        old = shift_down(old, np.asarray(shift)[..., None]).reshape(-1, len(weights)).T
    y = np.empty((len(weights), act.shape[2]), np.float32)
    step = max(1, TERMS // max(1, blocks * act.shape[2]))
    for first in range(0, len(weights), step):
        rows = slice(first, first + step)
        # Axes of everything here: block, row, vector.
        w = np.pad(weights[rows], ((0, 0), (0, pad))).reshape(-1, blocks, BLOCK)
        odd = (w == NAN).any(axis=2).T[..., None]
        w = np.where(w == NAN, 0, w).transpose(1, 0, 2)
        # Sums of 32 products of 8 bits each are exact in float32, all others in float64.
        exact = np.float64 if format.element.shifts else np.float32
        sums = w.astype(exact) @ act.astype(exact)
        factor, exponent, nan = (part.T[..., None]
                                 for part in scale_parts(scales[rows], format.scale))
        exponent = exponent + codes + (format.element.lsb - LSB)
        terms = fixed_to_float(sums, factor, exponent, nan | odd | (codes == 255))
        total = terms[0] if old is None else add(old[rows], terms[0])
        for term in terms[1:]:
            total = add(total, term)
        y[rows] = total
    return np.ascontiguousarray(y.T).reshape(*vectors, len(weights))
