"""Attention of query heads to the keys and values of one KV head, in one pass over the tokens."""

import numpy as np

from hw.formats import ACTIVATIONS, KV, PROBABILITIES
from verif.reference.floats import add, fixed_to_float, float_to_fixed, shift_down
from verif.reference.matmul import block_sums
from verif.reference.softmax import BLOCK, softmax


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


def attention(q, q_codes, k, k_codes, v, v_codes, activation="int8", kv="int8"):
    """Output before its division, and sums: ``(O, l)``, float32 [..., G, D] and [..., G].

    Reference for :class:`hw.attention.engine.AttentionEngine` with the array; ``O / l`` is the
    result of attention. ``q`` contains the factor log2(e) / sqrt(D).

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
    """
    t = float_to_fixed(scores(q, q_codes, k, k_codes, activation, kv))
    # All query heads see the same value codes.
    codes = np.broadcast_to(np.asarray(v_codes)[..., None, :], t.shape)
    state = output = None
    for start in range(0, t.shape[-1], BLOCK):
        block = slice(start, start + BLOCK)
        p, code, shift, state = softmax(t[..., block], codes[..., block], state)
        term = weighted_values(p, code, v[..., block, :], kv)
        output = term if output is None else add(shift_down(output, shift[..., None]), term)
    return output, state.total
