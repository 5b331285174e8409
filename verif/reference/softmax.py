"""Online softmax of one block of tokens, in base 2, with an integer running maximum."""

from typing import NamedTuple

import numpy as np

from verif.reference.floats import add, fixed_to_float, shift_down
from verif.reference.functions import exp2_16


__all__ = ["State", "softmax"]


#: Tokens in a block of keys and values.
BLOCK = 32


class State(NamedTuple):
    """What remains of the blocks before: for each column, the maximum and the sum."""

    maximum: np.ndarray   # int64 [...]: M
    total: np.ndarray     # float32 [...]: l


def shift_round(x, shift):
    """``rne(x / 2^shift)`` of integers, for ``shift`` >= 0."""
    shift = np.minimum(shift, 62)
    kept = x >> shift
    rest = (x - (kept << shift)) << 1
    half = np.int64(1) << shift
    return kept + ((rest > half) | ((rest == half) & (kept & 1 == 1)))


def softmax(t, v_codes, state=None):
    """Probabilities of one block of up to 32 tokens, as a block of INT8 activations.

    Reference for :class:`hw.attention.softmax.Softmax`: steps 3 to 7 of attention.

    Parameters
    ----------
    t : int [..., n]
        Logits of the valid tokens, in fixed point with 16 fraction bits; one row for each column.
    v_codes : uint8 [n] or [..., n]
        E8M0 codes of the tokens' values, which the probabilities take in.
    state : :class:`State` or None
        State after the blocks before; None for the first block.

    Returns
    -------
    q : int8 [..., 32]
        Probabilities; 0 for tokens beyond ``n``.
    code, shift : int64 [...]
        E8M0 code of the block, and power of two by which earlier results are divided.
    state : :class:`State`
    """
    t = np.asarray(t, np.int64)
    count = t.shape[-1]
    if not 1 <= count <= BLOCK:
        raise ValueError(f"a block has 1 to {BLOCK} tokens, not {count}")
    v_codes = np.asarray(v_codes, np.int64)

    block_maximum = (t.max(axis=-1) + 0xFFFF) >> 16
    u = (block_maximum[..., None] << 16) - t
    k = (u + 0xFFFF) >> 16
    x = exp2_16((k << 16) - u).astype(np.int64)
    s = ((x << 8) >> np.minimum(k, 31)).sum(axis=-1)

    e = v_codes - 127 - k
    largest = e.max(axis=-1)
    q = np.minimum(shift_round(x, largest[..., None] - e + 10), 127)

    if state is None:
        maximum, shift = block_maximum, np.zeros_like(block_maximum)
        before = np.zeros(block_maximum.shape, np.float32)
    else:
        maximum = np.maximum(state.maximum, block_maximum)
        shift = np.minimum(maximum - state.maximum, 255)
        before = shift_down(state.total, shift)
    below = block_maximum - maximum
    total = add(before, fixed_to_float(s, 1, below - 24))

    code = largest + below + 127
    q = np.where(code[..., None] < 1, 0, q)
    code = np.where((v_codes == 255).any(axis=-1), 255, np.clip(code, 0, 254))
    padded = np.zeros((*q.shape[:-1], BLOCK), np.int8)
    padded[..., :count] = q
    return padded, code, shift, State(maximum, total)
