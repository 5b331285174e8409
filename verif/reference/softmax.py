"""Online softmax of blocks of tokens, in base 2, with an integer running maximum."""

from typing import NamedTuple

import numpy as np

from verif.reference.floats import add, fixed_to_float, shift_down
from verif.reference.functions import exp2_16


__all__ = ["BLOCK", "State", "Terms", "terms", "moves", "softmax"]


#: Tokens in a block of keys and values.
BLOCK = 32

#: Logit of a token that is not seen, and the maximum of a block without any other.
SMALLEST = -2**31

#: Exponent of a token that is not seen: below those of all others.
NONE = -1024


class State(NamedTuple):
    """What remains of the blocks before: for each column, the maximum and the sum."""

    maximum: np.ndarray   # int64 [...]: M
    total: np.ndarray     # float32 [...]: l


class Terms(NamedTuple):
    """What a block gives by itself, whatever was before: one row for each column."""

    maximum: np.ndarray   # int64 [...]: mb
    sum: np.ndarray       # int64 [...]: s
    largest: np.ndarray   # int64 [...]: E
    q: np.ndarray         # int8 [..., n]
    nan: np.ndarray       # bool [...]: a value that is seen has no finite scale


def shift_round(x, shift):
    """``rne(x / 2^shift)`` of integers, for ``shift`` >= 0."""
    shift = np.minimum(shift, 62)
    kept = x >> shift
    rest = (x - (kept << shift)) << 1
    half = np.int64(1) << shift
    return kept + ((rest > half) | ((rest == half) & (kept & 1 == 1)))


def terms(t, v_codes, mask=True):
    """:class:`Terms` of blocks, int ``t`` [..., n]: steps 3 to 6 of attention."""
    v_codes = np.asarray(v_codes, np.int64)
    maximum = (np.where(mask, t, SMALLEST).max(axis=-1) + 0xFFFF) >> 16
    u = np.where(mask, (maximum[..., None] << 16) - t, 0)
    k = (u + 0xFFFF) >> 16
    x = exp2_16((k << 16) - u).astype(np.int64)
    s = np.where(mask, (x << 8) >> np.minimum(k, 31), 0).sum(axis=-1)

    e = np.where(mask, v_codes - 127 - k, NONE)
    largest = e.max(axis=-1)
    q = np.minimum(shift_round(x, largest[..., None] - e + 10), 127)
    return Terms(maximum, s, largest, np.where(mask, q, 0).astype(np.int8),
                 (mask & (v_codes == 255)).any(axis=-1))


def moves(block, before, after):
    """What becomes of a block's terms when the running maximum goes from ``before`` to ``after``.

    Returns the probabilities, their code, the power of two by which what was before is divided, and
    the sum as FP32. ``before`` is ``after`` for the first block.
    """
    below = block.maximum - after
    code  = block.largest + below + 127
    q     = np.where(code[..., None] < 1, 0, block.q).astype(np.int8)
    code  = np.where(block.nan, 255, np.clip(code, 0, 254))
    return q, code, np.minimum(after - before, 255), fixed_to_float(block.sum, 1, below - 24)


def softmax(t, v_codes, state=None, mask=None):
    """Probabilities of one block of up to 32 tokens, as a block of INT8 activations.

    Reference for :class:`hw.attention.softmax.Softmax`: steps 3 to 7 of attention.

    A column that sees none of the tokens has the maximum -32768 in this block, the sum 0, and
    probabilities of 0 with the code 0.

    Parameters
    ----------
    t : int [..., n]
        Logits of the tokens, in fixed point with 16 fraction bits; one row for each column.
    v_codes : uint8 [n] or [..., n]
        E8M0 codes of the tokens' values, which the probabilities take in.
    state : :class:`State` or None
        State after the blocks before; None for the first block.
    mask : bool [n] or [..., n], or None
        Which tokens are seen; None for all.

    Returns
    -------
    q : int8 [..., 32]
        Probabilities; 0 for tokens that are not seen, and beyond ``n``.
    code, shift : int64 [...]
        E8M0 code of the block, and power of two by which earlier results are divided.
    state : :class:`State`
    """
    t = np.asarray(t, np.int64)
    count = t.shape[-1]
    if not 1 <= count <= BLOCK:
        raise ValueError(f"a block has 1 to {BLOCK} tokens, not {count}")
    block = terms(t, v_codes, np.broadcast_to(True if mask is None else mask, t.shape))
    if state is None:
        state = State(block.maximum, np.zeros(block.maximum.shape, np.float32))
    maximum = np.maximum(state.maximum, block.maximum)
    q, code, shift, total = moves(block, state.maximum, maximum)
    total = add(shift_down(state.total, shift), total)
    padded = np.zeros((*q.shape[:-1], BLOCK), np.int8)
    padded[..., :count] = q
    return padded, code, shift, State(maximum, total)
