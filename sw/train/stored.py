"""The file of the bundled model: llama2.c's version 2, int8 weights in groups with their scales.

A header of 256 bytes (magic ``ak42``, version 2, seven sizes, a flag for the shared output matrix,
the group size), the float32 gains of the attention norms, the feed-forward norms and the final
norm, then for each matrix its int8 values and the float32 scale of each group: the embedding,
then wq, wk, wv, wo, w1, w2, w3, of all layers each.
"""

import struct
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import numpy as np


__all__ = ["GROUP", "ModelConfig", "StoredModel"]

GROUP = 32
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


class StoredModel:
    """Gains and matrices of a model, as float32 arrays.

    Parameters
    ----------
    config : :class:`ModelConfig`
    tensors : dict
        array of each name of ``config.norms`` and ``config.matrices``
    """

    def __init__(self, config, tensors):
        self.config = config
        self.tensors = {}
        for name, shape in (config.norms | config.matrices).items():
            if name not in tensors:
                raise ValueError(f"the model lacks {name}")
            array = np.asarray(tensors[name], np.float32)
            if array.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} has values that are not finite")
            self.tensors[name] = array

    def __getitem__(self, name):
        return self.tensors[name]

    def save(self, path):
        """Write the file, with scales that float16 holds exactly.

        So the hardware's INT8 weights, which have float16 scales, equal the stored ones.
        """
        header = struct.pack("<Ii7iBi", MAGIC, VERSION, *astuple(self.config), 1, GROUP)
        parts = [header.ljust(HEADER, b"\0")]
        parts += [self[name].astype("<f4").tobytes() for name in self.config.norms]
        for name in self.config.matrices:
            for matrix in self[name]:
                groups = matrix.reshape(-1, GROUP)
                scale = (np.abs(groups).max(1, keepdims=True) / np.float32(127))
                scale = scale.astype(np.float16).astype(np.float32)
                safe = np.where(scale == 0, np.float32(1), scale)
                values = np.clip(np.rint(groups / safe), -127, 127) * (scale != 0)
                parts += [values.astype(np.int8).tobytes(), scale.astype("<f4").tobytes()]
        Path(path).write_bytes(b"".join(parts))

    @classmethod
    def load(cls, path):
        """Read the file."""
        raw = Path(path).read_bytes()
        if len(raw) < HEADER:
            raise ValueError(f"{path}: {len(raw)} bytes are no model file")
        magic, version, *sizes, shared, group = struct.unpack_from("<Ii7iBi", raw)
        if (magic, version) != (MAGIC, VERSION):
            raise ValueError(f"{path}: expected magic {MAGIC:#x} version {VERSION}, "
                             f"not {magic:#x} version {version}")
        if shared != 1 or group != GROUP:
            raise ValueError(f"{path}: expected a shared output matrix and groups of {GROUP}, "
                             f"not shared={shared} and groups of {group}")
        names = ModelConfig.__dataclass_fields__
        config = ModelConfig(**dict(zip(names, sizes, strict=True)))
        norms = sum(int(np.prod(shape)) for shape in config.norms.values())
        weights = sum(int(np.prod(shape)) for shape in config.matrices.values())
        size = HEADER + 4 * norms + weights + weights // GROUP * 4
        if len(raw) != size:
            raise ValueError(f"{path}: expected {size} bytes, not {len(raw)}")
        tensors, at = {}, HEADER
        for name, shape in config.norms.items():
            count = int(np.prod(shape))
            tensors[name] = np.frombuffer(raw, "<f4", count, at).reshape(shape)
            at += 4 * count
        for name, (count, outputs, inputs) in config.matrices.items():
            found = []
            for _ in range(count):
                values = np.frombuffer(raw, np.int8, outputs * inputs, at)
                at += outputs * inputs
                scale = np.frombuffer(raw, "<f4", outputs * inputs // GROUP, at)
                at += 4 * len(scale)
                matrix = values.reshape(-1, GROUP) * scale[:, None]
                found.append(matrix.reshape(outputs, inputs))
            tensors[name] = np.stack(found)
        return cls(config, tensors)
