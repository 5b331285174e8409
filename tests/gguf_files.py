"""Writes models as GGUF files, with the package of llama.cpp."""

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

from hw.formats import ELEMENTS
from sw.quantise import quantise_weights


__all__ = ["NAMES", "Type", "save_gguf", "stored_bytes"]

#: Our names of a layer's tensors, and those of GGUF.
NAMES = {"attention_norm": "attn_norm", "wq": "attn_q", "wk": "attn_k", "wv": "attn_v",
         "wo": "attn_output", "ffn_norm": "ffn_norm", "w1": "ffn_gate", "w2": "ffn_down",
         "w3": "ffn_up"}


def nvfp4_bytes(w):
    """Bytes of NVFP4 blocks and the factor of a matrix: the package cannot round to it."""
    integers, scales, factor = quantise_weights(w, "nvfp4")
    codes = ELEMENTS["e2m1"].encode(integers).reshape(-1, 4, 2, 8)
    packed = codes[:, :, 0] | codes[:, :, 1] << 4
    blocks = np.concatenate([scales.reshape(-1, 4), packed.reshape(-1, 32)], axis=1)
    return blocks.reshape(len(w), -1), factor


def stored_bytes(w, type):
    """Array for the package's writer."""
    if type == Type.NVFP4:
        return nvfp4_bytes(w)[0]
    if type == Type.Q6_K:
        # The package cannot round to it: any elements and scales, and a small FP16 number.
        blocks = np.random.default_rng(w.size).integers(0, 256, (w.size // 256, 210), np.uint8)
        blocks[:, 208:] = np.frombuffer(np.float16(1e-4).tobytes(), np.uint8)
        return blocks.reshape(len(w), -1)
    return gguf.quants.quantize(np.ascontiguousarray(w), type)


def save_gguf(model, path, types=None, *, architecture="llama", changed=None, leave_out=(),
              tokenizer=None, more=None):
    """Write a model.

    Parameters
    ----------
    types : dict
        Type by a part of tensors' names, the first that is there; F32 by default.
    changed : dict
        Metadata without the architecture's name, which replaces what belongs there.
    leave_out : tuple of str
        Keys and tensors that are missing.
    tokenizer : function
        Adds a tokenizer to the writer.
    more : dict
        Further tensors of float32.
    """
    writer = gguf.GGUFWriter(path, architecture)
    metadata = {
        "block_count": len(model.layers), "context_length": model.context,
        "embedding_length": model.dim, "feed_forward_length": model.hidden,
        "attention.head_count": model.n_heads, "attention.head_count_kv": model.n_kv_heads,
        "attention.layer_norm_rms_epsilon": float(model.epsilon),
        "rope.freq_base": float(model.theta), "rope.dimension_count": model.head,
        **(changed or {})}
    for key, value in metadata.items():
        if key in leave_out:
            continue
        key = key if key.startswith(("general.", "split.")) else f"{architecture}.{key}"
        add = {int: writer.add_uint32, float: writer.add_float32, bool: writer.add_bool,
               str: writer.add_string, list: writer.add_array}[type(value)]
        add(key, value)
    if tokenizer is not None:
        tokenizer(writer)
    tensors = {"token_embd": model.embedding, "output_norm": model.norm}
    if model.classifier is not model.embedding:
        tensors["output"] = model.classifier
    for n, layer in enumerate(model.layers):
        tensors |= {f"blk.{n}.{name}": getattr(layer, key) for key, name in NAMES.items()}
    types = types or {}
    for name, value in tensors.items():
        type_ = Type.F32 if value.ndim == 1 else next(
            (type_ for end, type_ in types.items() if end in name), Type.F32)
        if f"{name}.weight" in leave_out:
            continue
        if type_ in (Type.F32, Type.F16):
            writer.add_tensor(f"{name}.weight", stored_bytes(value, type_))
            continue
        writer.add_tensor(f"{name}.weight", stored_bytes(value, type_), raw_dtype=type_)
        if type_ == Type.NVFP4 and name != "token_embd":
            writer.add_tensor(f"{name}.scale", np.array([nvfp4_bytes(value)[1]]))
    for name, value in (more or {}).items():
        writer.add_tensor(name, np.asarray(value, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
