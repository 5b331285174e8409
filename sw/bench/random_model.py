"""Models with random weights: their shapes cost what those of real models cost."""

import numpy as np

from sw.models.model import Layer, Model


__all__ = ["SHAPES", "random_model", "shaped"]


#: Sizes of models that many people know. The number is that of weights, shared ones once.
SHAPES = {
    # stories15M of llama2.c
    "15M": dict(dim=288, hidden=768, n_layers=6, n_heads=6, n_kv_heads=6, vocabulary=32000),
    # SmolLM2-135M
    "135M": dict(dim=576, hidden=1536, n_layers=30, n_heads=9, n_kv_heads=3, vocabulary=49152),
}


def random_model(dim=64, hidden=96, n_layers=2, n_heads=4, n_kv_heads=2, vocabulary=300, context=48,
                 shared=True, seed=1, sharpness=2, name="random"):
    """A :class:`sw.models.Model` with weights of sensible size; ``sharpness`` scales queries and
    keys."""
    rng = np.random.default_rng(seed)
    kv = dim // n_heads * n_kv_heads

    def matrix(n, k):
        return (rng.standard_normal((n, k)) / np.sqrt(k)).astype(np.float32)

    def gain():
        return (1 + 0.2 * rng.standard_normal(dim)).astype(np.float32)

    layers = tuple(Layer(
        attention_norm=gain(), wq=matrix(dim, dim) * sharpness,
        wk=matrix(kv, dim) * sharpness, wv=matrix(kv, dim),
        wo=matrix(dim, dim), ffn_norm=gain(), w1=matrix(hidden, dim), w2=matrix(dim, hidden),
        w3=matrix(hidden, dim)) for _ in range(n_layers))
    embedding = matrix(vocabulary, dim) * 4
    return Model(name=name, dim=dim, hidden=hidden, n_heads=n_heads, n_kv_heads=n_kv_heads,
                 vocabulary=vocabulary, context=context, embedding=embedding, layers=layers,
                 norm=gain(), classifier=embedding if shared else matrix(vocabulary, dim) * 4)


def shaped(name, context=256):
    """A random model with the sizes of :data:`SHAPES`."""
    return random_model(**SHAPES[name], context=context, name=f"random {name}")
