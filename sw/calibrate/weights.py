"""Weights of a model by place, as float32 arrays, and as the machine's columns see their inputs."""

from dataclasses import replace

import numpy as np

from hw.formats import BLOCK
from sw.compile.heads import head_rows
from sw.models.stored import Foreign, Stored


__all__ = ["KINDS", "columns", "placed", "places", "restored", "values"]

#: Weights that have the same inputs, in the order of their use; of a layer, and of the model.
KINDS = {"attention": ("wk", "wv", "wq"), "heads": ("wo",), "ffn": ("w1", "w3"), "hidden": ("w2",),
         "output": ("classifier",)}


def places(model):
    """``(layer, name)`` and weights of all matrices; the classifier's layer is their number."""
    for n, layer in enumerate(model.layers):
        for name in sum(list(KINDS.values())[:-1], ()):
            yield (n, name), getattr(layer, name)
    yield (len(model.layers), "classifier"), model.classifier


def placed(model, found):
    """The model with the weights ``found``, by place."""
    classifier = found.get((len(model.layers), "classifier"), model.classifier)
    layers = [replace(layer, **{name: w for (at, name), w in found.items()
                                if at == n}) for n, layer in enumerate(model.layers)]
    return replace(model, layers=tuple(layers), classifier=classifier,
                   shared=model.shared or model.classifier is model.embedding)


def restored(model):
    """The model with float32 arrays in place of all stored weights."""
    return placed(model, {place: values(model, place[1], w) for place, w in places(model)})


def values(model, name, weights):
    """Float32 array ``[outputs, inputs]``; columns of padding are cut off."""
    if not isinstance(weights, Stored | Foreign):
        return weights
    array, heads = weights.dequantise(), model.n_heads * model.head
    size = {"wo": heads, "w2": model.hidden}.get(name, model.dim)
    if name == "wo" and array.shape[1] != size:
        rows = head_rows(model.head)
        array = array[:, :model.n_heads * rows].reshape(len(array), model.n_heads, rows)
        array = array[..., :model.head].reshape(-1, heads)
    return np.ascontiguousarray(array[:, :size])


def columns(model, name, x):
    """Inputs ``[..., size]`` of a matrix with zeros between, as its columns see them when it is
    padded to whole blocks, and the outputs of each head to whole half blocks.
    """
    if name == "wo":
        x = x.reshape(*x.shape[:-1], -1, model.head)
        x = pad_last(x, head_rows(model.head) - model.head)
        x = x.reshape(*x.shape[:-2], -1)
    return pad_last(x, -x.shape[-1] % BLOCK)


def pad_last(x, number):
    """``x`` with zeros behind its last axis."""
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, number)])
