"""A forward pass in numpy, with the weights and activations rounded as the hardware rounds them.

It measures models; it follows the hardware's number formats but not its order of additions.
"""

import numpy as np

from sw.train.stored import GROUP


__all__ = ["WEIGHTS", "Inference", "round_activations", "round_int4", "round_int8"]


def _scaled(groups, scale, low, high):
    safe = np.where(scale == 0, np.float32(1), scale)
    return np.clip(np.rint(groups / safe), low, high) * scale


def round_int4(weights):
    """Return weights as INT4 in groups of 32 with a float16 scale.

    The value of largest magnitude becomes -8 times the scale.
    """
    groups = np.asarray(weights, np.float32).reshape(-1, GROUP)
    at = np.abs(groups).argmax(1)[:, None]
    largest = np.take_along_axis(groups, at, 1)
    scale = (largest / np.float32(-8)).astype(np.float16).astype(np.float32)
    return _scaled(groups, scale, -8, 7).reshape(np.shape(weights))


def round_int8(weights):
    """Return weights as INT8 in groups of 32 with a float16 scale."""
    groups = np.asarray(weights, np.float32).reshape(-1, GROUP)
    scale = np.abs(groups).max(1, keepdims=True) / np.float32(127)
    scale = scale.astype(np.float16).astype(np.float32)
    return _scaled(groups, scale, -127, 127).reshape(np.shape(weights))


def round_activations(x):
    """Return values as INT8 in blocks of 32 along the last axis with a power of two as scale."""
    length = x.shape[-1]
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, -length % GROUP)])
    blocks = padded.astype(np.float32).reshape(-1, GROUP)
    largest = np.abs(blocks).max(1, keepdims=True)
    _, exponent = np.frexp(largest)  # largest = m * 2**exponent with m in [0.5, 1)
    scale = np.where(largest == 0, np.float32(0), np.ldexp(np.float32(1), exponent - 7))
    return _scaled(blocks, scale, -127, 127).reshape(padded.shape)[..., :length]


#: How the weights of every matrix product are rounded, by name.
WEIGHTS = {"float32": lambda w: w, "int8": round_int8, "int4": round_int4}


def _norm(x, gain):
    return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + np.float32(1e-5)) * gain


def _softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Inference:
    """A model with its weights rounded.

    Parameters
    ----------
    model : :class:`~sw.train.stored.StoredModel`
    weights : str
        "float32", "int8" or "int4"
    activations : bool
        whether the operands of every product are rounded to INT8 blocks
    """

    def __init__(self, model, weights, activations):
        if weights not in WEIGHTS:
            raise ValueError(f"weights must be one of {', '.join(WEIGHTS)}, not {weights!r}")
        self.config = config = model.config
        self.model = model
        self.matrices = {name: WEIGHTS[weights](model[name]) for name in config.matrices}
        self.cast = round_activations if activations else (lambda x: x)
        pairs = np.arange(0, config.head_dim, 2) / config.head_dim
        angles = np.outer(np.arange(config.max_seq_len), 10_000.0 ** -pairs)[:, None]
        self.cos, self.sin = np.cos(angles).astype("f4"), np.sin(angles).astype("f4")

    def logits(self, ids):
        """Return the logits ``[time, vocabulary]`` after each of the ids."""
        config, model = self.config, self.model
        if not 0 < len(ids) <= config.max_seq_len:
            raise ValueError(f"expected 1 to {config.max_seq_len} tokens, not {len(ids)}")
        x = model["embedding"][0][np.asarray(ids)]
        for layer in range(config.n_layers):
            x = x + self._attention(_norm(x, model["attention_norm"][layer]), layer)
            y = _norm(x, model["ffn_norm"][layer])
            gate = self._product("w1", layer, y)
            gate = gate / (1 + np.exp(-gate)) * self._product("w3", layer, y)
            x = x + self._product("w2", layer, gate)
        return self._product("embedding", 0, _norm(x, model["norm"]))

    def loss(self, ids):
        """Return the sum of the losses, in nats, of every id after the first."""
        logits = self.logits(ids[:-1]).astype(np.float64)
        largest = logits.max(1, keepdims=True)
        logits -= largest + np.log(np.exp(logits - largest).sum(1, keepdims=True))
        return -logits[np.arange(len(ids) - 1), ids[1:]].sum()

    def greedy(self, ids, count, stop=(1, 2)):
        """Return ids followed by up to ``count`` likeliest ones, until one of ``stop``."""
        ids = list(ids)
        for _ in range(min(count, self.config.max_seq_len - len(ids))):
            best = int(self.logits(ids)[-1].argmax())
            if best in stop:
                break
            ids.append(best)
        return ids

    def _product(self, name, layer, x):
        return self.cast(x) @ self.matrices[name][layer].T

    def _rotate(self, x):
        cos, sin = self.cos[:len(x)], self.sin[:len(x)]
        even, odd = x[..., 0::2], x[..., 1::2]
        return np.stack([even * cos - odd * sin, even * sin + odd * cos], -1).reshape(x.shape)

    def _attention(self, x, layer):
        c, time = self.config, len(x)
        q = self._rotate(self._product("wq", layer, x).reshape(time, c.n_heads, c.head_dim))
        k = self._rotate(self._product("wk", layer, x).reshape(time, c.n_kv_heads, c.head_dim))
        v = self._product("wv", layer, x).reshape(time, c.n_kv_heads, c.head_dim)
        q, k, v = (self.cast(t).transpose(1, 0, 2) for t in (q, k, v))
        k, v = (t.repeat(c.n_heads // c.n_kv_heads, 0) for t in (k, v))
        scores = q @ k.transpose(0, 2, 1) / np.float32(c.head_dim ** 0.5)
        scores += np.triu(np.full((time, time), -np.inf, np.float32), 1)
        mixed = self.cast(_softmax(scores)) @ v
        return self._product("wo", layer, mixed.transpose(1, 0, 2).reshape(time, c.dim))
