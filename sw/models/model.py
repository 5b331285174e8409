"""A language model of the llama architecture in float32, as its file gives it."""

from dataclasses import dataclass

import numpy as np


__all__ = ["Layer", "Model"]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Weights of one layer; a matrix is ``[outputs, inputs]``.

    Parameters
    ----------
    attention_norm, ffn_norm : array of dim
        Gains of the two norms.
    wq, wk, wv, wo : array
        Attention: queries, keys, values, output.
    w1, w2, w3 : array
        Feed-forward network: gate, down, up.
    """

    attention_norm: np.ndarray
    wq: np.ndarray
    wk: np.ndarray
    wv: np.ndarray
    wo: np.ndarray
    ffn_norm: np.ndarray
    w1: np.ndarray
    w2: np.ndarray
    w3: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Model:
    """Sizes and weights of a model.

    Parameters
    ----------
    name : str
        Shown to the user.
    dim, hidden, n_heads, n_kv_heads : int
        Elements of the residual stream and of the feed-forward network; query and KV heads.
    vocabulary, context : int
        Number of tokens, and of positions.
    embedding : array of vocabulary x dim
    layers : tuple of :class:`Layer`
    norm : array of dim
        Gain of the last norm.
    classifier : array of vocabulary x dim
        The output matrix; the embedding itself when they are shared.
    theta, epsilon : float
        Base of the rotary frequencies, and the norms' guard.
    """

    name: str
    dim: int
    hidden: int
    n_heads: int
    n_kv_heads: int
    vocabulary: int
    context: int
    embedding: np.ndarray
    layers: tuple
    norm: np.ndarray
    classifier: np.ndarray
    theta: float = 10000.0
    epsilon: float = 1e-5

    @property
    def head(self):
        """Elements of a head."""
        return self.dim // self.n_heads

    @property
    def parameters(self):
        """Number of weights; a shared output matrix counts once."""
        matrices = [self.embedding, self.norm]
        if self.classifier is not self.embedding:
            matrices.append(self.classifier)
        matrices += [weight for layer in self.layers for weight in vars(layer).values()]
        return sum(weight.size for weight in matrices)

    def angles(self, positions):
        """Rotary angles in float64, ``[position, pair]``."""
        pairs = np.arange(0, self.head, 2) / self.head
        return np.outer(np.arange(positions), self.theta ** -pairs)
