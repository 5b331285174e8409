"""A forward pass in numpy, with the weights and activations rounded as the hardware rounds them.

It measures models; it follows the hardware's number formats but not its order of additions.
"""

import numpy as np

from hw.formats import FORMATS
from sw.quantise import GROUP, dequantise_weights, quantise_weights


__all__ = ["WEIGHTS", "Inference", "round_activations", "round_weights"]

#: How the weights of matrix products can be rounded.
WEIGHTS = ("float32", *FORMATS)
MATRICES = ("wq", "wk", "wv", "wo", "w1", "w2", "w3")


def round_activations(x):
    """Return values as INT8 in blocks of 32 along the last axis with a power of two as scale."""
    length = x.shape[-1]
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, -length % GROUP)])
    blocks = padded.astype(np.float32).reshape(-1, GROUP)
    largest = np.abs(blocks).max(1, keepdims=True)
    _, exponent = np.frexp(largest)  # largest = m * 2**exponent with m in [0.5, 1)
    scale = np.where(largest == 0, np.float32(0), np.ldexp(np.float32(1), exponent - 7))
    safe = np.where(scale == 0, np.float32(1), scale)
    rounded = np.clip(np.rint(blocks / safe), -127, 127) * scale
    return rounded.reshape(padded.shape)[..., :length]


def round_weights(weights, format):
    """Return a matrix rounded to a format of ``WEIGHTS``."""
    if format not in WEIGHTS:
        raise ValueError(f"weights must be one of {', '.join(WEIGHTS)}, not {format!r}")
    if format == "float32":
        return weights
    integers, scales, factor = quantise_weights(weights, format)
    return dequantise_weights(integers, scales, format, factor)


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
    activations : bool
        whether the operands of every product are rounded to INT8 blocks
    """

    def __init__(self, model, weights, activations):
        self.model = model
        self.layers = [{name: round_weights(getattr(layer, name), weights) for name in MATRICES}
                       for layer in model.layers]
        self.classifier = round_weights(model.classifier, weights)
        self.cast = round_activations if activations else (lambda x: x)
        angles = model.angles(model.context)[:, None]
        self.cos, self.sin = np.cos(angles).astype("f4"), np.sin(angles).astype("f4")

    def logits(self, ids):
        """Return the logits ``[time, vocabulary]`` after each of the ids."""
        if not 0 < len(ids) <= self.model.context:
            raise ValueError(f"expected 1 to {self.model.context} tokens, not {len(ids)}")
        x = self.model.embedding[np.asarray(ids)]
        for layer, w in zip(self.model.layers, self.layers, strict=True):
            x = x + self._attention(self._norm(x, layer.attention_norm), w)
            y = self.cast(self._norm(x, layer.ffn_norm))
            gate = y @ w["w1"].T
            gate = gate / (1 + np.exp(-gate)) * (y @ w["w3"].T)
            x = x + self.cast(gate) @ w["w2"].T
        return self.cast(self._norm(x, self.model.norm)) @ self.classifier.T

    def loss(self, ids):
        """Return the sum of the losses, in nats, of every id after the first."""
        logits = self.logits(ids[:-1]).astype(np.float64)
        largest = logits.max(1, keepdims=True)
        logits -= largest + np.log(np.exp(logits - largest).sum(1, keepdims=True))
        return -logits[np.arange(len(ids) - 1), ids[1:]].sum()

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

    def _attention(self, x, w):
        model, time, x = self.model, len(x), self.cast(x)
        q = self._rotate((x @ w["wq"].T).reshape(time, model.n_heads, model.head))
        k = self._rotate((x @ w["wk"].T).reshape(time, model.n_kv_heads, model.head))
        v = (x @ w["wv"].T).reshape(time, model.n_kv_heads, model.head)
        q, k, v = (self.cast(t).transpose(1, 0, 2) for t in (q, k, v))
        k, v = (t.repeat(model.n_heads // model.n_kv_heads, 0) for t in (k, v))
        scores = q @ k.transpose(0, 2, 1) / np.float32(model.head ** 0.5)
        scores += np.triu(np.full((time, time), -np.inf, np.float32), 1)
        mixed = self.cast(_softmax(scores)) @ v
        return self.cast(mixed.transpose(1, 0, 2).reshape(time, model.dim)) @ w["wo"].T
