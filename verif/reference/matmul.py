"""Product of quantised weights and quantised activations: section 3 of interfaces.md."""

import numpy as np

from hw.formats import ACTIVATIONS, NAN, ScaleKind, Span, named
from verif.reference.floats import (
    add,
    bfloat_parts,
    fixed_to_float,
    half_parts,
    multiply,
    shift_down,
)


__all__ = ["scale_parts", "block_sums", "matmul"]


#: Elements whose products are summed exactly.
BLOCK = 32

#: Block sums that are held at a time.
TERMS = 2**20


def scale_parts(scales, kind):
    """``(factor, exponent, nan)`` of weight scales: each is ``factor * 2^exponent``.

    ``kind`` is a :class:`hw.formats.ScaleKind`.
    """
    scales = np.asarray(scales)
    if kind == ScaleKind.FP16:
        return half_parts(scales.view(np.uint16) if scales.dtype == np.float16 else scales)
    if kind == ScaleKind.BF16:
        return bfloat_parts(scales)
    one = np.ones(scales.shape, np.int64)
    if kind == ScaleKind.E8M0:
        return one, scales.astype(np.int64) - 127, scales == 255
    if kind == ScaleKind.E4M3:
        # Without sign; subnormals are kept.
        code = scales.astype(np.int64) & 127
        biased, mantissa = code >> 3, code & 7
        factor = np.where(biased == 0, mantissa, mantissa + 8)
        return factor, np.maximum(biased, 1) - 10, code == 127
    return one, 0 * one, np.zeros(scales.shape, bool)


def block_sums(weights, act, element, multiplicand):
    """Exact sums ``weights @ act`` of up to 32 products of elements, as int64."""
    bound = BLOCK * biggest(element) * biggest(multiplicand)
    if bound < 2**53:
        exact = np.float32 if bound <= 2**24 else np.float64
        return (weights.astype(exact) @ act.astype(exact)).astype(np.int64)
    # E5M2 times E4M3: the low 16 bits of the weights by themselves.
    weights, act = weights.astype(np.int64), act.astype(np.float64)
    high, low = (part.astype(np.float64) @ act for part in (weights >> 16, weights & 0xFFFF))
    return (high.astype(np.int64) << 16) + low.astype(np.int64)


def spread(fields, span, blocks):
    """Fields ``[N, ...]`` of rows as fields of each block, ``[N, blocks]``."""
    if span == Span.BLOCK:
        return fields
    return np.repeat(fields, 4 if span == Span.FOUR else blocks, axis=1)[:, :blocks]


def matmul(weights, scales, act, codes, format="int8", *, factor=None, activation="int8",
           old=None, shift=0):
    """``y[..., n] = factor * sum over blocks of weights * act``, as float32 [..., N].

    Reference for :class:`hw.matmul.engine.MatmulEngine`. The sum of a block of 32 is an exact
    integer; it is scaled with one rounding; blocks are added in FP32 in ascending order. If a
    scale belongs to 16 elements, the two sums of a block are scaled and added exactly, and then
    rounded. The factor is applied last, with a rounding of its own.

    Parameters
    ----------
    weights : int [N, K]
        Integers of elements. A row may end in half a block.
    scales : [N, format.scales(K)]
        FP16 as float16 or bits, BF16 as bits, E8M0 or E4M3 codes, as the format says.
    act, codes : int [..., K], uint8 [..., ceil(K / 32)]
        Integers of the activations' elements, and E8M0 codes. No element is NaN.
    format : str or :class:`hw.formats.Format`
    factor : float32, optional
    activation : str
        A name of :data:`hw.formats.ACTIVATIONS`.
    old, shift : float32 [..., N] and int [...], optional
        What the first block is added to, after it is divided by ``2^shift``.
    """
    format = named(format) if isinstance(format, str) else format
    multiplicand = ACTIVATIONS[activation]
    weights, scales, act, codes = map(np.asarray, (weights, scales, act, codes))
    size, blocks = weights.shape[1], -(-weights.shape[1] // BLOCK)
    if (act.shape[-1] != size or codes.shape[-1] != blocks
            or scales.shape[-1] != format.scales(size)):
        raise ValueError(f"rows of {size} elements need activations of {size}, {blocks} codes and "
                         f"{format.scales(size)} scales, not {act.shape[-1]}, {codes.shape[-1]} "
                         f"and {scales.shape[-1]}")
    if multiplicand.nans and (act == NAN).any():
        raise ValueError("an activation is not a number")
    vectors = act.shape[:-1]
    act = np.pad(act.reshape(-1, size), ((0, 0), (0, blocks * BLOCK - size))).T
    codes = codes.reshape(-1, blocks).T.astype(np.int64)
    if old is not None:
        old = shift_down(old, np.asarray(shift)[..., None]).reshape(-1, len(weights)).T
    y = np.empty((len(weights), act.shape[1]), np.float32)
    step = max(1, TERMS // max(1, blocks * act.shape[1]))
    for first in range(0, len(weights), step):
        rows = slice(first, first + step)
        terms = block_terms(weights[rows], scales[rows], act, codes, format, multiplicand)
        total = terms[0] if old is None else add(old[rows], terms[0])
        for term in terms[1:]:
            total = add(total, term)
        y[rows] = total
    if factor is not None:
        y = multiply(y, factor)
    return np.ascontiguousarray(y.T).reshape(*vectors, len(weights))


def block_terms(weights, scales, act, codes, format, multiplicand):
    """What each block adds to each row of each vector: float32 ``[blocks, rows, vectors]``.

    ``act`` and ``codes`` are ``[K, vectors]`` and ``[blocks, vectors]``, with K padded to blocks.
    """
    (size, vectors), blocks, element = act.shape, len(codes), format.element
    parts = 2 if format.group == BLOCK // 2 else 1
    weights = np.pad(weights, ((0, 0), (0, size - weights.shape[1])))
    # Axes from here on: part of a block, block, row or element, element or vector.
    weights = weights.reshape(-1, blocks, parts, BLOCK // parts).transpose(2, 1, 0, 3)
    act = act.reshape(blocks, parts, BLOCK // parts, vectors).swapaxes(0, 1)
    odd = weights == NAN
    sums = block_sums(np.where(odd, 0, weights), act, element, multiplicand)
    factor, exponent, nan = (
        spread(field, format.span, parts * blocks).reshape(-1, blocks, parts).T[..., None]
        for field in scale_parts(scales, format.scale))
    if parts == 2:
        # Both scales as integers of one unit: the halves are added before anything is rounded.
        unit = exponent.min()
        sums, factor = (sums * (factor << exponent - unit)).sum(axis=0, keepdims=True), 1
        exponent = np.full_like(exponent[:1], unit)
    else:
        factor = factor[0]
    exponent = exponent[0] + codes[:, None] + (element.lsb + multiplicand.lsb - 127)
    nan = (nan | odd.any(axis=3, keepdims=True)).any(axis=0) | (codes[:, None] == 255)
    return fixed_to_float(sums[0], factor, exponent, nan)


def biggest(element):
    """Largest magnitude of an element's integers."""
    return int(np.abs(element.numbers.astype(np.int64)).max())
