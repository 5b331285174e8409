"""A model as the machine holds it: padded to blocks, rearranged, and rounded to integers."""

from dataclasses import dataclass
from math import log2, sqrt
from typing import NamedTuple

import numpy as np

from hw.formats import FORMATS
from sw.errors import UserError
from sw.quantise import quantise_weights


__all__ = ["Matrix", "QuantisedLayer", "QuantisedModel", "quantise_model", "row_unit"]

BLOCK = 32
LOG2_E = 1.4426950408889634


class Matrix(NamedTuple):
    """A quantised matrix; every matrix of a model may have a format of its own.

    Parameters
    ----------
    weights : int [N, K]
        Integers of elements.
    scales : [N, format.scales(K)]
        In the format's ``scale.dtype``.
    format : str
        A name of :data:`hw.formats.FORMATS`.
    factor : float32 or None
        By which results are multiplied, if the format has one.
    """

    weights: np.ndarray
    scales: np.ndarray
    format: str
    factor: np.float32 | None = None


@dataclass(frozen=True, kw_only=True)
class QuantisedLayer:
    """One layer. Gains are multiplied by sqrt(dim)."""

    attention_gain: np.ndarray
    kvq: Matrix
    output: Matrix
    ffn_gain: np.ndarray
    gate_up: Matrix
    down: Matrix

    @property
    def matrices(self):
        """In the order in which they are used."""
        return self.kvq, self.output, self.gate_up, self.down


@dataclass(frozen=True, kw_only=True)
class QuantisedModel:
    """What the compiler lays out and :func:`verif.reference.forward.forward` computes with.

    Parameters
    ----------
    name, format : str
        Name of the model; a name of :data:`hw.formats.FORMATS`.
    dim_blocks, hidden_blocks, head_blocks : int
        Blocks of the residual stream, of the feed-forward network and of a head.
    n_heads, n_kv_heads, vocabulary, context : int
    guard : float32
        dim * epsilon.
    embedding : float32 [vocabulary, 32 * dim_blocks]
    rope_q, rope_k : float32 [context, 32 * head_blocks]
        Cosine and sine of each pair; those of the queries contain log2(e) / sqrt(head size).
    layers : tuple of :class:`QuantisedLayer`
    gain : float32 [32 * dim_blocks]
        Of the last norm.
    classifier : :class:`Matrix`
        Rows beyond the vocabulary have NaN scales, so that they are never picked.
    """

    name: str
    format: str
    dim_blocks: int
    hidden_blocks: int
    head_blocks: int
    n_heads: int
    n_kv_heads: int
    vocabulary: int
    context: int
    guard: np.float32
    embedding: np.ndarray
    rope_q: np.ndarray
    rope_k: np.ndarray
    layers: tuple
    gain: np.ndarray
    classifier: Matrix

    @property
    def queries(self):
        """Query heads that share a KV head."""
        return self.n_heads // self.n_kv_heads

    @property
    def kv_blocks(self):
        """Blocks of the keys of one token in one layer; as many as those of the values."""
        return self.n_kv_heads * self.head_blocks

    @property
    def q_blocks(self):
        """Blocks of the queries of one token in one layer."""
        return self.n_heads * self.head_blocks


def row_unit(slices, format):
    """Rows to which matrices are padded, so that every tile of a machine is full."""
    return max(BLOCK, slices * FORMATS[format].step)


def pad(x, axis, size):
    """``x`` with zeros appended along ``axis`` up to ``size``."""
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, size - x.shape[axis])
    return np.pad(x, widths)


def round_up(value, unit):
    return -(-value // unit) * unit


def quantise_model(model, format, slices=1):
    """The :class:`QuantisedModel` of a :class:`sw.models.Model`.

    Results do not depend on ``slices``; it only decides how many zeros are appended.
    """
    unit = row_unit(slices, format)
    dim = round_up(model.dim, unit)
    # The matrix of gate and up has twice as many rows.
    hidden = round_up(model.hidden, max(BLOCK, unit // 2))
    # The tiles of values must be full too: a column's output then ends where the next begins.
    head = round_up(model.head, max(BLOCK, slices))

    def matrix(name, w):
        try:
            weights, scales, factor = quantise_weights(w, format)
            return Matrix(weights, scales, format, factor)
        except ValueError as error:
            raise UserError(f"the weights {name} of {model.name} cannot be rounded to {format}: "
                            f"{error}") from None

    def heads(w):
        """Rows of heads, each padded to whole blocks."""
        w = w.reshape(-1, model.head, model.dim)
        return pad(pad(w, 1, head).reshape(-1, model.dim), 1, dim)

    def gain(g):
        return pad((g.astype(np.float64) * sqrt(model.dim)).astype(np.float32), 0, dim)

    def layer(n, w):
        kvq = np.concatenate([heads(w.wk), heads(w.wv), heads(w.wq)])
        output = pad(w.wo.reshape(model.dim, model.n_heads, model.head), 2, head)
        output = pad(output.reshape(model.dim, -1), 0, dim)
        gate, up = (pad(pad(x, 0, hidden), 1, dim).reshape(-1, BLOCK, dim) for x in (w.w1, w.w3))
        gate_up = np.stack([gate, up], axis=1).reshape(-1, dim)
        return QuantisedLayer(
            attention_gain=gain(w.attention_norm), ffn_gain=gain(w.ffn_norm),
            kvq=matrix(f"wq, wk, wv of layer {n}", pad(kvq, 0, round_up(len(kvq), unit))),
            output=matrix(f"wo of layer {n}", output),
            gate_up=matrix(f"w1, w3 of layer {n}", gate_up),
            down=matrix(f"w2 of layer {n}", pad(pad(w.w2, 0, dim), 1, hidden)))

    classifier = matrix("of the output matrix", pad(model.classifier, 1, dim))
    extra = round_up(model.vocabulary, unit) - model.vocabulary
    never = np.full((extra, classifier.scales.shape[1]), FORMATS[format].scale.nan,
                    classifier.scales.dtype)
    classifier = classifier._replace(weights=pad(classifier.weights, 0, model.vocabulary + extra),
                                     scales=np.concatenate([classifier.scales, never]))
    return QuantisedModel(
        name=model.name, format=format, dim_blocks=dim // BLOCK, hidden_blocks=hidden // BLOCK,
        head_blocks=head // BLOCK, n_heads=model.n_heads, n_kv_heads=model.n_kv_heads,
        vocabulary=model.vocabulary, context=model.context,
        guard=np.float32(model.dim * model.epsilon), embedding=pad(model.embedding, 1, dim),
        rope_q=rotary(model, head, log2(np.e) / sqrt(model.head)), rope_k=rotary(model, head, 1.0),
        layers=tuple(layer(n, w) for n, w in enumerate(model.layers)), gain=gain(model.norm),
        classifier=classifier)


def rotary(model, head, factor):
    """Table of cosine and sine by pairs, ``[context, head]``, zero in the padding."""
    angles = model.angles(model.context)
    table = np.stack([np.cos(angles), np.sin(angles)], axis=2) * factor
    return pad(table.reshape(model.context, -1).astype(np.float32), 1, head)
