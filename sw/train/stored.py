"""Writes the file of the bundled model: llama2.c's version 2, int8 weights with scales.

A header of 256 bytes (magic ``ak42``, version 2, seven sizes, a flag for the shared output matrix,
the group size), the float32 gains of the attention norms, the feed-forward norms and the final
norm, then for each matrix its int8 values and the float32 scale of each group: the embedding,
then wq, wk, wv, wo, w1, w2, w3, of all layers each.
"""

import struct
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import numpy as np

from sw.quantise import GROUP, quantise_weights


__all__ = ["ModelConfig", "write_model"]

MAGIC, VERSION, HEADER = 0x616B3432, 2, 256


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes of the model, in the order and under the names of the llama2.c header."""

    dim: int = 128
    hidden_dim: int = 384
    n_layers: int = 5
    n_heads: int = 4
    n_kv_heads: int = 2
    vocab_size: int = 512
    max_seq_len: int = 512

    def __post_init__(self):
        for name, value in asdict(self).items():
            if not isinstance(value, int) or value < 1:
                raise TypeError(f"{name} must be a positive integer, not {value!r}")
        for name in ("dim", "hidden_dim"):
            if getattr(self, name) % GROUP:
                raise ValueError(f"{name} must be a multiple of {GROUP}, "
                                 f"not {getattr(self, name)}")
        if self.dim % (2 * self.n_heads) or self.n_heads % self.n_kv_heads:
            raise ValueError(f"dim {self.dim} must split into {self.n_heads} heads of even size, "
                             f"and these into {self.n_kv_heads} groups")

    @property
    def head_dim(self):
        """Elements of one head."""
        return self.dim // self.n_heads

    @property
    def kv_dim(self):
        """Elements of the keys of one position."""
        return self.head_dim * self.n_kv_heads

    @property
    def norms(self):
        """Shape of each array of gains, in file order."""
        layers = (self.n_layers, self.dim)
        return {"attention_norm": layers, "ffn_norm": layers, "norm": (self.dim,)}

    @property
    def matrices(self):
        """Shape ``(count, outputs, inputs)`` of each kind of matrix, in file order."""
        shapes = {"wq": (self.dim, self.dim), "wk": (self.kv_dim, self.dim),
                  "wv": (self.kv_dim, self.dim), "wo": (self.dim, self.dim),
                  "w1": (self.hidden_dim, self.dim), "w2": (self.dim, self.hidden_dim),
                  "w3": (self.hidden_dim, self.dim)}
        layers = {name: (self.n_layers, *shape) for name, shape in shapes.items()}
        return {"embedding": (1, self.vocab_size, self.dim)} | layers


def write_model(path, config, tensors):
    """Write the file of a model whose weights are given as arrays.

    The scales are float16 values, so the hardware's INT8 weights equal the stored ones.

    Parameters
    ----------
    path : path of the file
    config : :class:`ModelConfig`
    tensors : dict
        array of each name of ``config.norms`` and ``config.matrices``
    """
    parts = [struct.pack("<Ii7iBi", MAGIC, VERSION, *astuple(config), 1, GROUP)]
    parts[0] = parts[0].ljust(HEADER, b"\0")
    for name, shape in (config.norms | config.matrices).items():
        array = np.asarray(tensors[name], np.float32)
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has values that are not finite")
        if name in config.norms:
            parts.append(array.astype("<f4").tobytes())
            continue
        for matrix in array:
            values, scales, _ = quantise_weights(matrix, "int8")
            parts += [values.tobytes(), scales.astype("<f4").tobytes()]
    Path(path).write_bytes(b"".join(parts))
