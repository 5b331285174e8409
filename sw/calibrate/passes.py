"""The forward pass of a float32 model over many texts, which stops at each matrix."""

from typing import NamedTuple

import numpy as np


__all__ = ["Stop", "attend", "norm", "rotate", "silu", "walk"]

#: Texts whose attention is computed at a time.
TEXTS = 8


class Stop(NamedTuple):
    """Where a pass has come to.

    Parameters
    ----------
    kind : str
        The matrices that come next, a name of :data:`sw.calibrate.weights.KINDS`.
    layer : int
    inputs : float32 [texts, positions, elements]
        Of these matrices.
    stream : float32 [texts, positions, dim]
        The residual stream, to which the products of ``heads`` and ``hidden`` are added.
    """

    kind: str
    layer: int
    inputs: np.ndarray
    stream: np.ndarray


def walk(model, tokens):
    """Yield the :class:`Stop` of all matrices in the order of their use. Weights that are sent
    back, by name, are used in place of the model's.

    Parameters
    ----------
    model : :class:`sw.models.Model`
        Its weights are arrays.
    tokens : int [texts, positions]
    """
    x = model.embedding[tokens].astype(np.float32)
    for n, layer in enumerate(model.layers):
        y = norm(x, layer.attention_norm, model.epsilon)
        w = vars(layer) | ((yield Stop("attention", n, y, x)) or {})
        y = attend(model, *(y @ w[name].T for name in ("wq", "wk", "wv")))
        w |= (yield Stop("heads", n, y, x)) or {}
        x = x + y @ w["wo"].T
        y = norm(x, layer.ffn_norm, model.epsilon)
        w |= (yield Stop("ffn", n, y, x)) or {}
        y = silu(y @ w["w1"].T) * (y @ w["w3"].T)
        w |= (yield Stop("hidden", n, y, x)) or {}
        x = x + y @ w["w2"].T
    yield Stop("output", len(model.layers), norm(x, model.norm, model.epsilon), x)


def norm(x, gain, epsilon):
    """``x`` divided by its root mean square over the last axis, times a gain."""
    return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + np.float32(epsilon)) * gain


def silu(x):
    """``x`` times its logistic function."""
    with np.errstate(over="ignore"):
        return x / (1 + np.exp(-x))


def rotate(x, angles):
    """Pairs of the last axis of ``x`` turned by angles that broadcast to them."""
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    even, odd = x[..., 0::2], x[..., 1::2]
    return np.stack([even * cos - odd * sin, even * sin + odd * cos], -1).reshape(x.shape)


def attend(model, q, k, v):
    """Outputs of the heads, of queries, keys and values ``[texts, positions, elements]``."""
    found = np.empty_like(q)
    for first in range(0, len(q), TEXTS):
        part = slice(first, first + TEXTS)
        found[part] = attend_few(model, q[part], k[part], v[part])
    return found


def attend_few(model, q, k, v):
    texts, positions, _ = q.shape
    q, k, v = (x.reshape(texts, positions, -1, model.head) for x in (q, k, v))
    angles = model.angles(positions)[:, None]
    q, k = rotate(q, angles), rotate(k, angles)
    k, v = (x.repeat(model.n_heads // model.n_kv_heads, axis=2) for x in (k, v))
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
    scores = q @ k.swapaxes(2, 3) / np.float32(model.head**0.5)
    scores += np.triu(np.full((positions, positions), -np.inf, np.float32), 1)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    return (p @ v).swapaxes(1, 2).reshape(texts, positions, -1)
