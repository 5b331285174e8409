"""Small random models, and the plain float32 forward pass that the integer one approximates."""

import numpy as np

from sw.models.model import Layer, Model


__all__ = ["float_logits", "float_loss", "random_model"]


def random_model(dim=64, hidden=96, n_layers=2, n_heads=4, n_kv_heads=2, vocabulary=300, context=48,
                 shared=True, seed=1):
    """A model with weights of sensible size."""
    rng = np.random.default_rng(seed)
    kv = dim // n_heads * n_kv_heads

    def matrix(n, k):
        return (rng.standard_normal((n, k)) / np.sqrt(k)).astype(np.float32)

    def gain():
        return (1 + 0.2 * rng.standard_normal(dim)).astype(np.float32)

    layers = tuple(Layer(
        attention_norm=gain(), wq=matrix(dim, dim) * 2, wk=matrix(kv, dim) * 2, wv=matrix(kv, dim),
        wo=matrix(dim, dim), ffn_norm=gain(), w1=matrix(hidden, dim), w2=matrix(dim, hidden),
        w3=matrix(hidden, dim)) for _ in range(n_layers))
    embedding = matrix(vocabulary, dim) * 4
    return Model(name="random", dim=dim, hidden=hidden, n_heads=n_heads, n_kv_heads=n_kv_heads,
                 vocabulary=vocabulary, context=context, embedding=embedding, layers=layers,
                 norm=gain(), classifier=embedding if shared else matrix(vocabulary, dim) * 4)


def float_logits(model, tokens):
    """Logits after every token of ``tokens [text, position]``, in float32."""
    texts, count = tokens.shape
    angles = model.angles(count)
    cos, sin = (f(angles).astype(np.float32)[:, None] for f in (np.cos, np.sin))

    def norm(x, gain):
        return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + model.epsilon) * gain

    def rotate(x):
        even, odd = x[..., 0::2], x[..., 1::2]
        return np.stack([even * cos - odd * sin, even * sin + odd * cos], -1).reshape(x.shape)

    mask = np.triu(np.full((count, count), -np.inf, np.float32), 1)
    x = model.embedding[tokens]
    for w in model.layers:
        y = norm(x, w.attention_norm)
        q, k, v = (
            (y @ m.T).reshape(texts, count, -1, model.head) for m in (w.wq, w.wk, w.wv))
        q, k = rotate(q), rotate(k)
        k, v = (np.repeat(z, model.n_heads // model.n_kv_heads, axis=2) for z in (k, v))
        q, k, v = (z.transpose(0, 2, 1, 3) for z in (q, k, v))
        s = q @ k.transpose(0, 1, 3, 2) / np.float32(np.sqrt(model.head)) + mask
        p = np.exp(s - s.max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
        x = x + (p @ v).transpose(0, 2, 1, 3).reshape(texts, count, -1) @ w.wo.T
        y = norm(x, w.ffn_norm)
        a = y @ w.w1.T
        x = x + (a / (1 + np.exp(-a)) * (y @ w.w3.T)) @ w.w2.T
    return norm(x, model.norm) @ model.classifier.T


def float_loss(model, tokens, context, batch=16):
    """As :func:`verif.reference.forward.loss`, in float32."""
    from verif.reference.forward import log_likelihood

    windows = (len(tokens) - 1) // context
    table = np.array([tokens[n * context:(n + 1) * context + 1] for n in range(windows)])
    total = 0.0
    for start in range(0, windows, batch):
        part = table[start:start + batch]
        total -= log_likelihood(float_logits(model, part[:, :-1]), part[:, 1:]).sum()
    return total / (windows * context)
