"""Pieces of a vector, such as heads that are not whole blocks, with zeros between them."""

import numpy as np


__all__ = ["HALF", "compact", "piece_halves", "pieces", "spread"]


#: Elements of half a block, of which pieces are made.
HALF = 16


def piece_halves(blocks, halves, zeros, pieces, stride, step, middle=0):
    """Which half of the source each half of the result is, counted from its first one; -1: zeros.

    Parameters
    ----------
    blocks : int
        Of the result.
    halves, zeros : int
        Of each piece, and behind it.
    pieces, stride : int
        Pieces of a run, and blocks from one to the next.
    step : int
        Halves from one run to the next.
    middle : int
        1: the first piece begins in the middle of a block.
    """
    number = -(-2 * blocks // (halves + zeros))
    run, piece = np.divmod(np.arange(number), pieces)
    starts = middle + run * step + piece * 2 * stride
    inside = np.concatenate([np.arange(halves), np.full(zeros, -1)])
    found = np.where(inside < 0, -1, starts[:, None] + inside)
    return found.reshape(-1)[:2 * blocks]


def pieces(x, blocks, **where):
    """``blocks`` blocks of the last axis of ``x``, as :func:`piece_halves` says where they lie.

    Reference for :class:`hw.vector.pieces.Pieces`.
    """
    at = piece_halves(blocks, **where)
    x = x.reshape(*x.shape[:-1], -1, HALF)
    found = np.where(at[:, None] < 0, x.dtype.type(0), x[..., at, :])
    return found.reshape(*x.shape[:-2], -1)


def spread(x, heads, halves, blocks):
    """Heads of ``halves`` halves, one behind the other, each padded with zeros to ``blocks``
    blocks; what is behind the last head is left out."""
    size = HALF * halves
    x = x[..., :heads * size].reshape(*x.shape[:-1], heads, size)
    x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, 2 * HALF * blocks - size)])
    return x.reshape(*x.shape[:-2], -1)


def compact(x, heads, halves):
    """The first halves of each of ``heads`` heads, one behind the other, padded with zeros to
    whole blocks."""
    x = x.reshape(*x.shape[:-1], heads, -1)[..., :HALF * halves]
    x = x.reshape(*x.shape[:-2], -1)
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, -x.shape[-1] % (2 * HALF))])
