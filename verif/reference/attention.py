"""Attention of query heads to the keys and values of one KV head, in one pass over the tokens."""

import numpy as np

from hw.formats import ACTIVATIONS, KV, PROBABILITIES
from verif.reference.floats import add, fixed_to_float, float_to_fixed, shift_down
from verif.reference.matmul import block_sums
from verif.reference.pattern import seen
from verif.reference.softmax import BLOCK, moves, terms


__all__ = ["scores", "weighted_values", "attention"]


#: Of the E8M0 code of 1.
BIAS = 127


def scores(q, q_codes, k, k_codes, activation="int8", kv="int8"):
    """FP32 products of each query with each key: float32 [..., G, T].

    Reference for the key products of :class:`hw.attention.engine.AttentionEngine`. Blocks of 32
    elements have exact integer sums, are rounded once, and are added in ascending order.
    """
    queries, keys = ACTIVATIONS[activation], KV[kv]
    q_codes, k_codes = (np.asarray(codes, np.int64) for codes in (q_codes, k_codes))
    y = None
    for b in range(q.shape[-1] // BLOCK):
        part = slice(BLOCK * b, BLOCK * (b + 1))
        sums = block_sums(k[..., part], np.swapaxes(q[..., part], -1, -2), keys, queries)
        codes = q_codes[..., :, None, b], k_codes[..., None, :, b]
        term = fixed_to_float(np.swapaxes(sums, -1, -2), 1,
                              codes[0] + codes[1] + (queries.lsb + keys.lsb - 2 * BIAS),
                              (codes[0] == 255) | (codes[1] == 255))
        y = term if y is None else add(y, term)
    return y


def weighted_values(p, code, v, kv="int8"):
    """``T`` of step 8: sums of values weighted by a probability block, float32 [..., G, D]."""
    p = np.swapaxes(p[..., :v.shape[-2]], -1, -2)
    sums = np.swapaxes(block_sums(np.swapaxes(v, -1, -2), p, KV[kv], PROBABILITIES), -1, -2)
    code = code[..., None]
    return fixed_to_float(sums, 1, code + (PROBABILITIES.lsb + KV[kv].lsb - BIAS), code == 255)


def placed(numbers):
    """``(places, blocks)``: where tokens of these numbers lie if only their KV blocks are read.

    A block that holds none of the tokens is left out; the others keep their order.
    """
    numbers = np.asarray(numbers)
    if numbers.size and (np.diff(numbers) < 1).any():
        raise ValueError("the numbers of tokens must ascend")
    blocks, index = np.unique(numbers // BLOCK, return_inverse=True)
    return BLOCK * index + numbers % BLOCK, len(blocks)


def in_blocks(x, places, blocks, axis):
    """``x`` with the tokens of ``axis`` at their places in ``[blocks, 32]``; zeros elsewhere."""
    x = np.moveaxis(np.asarray(x), axis, 0)
    if np.array_equal(places, np.arange(BLOCK * blocks)):
        result = x
    else:
        result = np.zeros((BLOCK * blocks, *x.shape[1:]), x.dtype)
        result[places] = x
    result = np.moveaxis(result, 0, axis)
    axis += result.ndim if axis < 0 else 0
    return result.reshape(*result.shape[:axis], blocks, BLOCK, *result.shape[axis + 1:])


def attention(q, q_codes, k, k_codes, v, v_codes, activation="int8", kv="int8", *,
              positions=None, window=0, sinks=0, numbers=None):
    """Output before its division, and sums: ``(O, l)``, float32 [..., G, D] and [..., G].

    Reference for :class:`hw.attention.engine.AttentionEngine` with the array; ``O / l`` is the
    result of attention. ``q`` contains the factor log2(e) / sqrt(D). A query that sees no token has
    zeros.

    Tokens are taken in KV blocks, 32 consecutive numbers from a multiple of 32. Tokens of a block
    that are not given count as not seen, and a block of which a query sees nothing does not change
    its result: only what queries see has to be given.

    Parameters
    ----------
    q, q_codes : int [..., G, D], uint8 [..., G, D/32]
        Query heads, integers of elements; D is padded to whole blocks.
    k, k_codes : int [..., T, D], uint8 [..., T, D/32]
        Keys.
    v, v_codes : int [..., T, D], uint8 [..., T]
        Values, with one code for a whole row.
    activation, kv : str
        Elements of queries and of keys and values, names of :data:`hw.formats.ACTIVATIONS` and
        :data:`hw.formats.KV`.
    positions : int [G] or [..., G], or None
        Which tokens a query sees: those that :func:`verif.reference.pattern.seen` says; None for
        all that are given.
    window, sinks : int
        Of that function; they need positions.
    numbers : int [T] or None
        Numbers of the tokens, ascending; None for 0, 1, ...
    """
    count = np.shape(k)[-2]
    numbers = np.arange(count) if numbers is None else np.asarray(numbers)
    if positions is None:
        if window:
            raise ValueError(f"a window of {window} tokens needs positions of the queries")
        positions = numbers[-1:]
    mask = seen(numbers, np.asarray(positions)[..., None], window, sinks)
    places, blocks = placed(numbers)

    # All that is not carried from block to block at once, [..., blocks, G, 32].
    t = in_blocks(float_to_fixed(scores(q, q_codes, k, k_codes, activation, kv)), places, blocks,
                  -1)
    mask = in_blocks(np.broadcast_to(mask, (*mask.shape[:-2], t.shape[-3], count)), places, blocks,
                     -1)
    t, mask = np.swapaxes(t, -2, -3), np.swapaxes(mask, -2, -3)
    codes = in_blocks(v_codes, places, blocks, -1)[..., None, :]
    found = terms(t, codes, np.broadcast_to(mask, t.shape))
    maximum = np.maximum.accumulate(found.maximum, axis=-2)
    before  = np.concatenate([maximum[..., :1, :], maximum[..., :-1, :]], axis=-2)
    p, p_codes, shift, total = moves(found, before, maximum)
    term = weighted_values(p, p_codes, in_blocks(v, places, blocks, -2), kv)

    # Both sums in FP32, in the order of the blocks.
    rows, carried = np.concatenate([term, total[..., None]], axis=-1), np.float32(0)
    for n in range(blocks):
        at = (..., n, slice(None), slice(None))
        carried = add(shift_down(carried, shift[..., None][at]), rows[at])
    return carried[..., :-1], carried[..., -1]
