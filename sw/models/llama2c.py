"""Reads the model files of llama2.c, versions 0, 1 and 2.

Version 0 is a header of seven int32 and float32 tensors; a negative vocabulary says that the output
matrix is stored too. Versions 1 and 2 begin with a magic number and a header of 256 bytes; version
2 holds its matrices as int8 with a float32 scale for each group. Files come from anywhere, so
nothing in them is believed before it has been compared with the length of the file.
"""

import struct
from pathlib import Path

import numpy as np

from sw.errors import UserError

from .model import Layer, Model


__all__ = ["load"]

MAGIC = 0x616B3432  # "ak42"
HEADER = 256
SIZES = ("dim", "hidden", "n_layers", "n_heads", "n_kv_heads", "vocabulary", "context")
#: Larger than any model that this machine can hold; keeps products of sizes harmless.
LIMITS = {"dim": 2**17, "hidden": 2**19, "n_layers": 2**12, "n_heads": 2**12,
          "n_kv_heads": 2**12, "vocabulary": 2**22, "context": 2**22}


class Cursor:
    """Takes one tensor after another from the bytes of a file."""

    def __init__(self, path, raw, at):
        self.path, self.raw, self.at = path, raw, at
        self.group = 0

    def take(self, name, *shape):
        """The next float32 tensor, checked to be finite."""
        count = int(np.prod(shape, dtype=object))
        value = np.frombuffer(self.raw, "<f4", count, self.at).reshape(shape)
        self.at += 4 * count
        if not np.isfinite(value).all():
            raise UserError(f"{self.path}: the tensor {name} holds values that are not numbers")
        return value

    def matrix(self, name, *shape):
        """The next matrix: float32, or int8 with a scale for each group of a version 2 file."""
        if not self.group:
            return self.take(name, *shape)
        count = int(np.prod(shape, dtype=object))
        values = np.frombuffer(self.raw, np.int8, count, self.at).astype(np.float32)
        self.at += count
        scales = self.take(f"{name} (scales)", count // self.group)
        return (values.reshape(-1, self.group) * scales[:, None]).reshape(shape)


def load(path):
    """The :class:`Model` of a file. Raises :class:`UserError` with one sentence if there is none.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"the model file {path} does not exist") from None
    except OSError as error:
        raise UserError(f"the model file {path} cannot be read: {error.strerror}") from None
    if len(raw) < 28:
        raise UserError(f"{path} is not a llama2.c model: it has only {len(raw)} bytes")
    version = 0
    if struct.unpack_from("<I", raw)[0] == MAGIC:
        if len(raw) < HEADER:
            raise UserError(f"{path} ends inside its header, after {len(raw)} bytes")
        version = struct.unpack_from("<i", raw, 4)[0]
        if version not in (1, 2):
            raise UserError(f"{path} is of version {version}; versions 0, 1 and 2 can be read")
    sizes = dict(zip(SIZES, struct.unpack_from("<7i", raw, 8 if version else 0)))
    if version:
        shared = raw[36] != 0
    else:
        shared = sizes["vocabulary"] > 0
        sizes["vocabulary"] = abs(sizes["vocabulary"])
    group = struct.unpack_from("<i", raw, 37)[0] if version == 2 else 0
    check_sizes(path, sizes, version, group)
    expected = file_size(sizes, version, shared, group)
    if len(raw) != expected:
        raise UserError(f"{path} has {len(raw)} bytes, but a model of the sizes in its header "
                        f"has {expected}: the file is cut short or is not a llama2.c model"
                        if len(raw) < expected else
                        f"{path} has {len(raw)} bytes, more than the {expected} of a model of the "
                        f"sizes in its header: it is not a llama2.c model of version {version}")
    cursor = Cursor(path, raw, HEADER if version else 28)
    cursor.group = group
    read = read_version_0 if version == 0 else read_version_1
    return read(cursor, path.stem, shared, **sizes)


def check_sizes(path, sizes, version, group):
    """Raise :class:`UserError` unless the sizes can be those of a model."""
    for name, value in sizes.items():
        if not 1 <= value <= LIMITS[name]:
            raise UserError(f"{path} is not a llama2.c model, or is damaged: its header gives "
                            f"{name} = {value}, where 1 to {LIMITS[name]} is possible")
    dim, heads, kv_heads = sizes["dim"], sizes["n_heads"], sizes["n_kv_heads"]
    if dim % (2 * heads) or heads % kv_heads:
        raise UserError(f"{path}: dim {dim} does not split into {heads} heads of even size, or "
                        f"these do not share {kv_heads} KV heads evenly")
    if version == 2:
        kv = dim // heads * kv_heads
        if group < 1 or dim % group or sizes["hidden"] % group or kv % group:
            raise UserError(f"{path}: groups of {group} weights do not divide its matrices")


def matrix_sizes(dim, hidden, n_heads, n_kv_heads):
    """Shapes of the matrices of a layer, by name."""
    kv = dim // n_heads * n_kv_heads
    return {"wq": (dim, dim), "wk": (kv, dim), "wv": (kv, dim), "wo": (dim, dim),
            "w1": (hidden, dim), "w2": (dim, hidden), "w3": (hidden, dim)}


def file_size(sizes, version, shared, group):
    """Bytes of a file with these sizes, as a Python integer."""
    dim, layers, vocabulary = sizes["dim"], sizes["n_layers"], sizes["vocabulary"]
    shapes = matrix_sizes(dim, sizes["hidden"], sizes["n_heads"], sizes["n_kv_heads"])
    weights = layers * sum(n * k for n, k in shapes.values())
    weights += vocabulary * dim * (1 if shared else 2)
    norms = (2 * layers + 1) * dim
    if version == 0:
        return 28 + 4 * (weights + norms + sizes["context"] * dim // sizes["n_heads"])
    if version == 1:
        return HEADER + 4 * (weights + norms)
    return HEADER + weights + 4 * (weights // group + norms)


def read_version_0(cursor, name, shared, *, dim, hidden, n_layers, n_heads, n_kv_heads,
                   vocabulary, context):
    """A model whose tensors are in the order of version 0."""
    take = cursor.take
    shapes = matrix_sizes(dim, hidden, n_heads, n_kv_heads)
    weights = {"embedding": take("embedding", vocabulary, dim)}
    weights["attention_norm"] = take("attention_norm", n_layers, dim)
    for key in ("wq", "wk", "wv", "wo"):
        weights[key] = take(key, n_layers, *shapes[key])
    weights["ffn_norm"] = take("ffn_norm", n_layers, dim)
    for key in ("w1", "w2", "w3"):
        weights[key] = take(key, n_layers, *shapes[key])
    weights["norm"] = take("norm", dim)
    take("rotary tables", context, dim // n_heads)  # computed here in float64 instead
    weights["classifier"] = (weights["embedding"] if shared
                             else take("classifier", vocabulary, dim))
    return build(name, weights, dim, hidden, n_heads, n_kv_heads, vocabulary, context)


def read_version_1(cursor, name, shared, *, dim, hidden, n_layers, n_heads, n_kv_heads,
                   vocabulary, context):
    """A model whose tensors are in the order of versions 1 and 2."""
    shapes = matrix_sizes(dim, hidden, n_heads, n_kv_heads)
    weights = {}
    for key in ("attention_norm", "ffn_norm"):
        weights[key] = cursor.take(key, n_layers, dim)
    weights["norm"] = cursor.take("norm", dim)
    weights["embedding"] = cursor.matrix("embedding", vocabulary, dim)
    for key in ("wq", "wk", "wv", "wo", "w1", "w2", "w3"):
        weights[key] = np.stack([cursor.matrix(f"{key} of layer {n}", *shapes[key])
                                 for n in range(n_layers)])
    weights["classifier"] = (weights["embedding"] if shared
                             else cursor.matrix("classifier", vocabulary, dim))
    return build(name, weights, dim, hidden, n_heads, n_kv_heads, vocabulary, context)


def build(name, weights, dim, hidden, n_heads, n_kv_heads, vocabulary, context):
    """The :class:`Model` of tensors that hold all layers each."""
    keys = list(Layer.__dataclass_fields__)
    layers = tuple(Layer(**{key: weights[key][n] for key in keys})
                   for n in range(len(weights["wq"])))
    return Model(name=name, dim=dim, hidden=hidden, n_heads=n_heads, n_kv_heads=n_kv_heads,
                 vocabulary=vocabulary, context=context, embedding=weights["embedding"],
                 layers=layers, norm=weights["norm"], classifier=weights["classifier"])
