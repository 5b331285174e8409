"""A model as the machine holds it: padded to blocks, rearranged, and rounded to integers."""

from collections import Counter
from dataclasses import dataclass
from math import log2, sqrt

import numpy as np

from hw.formats import FORMATS
from sw.models.attention import Attention

from .heads import HALF, columns_of_heads, head_rows, table_heads
from .matrix import Matrices, Matrix, without_padding


__all__ = ["Matrix", "QuantisedLayer", "QuantisedModel", "matrices_of", "quantise_model",
           "row_unit"]

BLOCK = 32


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


def matrices_of(layers):
    """All matrices of layers, in the order in which they lie in memory."""
    return [matrix for layer in layers for matrix in layer.matrices]


@dataclass(frozen=True, kw_only=True)
class QuantisedModel:
    """What the compiler lays out and :func:`verif.reference.forward.forward` computes with.

    Parameters
    ----------
    name, format : str
        Name of the model; formats of its weights, for people to read.
    activation, rule, kv : str
        Elements of activations, a name of :data:`hw.formats.ACTIVATIONS`; how the scales of
        activations, keys and values are found, a name of :data:`hw.isa.RULES`; and elements of
        keys and values, a name of :data:`hw.formats.KV`.
    dim_blocks, hidden_blocks, head_blocks : int
        Blocks of the residual stream, of the feed-forward network and of a head in attention.
    head_halves : int
        Half blocks of a head in matrices and in their results, where heads follow each other.
    n_heads, n_kv_heads, vocabulary, context : int
    guard : float32
        dim * epsilon.
    embedding : float32 [vocabulary, 32 * dim_blocks]
    rope_q, rope_k : float32 [context, 32 * table_blocks]
        Cosine and sine of each pair, of as many heads as make whole blocks; those of the queries
        contain log2(e) / sqrt(head size).
    layers : tuple of :class:`QuantisedLayer`
    gain : float32 [32 * dim_blocks]
        Of the last norm.
    classifier : :class:`Matrix`
        Rows beyond the vocabulary have NaN scales, so that they are never picked.
    ends : tuple of two int
        Tokens that end a text.
    notes : tuple of str
        Sentences for the user: what is not as it was in the file.
    attention : tuple of :class:`sw.models.attention.Attention`
        What each layer sees; empty if all see everything.
    together : int
        Query heads of a KV head that choose pages together, if layers do; 0: all of them.
    """

    name: str
    format: str
    dim_blocks: int
    hidden_blocks: int
    head_blocks: int
    head_halves: int
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
    ends: tuple = (1, 2)
    notes: tuple = ()
    activation: str = "int8"
    rule: str = "floor"
    kv: str = "int8"
    attention: tuple = ()
    together: int = 0

    @property
    def sees(self):
        """:class:`sw.models.attention.Attention` of each layer."""
        return self.attention or (Attention(),) * len(self.layers)

    @property
    def matrices(self):
        """Of all layers, and the classifier."""
        return *matrices_of(self.layers), self.classifier

    @property
    def queries(self):
        """Query heads that share a KV head."""
        return self.n_heads // self.n_kv_heads

    @property
    def kv_blocks(self):
        """Blocks of the keys of one token in one layer, as attention has them; as many as those of
        the values."""
        return self.n_kv_heads * self.head_blocks

    @property
    def q_blocks(self):
        """Blocks of the queries of one token in one layer, as attention has them."""
        return self.n_heads * self.head_blocks

    @property
    def kv_rows(self):
        """Blocks of the keys of one token, or of its values, as products give them."""
        return -(-self.n_kv_heads * self.head_halves // 2)

    @property
    def q_rows(self):
        """Blocks of the queries of one token as products give them, and of attention's output as
        products take it."""
        return -(-self.n_heads * self.head_halves // 2)

    @property
    def table_blocks(self):
        """Blocks after which a rotary table repeats."""
        return table_heads(self.head_halves) * self.head_halves // 2

    @property
    def compact(self):
        """Whether heads take less room in matrices than in attention."""
        return self.head_halves < 2 * self.head_blocks


def row_unit(slices, *formats):
    """Rows to which matrices are padded, so that every tile of a machine is full."""
    return max(BLOCK, *(slices * FORMATS[format].step for format in formats))


def formats_of(matrices):
    """Formats of matrices, that of most weights first."""
    share = Counter()
    for matrix in matrices:
        share[matrix.format] += matrix.weights.size
    return [format for format, _ in share.most_common()]


def pad(x, axis, size):
    """``x`` with zeros appended along ``axis`` up to ``size``."""
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, size - x.shape[axis])
    return np.pad(x, widths)


def round_up(value, unit):
    return -(-value // unit) * unit


def quantise_model(model, format=None, slices=1, *, activation="int8", rule="floor", kv="int8"):
    """The :class:`QuantisedModel` of a :class:`sw.models.Model`.

    Weights that are stored in a format of the machine keep it, others are rounded to ``format``,
    by default as the model says; ``rule`` is also that of E8M0 scales of weights. Results do not
    depend on ``slices``; it only decides how many zeros are appended.
    """
    unit = row_unit(slices, *model.formats(format))
    dim = round_up(model.dim, unit)
    # The matrix of gate and up has twice as many rows.
    hidden = round_up(model.hidden, max(BLOCK, unit // 2))
    # The tiles of values must be full too: a column's output then ends where the next begins.
    head = round_up(model.head, max(BLOCK, slices))
    rows = head_rows(model.head)
    columns = columns_of_heads(model)
    matrices = Matrices(model, format, rule)

    def heads(parts):
        """Rows of heads, padded so that keys, values and queries are whole blocks each."""
        padded = [pad(w.reshape(-1, model.head, w.shape[1]), 1, rows).reshape(-1, w.shape[1])
                  for w in parts]
        found = np.concatenate([pad(w, 0, round_up(len(w), BLOCK)) for w in padded])
        return pad(found, 0, round_up(len(found), unit))

    def turns(parts):
        """Rows of gate and up by turns, in blocks."""
        gate, up = (pad(w, 0, hidden).reshape(-1, BLOCK, w.shape[1]) for w in parts)
        return np.stack([gate, up], axis=1).reshape(-1, gate.shape[2])

    def outputs(parts):
        return pad(*parts, 0, dim)

    def output(n, w):
        """The output matrix of attention: columns of heads follow each other."""
        name = f"wo of layer {n}"
        # Those of a model that was rounded before have the columns of zeros already.
        if rows == model.head or w.shape[1] == columns:
            return make(name, [w], outputs, columns=columns)
        # Each head has columns that are zeros, so that scales of a file do not fit.
        return make(name, [w], lambda parts: pad(outputs(parts), 1, columns), runs=model.n_heads,
                    columns=rows)

    def gain(g):
        return pad((g.astype(np.float64) * sqrt(model.dim)).astype(np.float32), 0, dim)

    make = matrices.make
    found = {
        "kvq": [make(f"wq, wk, wv of layer {n}", [w.wk, w.wv, w.wq], heads, columns=dim)
                for n, w in enumerate(model.layers)],
        "output": [output(n, w.wo) for n, w in enumerate(model.layers)],
        "gate_up": [make(f"w1, w3 of layer {n}", [w.w1, w.w3], turns, columns=dim)
                    for n, w in enumerate(model.layers)],
        "down": [make(f"w2 of layer {n}", [w.w2], outputs, columns=hidden)
                 for n, w in enumerate(model.layers)]}
    # One program serves all layers.
    found = {key: matrices.alike(f"{key} of all layers", same) for key, same in found.items()}
    for key, size in (("kvq", model.dim), ("gate_up", model.dim), ("down", model.hidden)):
        found[key] = [without_padding(matrix, size) for matrix in found[key]]
    layers = tuple(QuantisedLayer(attention_gain=gain(w.attention_norm), ffn_gain=gain(w.ffn_norm),
                                  **{key: same[n] for key, same in found.items()})
                   for n, w in enumerate(model.layers))
    classifier = make("of the output matrix", [model.classifier],
                      lambda parts: pad(*parts, 0, model.vocabulary), columns=dim)
    classifier = without_padding(classifier, model.dim)
    extra = round_up(model.vocabulary, unit) - model.vocabulary
    never = np.full((extra, classifier.scales.shape[1]), FORMATS[classifier.format].scale.nan,
                    classifier.scales.dtype)
    classifier = classifier._replace(weights=pad(classifier.weights, 0, model.vocabulary + extra),
                                     scales=np.concatenate([classifier.scales, never]))
    return QuantisedModel(
        name=model.name, dim_blocks=dim // BLOCK, hidden_blocks=hidden // BLOCK,
        head_blocks=head // BLOCK, head_halves=rows // HALF, n_heads=model.n_heads,
        n_kv_heads=model.n_kv_heads,
        vocabulary=model.vocabulary, context=model.context,
        format=" and ".join(formats_of([*(m for w in layers for m in w.matrices), classifier])),
        guard=np.float32(model.dim * model.epsilon), embedding=pad(model.embedding, 1, dim),
        rope_q=rotary(model, log2(np.e) / sqrt(model.head)), rope_k=rotary(model, 1.0),
        layers=layers, gain=gain(model.norm), classifier=classifier, activation=activation,
        rule=rule, kv=kv, ends=model.ends, notes=model.notes + matrices.notes(),
        attention=model.attention)


def rotary(model, factor):
    """Table of cosine and sine by pairs, ``[context, elements]``, of as many heads as make whole
    blocks; zero in the padding of each."""
    rows = head_rows(model.head)
    angles = model.angles(model.context)
    table = np.stack([np.cos(angles), np.sin(angles)], axis=2) * factor
    table = pad(table.reshape(model.context, -1).astype(np.float32), 1, rows)
    return np.tile(table, (1, table_heads(rows // HALF)))
