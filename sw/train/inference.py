"""A forward pass in numpy, with the weights and activations rounded as the hardware rounds them.

It measures models; it follows the hardware's number formats but not its order of additions.
"""

import numpy as np

from hw.formats import ACTIVATIONS, FORMATS, KV
from sw.quantise import GROUP, dequantise_weights, quantise_weights
from sw.train.sight import Sight
from verif.reference.quantise import quantise


__all__ = ["WEIGHTS", "Inference", "round_activations", "round_weights"]

#: How the weights of matrix products can be rounded, and their other operands.
WEIGHTS = ("float32", *FORMATS)
OPERANDS = ("float32", *ACTIVATIONS)
MATRICES = ("wq", "wk", "wv", "wo", "w1", "w2", "w3")


def round_activations(x, element="int8", rule="floor", group=1):
    """Return values as elements with a power-of-two scale for ``group`` blocks of 32 along the
    last axis.
    """
    length = x.shape[-1]
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, -length % GROUP)])
    integers, codes = quantise(padded, group, element, rule)
    exponent = codes.astype(np.int32) - 127 + KV[element].lsb
    rounded = np.ldexp(integers.astype(np.float32), np.repeat(exponent, GROUP, axis=-1))
    return rounded[..., :length]


def round_weights(weights, format, rule="floor"):
    """Return a matrix rounded to a format of ``WEIGHTS``."""
    if format not in WEIGHTS:
        raise ValueError(f"weights must be one of {', '.join(WEIGHTS)}, not {format!r}")
    if format == "float32":
        return weights
    integers, scales, factor = quantise_weights(weights, format, rule)
    return dequantise_weights(integers, scales, format, factor)[:, :weights.shape[1]]


def _softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Inference:
    """A model with its weights rounded.

    Parameters
    ----------
    model : :class:`~sw.models.Model`
        sizes must be multiples of 32
    weights : str
        "float32", or a name of :data:`hw.formats.FORMATS`
    activations : str
        "float32", or a name of :data:`hw.formats.ACTIVATIONS`, to which the other operands of
        products are rounded; then probabilities are rounded to INT8
    rule : str
        of power-of-two scales, "floor" or "up"
    kv : str
        a name of :data:`hw.formats.KV`, to which keys and values are rounded if activations are
    sight : :class:`~sw.train.sight.Sight`
        what attention sees; by default all
    """

    def __init__(self, model, weights, activations, *, rule="floor", kv="int8", sight=None):
        if activations not in OPERANDS:
            raise ValueError(f"activations must be one of {', '.join(OPERANDS)}, not "
                             f"{activations!r}")
        self.model = model
        self.layers = [{name: round_weights(getattr(layer, name), weights, rule)
                        for name in MATRICES} for layer in model.layers]
        self.classifier = round_weights(model.classifier, weights, rule)
        self.rounded, self.rule = activations != "float32", rule
        self.activations, self.kv = activations, kv
        self.sight = sight or Sight()
        angles = model.angles(model.context)[:, None]
        self.cos, self.sin = np.cos(angles).astype("f4"), np.sin(angles).astype("f4")

    def cast(self, x, element=None, rule=None, group=1):
        """Return an operand as products see it; by default an activation."""
        if not self.rounded:
            return x
        return round_activations(x, element or self.activations, rule or self.rule, group)

    def logits(self, ids):
        """Return the logits ``[time, vocabulary]`` after each of the ids."""
        if not 0 < len(ids) <= self.model.context:
            raise ValueError(f"expected 1 to {self.model.context} tokens, not {len(ids)}")
        x = self.model.embedding[np.asarray(ids)]
        for n, (layer, w) in enumerate(zip(self.model.layers, self.layers, strict=True)):
            x = x + self._attention(self._norm(x, layer.attention_norm), w, n)
            y = self.cast(self._norm(x, layer.ffn_norm))
            gate = y @ w["w1"].T
            gate = gate / (1 + np.exp(-gate)) * (y @ w["w3"].T)
            x = x + self.cast(gate) @ w["w2"].T
        return self.cast(self._norm(x, self.model.norm)) @ self.classifier.T

    def losses(self, ids):
        """Return the losses, in nats, of every id after the first."""
        logits = self.logits(ids[:-1]).astype(np.float64)
        largest = logits.max(1, keepdims=True)
        logits -= largest + np.log(np.exp(logits - largest).sum(1, keepdims=True))
        return -logits[np.arange(len(ids) - 1), ids[1:]]

    def loss(self, ids):
        """Return the sum of the losses, in nats, of every id after the first."""
        return self.losses(ids).sum()

    def greedy(self, ids, count, stop=(1, 2)):
        """Return ids followed by up to ``count`` likeliest ones, until one of ``stop``."""
        ids = list(ids)
        for _ in range(min(count, self.model.context - len(ids))):
            best = int(self.logits(ids)[-1].argmax())
            if best in stop:
                break
            ids.append(best)
        return ids

    def _norm(self, x, gain):
        power = np.mean(x * x, -1, keepdims=True) + np.float32(self.model.epsilon)
        return x / np.sqrt(power) * gain

    def _rotate(self, x):
        cos, sin = self.cos[:len(x)], self.sin[:len(x)]
        even, odd = x[..., 0::2], x[..., 1::2]
        return np.stack([even * cos - odd * sin, even * sin + odd * cos], -1).reshape(x.shape)

    def _attention(self, x, w, layer):
        model, time, x = self.model, len(x), self.cast(x)
        q = self._rotate((x @ w["wq"].T).reshape(time, model.n_heads, model.head))
        k = self._rotate((x @ w["wk"].T).reshape(time, model.n_kv_heads, model.head))
        v = (x @ w["wv"].T).reshape(time, model.n_kv_heads, model.head)
        q, k = self.cast(q), self.cast(k, self.kv)
        v = self.cast(v, self.kv, group=-(-model.head // GROUP))
        q, k, v = (t.transpose(1, 0, 2) for t in (q, k, v))
        seen = self.sight.mask(layer, q, k)
        k, v = (t.repeat(model.n_heads // model.n_kv_heads, 0) for t in (k, v))
        scores = q @ k.transpose(0, 2, 1) / np.float32(model.head ** 0.5)
        scores = np.where(seen, scores, np.float32(-np.inf))
        mixed = self.cast(_softmax(scores), "int8", "floor") @ v
        return self.cast(mixed.transpose(1, 0, 2).reshape(time, model.dim)) @ w["wo"].T
