"""A language model of the llama architecture, as its file gives it."""

from dataclasses import dataclass

import numpy as np

from .stored import Foreign, Stored


__all__ = ["Layer", "Model"]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Weights of one layer; a matrix is ``[outputs, inputs]``.

    Parameters
    ----------
    attention_norm, ffn_norm : array of dim
        Gains of the two norms.
    wq, wk, wv, wo : array, :class:`sw.models.stored.Stored` or :class:`sw.models.stored.Foreign`
        Attention: queries, keys, values, output.
    w1, w2, w3 : the same
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
    classifier : array, ``Stored`` or ``Foreign`` of vocabulary x dim
        The output matrix; the embedding itself when they are shared and arrays.
    theta, epsilon : float
        Base of the rotary frequencies, and the norms' guard.
    head_size : int
        Elements of a head; by default the residual stream's, divided among the heads.
    rope_factors : array of head / 2, optional
        What divides the rotary frequencies, in float64.
    shared : bool
        Output matrix and embedding are one tensor of the file.
    ends : tuple of two int
        Tokens that end a text.
    format : str
        What arrays are rounded to, if the user does not say.
    notes : tuple of str
        Sentences for the user.
    attention : tuple of :class:`sw.models.attention.Attention`
        What each layer sees; empty if all see everything.
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
    head_size: int | None = None
    rope_factors: np.ndarray | None = None
    shared: bool = False
    ends: tuple = (1, 2)
    format: str = "int4"
    notes: tuple = ()
    attention: tuple = ()

    @property
    def head(self):
        """Elements of a head."""
        return self.head_size or self.dim // self.n_heads

    @property
    def parameters(self):
        """Number of weights; a shared output matrix counts once."""
        matrices = [self.embedding, self.norm]
        if not self.shared and self.classifier is not self.embedding:
            matrices.append(self.classifier)
        matrices += [weight for layer in self.layers for weight in vars(layer).values()]
        return sum(weight.size for weight in matrices)

    def target(self, weights, format=None):
        """The format of one of its matrices, if the user asks for ``format``.

        What was rounded before loses least in INT8, if the user does not say.
        """
        if isinstance(weights, Stored):
            return weights.format
        return format or ("int8" if isinstance(weights, Foreign) else self.format)

    def formats(self, format=None):
        """Set of the formats of all matrices."""
        weights = [self.classifier, *(w for layer in self.layers for w in vars(layer).values())]
        return {self.target(w, format) for w in weights if len(w.shape) == 2}

    def angles(self, positions):
        """Rotary angles in float64, ``[position, pair]``."""
        frequencies = self.theta ** -(np.arange(0, self.head, 2) / self.head)
        if self.rope_factors is not None:
            frequencies = frequencies / self.rope_factors
        return np.outer(np.arange(positions), frequencies)
