"""Attention of query heads to the keys and values of one KV head, in one pass over the tokens."""

import numpy as np

from verif.reference.floats import add, fixed_to_float, float_to_fixed, shift_down
from verif.reference.softmax import BLOCK, softmax


__all__ = ["scores", "weighted_values", "attention"]


#: An INT8 element with an E8M0 code: its lsb is 2^(code - 127 - 6).
LSB = 127 + 6


def scores(q, q_codes, k, k_codes):
    """FP32 products of each query with each key: float32 [G, T].

    Reference for the key products of :class:`hw.attention.engine.AttentionEngine`. Blocks of 32
    elements have exact integer sums, are rounded once, and are added in ascending order.
    """
    groups, size = q.shape
    tokens, blocks = k.shape[0], size // BLOCK
    # Sums of 32 products of 8 bits are exact in float32.
    a = np.asarray(q, np.float32).reshape(groups, blocks, BLOCK).transpose(1, 0, 2)
    w = np.asarray(k, np.float32).reshape(tokens, blocks, BLOCK).transpose(1, 2, 0)
    sums = (a @ w).astype(np.int64)
    q_codes = np.asarray(q_codes, np.int64).T[:, :, None]
    k_codes = np.asarray(k_codes, np.int64).T[:, None, :]
    terms = fixed_to_float(sums, 1, q_codes - LSB + k_codes - LSB,
                           (q_codes == 255) | (k_codes == 255))
    y = terms[0]
    for term in terms[1:]:
        y = add(y, term)
    return y


def weighted_values(p, code, v):
    """``T`` of step 8: sums of INT8 values weighted by a probability block, float32 [G, D]."""
    sums = (np.asarray(p, np.float32)[:, :len(v)] @ np.asarray(v, np.float32)).astype(np.int64)
    return fixed_to_float(sums, 1, code[:, None] - LSB - 6, code[:, None] == 255)


def attention(q, q_codes, k, k_codes, v, v_codes):
    """Output before its division, and sums: ``(O, l)``, float32 [G, D] and [G].

    Reference for :class:`hw.attention.engine.AttentionEngine` with the array; ``O / l`` is the
    result of attention. ``q`` contains the factor log2(e) / sqrt(D).

    Parameters
    ----------
    q, q_codes : int8 [G, D], uint8 [G, D/32]
        Query heads; D is padded to whole blocks.
    k, k_codes : int8 [T, D], uint8 [T, D/32]
        Keys.
    v, v_codes : int8 [T, D], uint8 [T]
        Values, with one code for a whole row.
    """
    t = float_to_fixed(scores(q, q_codes, k, k_codes))
    state = output = None
    for start in range(0, len(k), BLOCK):
        block = slice(start, start + BLOCK)
        p, code, shift, state = softmax(t[:, block], v_codes[block], state)
        term = weighted_values(p, code, v[block])
        output = term if output is None else add(shift_down(output, shift[:, None]), term)
    return output, state.total
