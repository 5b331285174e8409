"""Small random models, and the plain float32 forward pass that the integer one approximates."""

import struct
from dataclasses import replace

import numpy as np

from sw.bench.random_model import random_model
from sw.compile.heads import head_rows
from sw.quantise import dequantise_weights, quantise_weights


__all__ = ["float_logits", "float_loss", "random_model", "rounded", "save", "save_tokenizer"]


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


def rounded(model, format):
    """The model with its weights rounded as for the machine, and nothing else."""
    def matrix(w):
        integers, scales, factor = quantise_weights(w, format)
        return dequantise_weights(integers, scales, format, factor)[:, :w.shape[1]]

    def by_heads(w):
        """Each head's columns are padded to half blocks of their own."""
        size = head_rows(model.head)
        heads = w.reshape(len(w), model.n_heads, model.head)
        padded = np.pad(heads, ((0, 0), (0, 0), (0, size - model.head)))
        padded = matrix(padded.reshape(len(w), -1))[:, :model.n_heads * size]
        padded = padded.reshape(len(w), model.n_heads, size)
        return np.ascontiguousarray(padded[:, :, :model.head]).reshape(len(w), -1)

    layers = tuple(replace(
        layer, wo=by_heads(layer.wo),
        **{key: matrix(getattr(layer, key)) for key in ("wq", "wk", "wv", "w1", "w2", "w3")})
        for layer in model.layers)
    return replace(model, layers=layers, classifier=matrix(model.classifier))


def save(model, path, version=0, group=32):
    """Write a model as a llama2.c file."""
    shared = model.classifier is model.embedding
    sizes = [model.dim, model.hidden, len(model.layers), model.n_heads, model.n_kv_heads,
             model.vocabulary, model.context]
    parts = []

    def put(*tensors):
        parts.extend(np.asarray(tensor, "<f4").tobytes() for tensor in tensors)

    def put_matrix(*tensors):
        if version < 2:
            put(*tensors)
            return
        for tensor in tensors:
            groups = tensor.reshape(-1, group)
            scales = np.abs(groups).max(axis=1) / np.float32(127)
            parts.append(np.rint(groups / scales[:, None]).astype(np.int8).tobytes())
            put(scales)

    def of_layers(*keys):
        return [getattr(layer, key) for key in keys for layer in model.layers]

    output = [] if shared else [model.classifier]
    if version == 0:
        sizes[5] = sizes[5] if shared else -sizes[5]
        header = struct.pack("<7i", *sizes)
        put(model.embedding, *of_layers("attention_norm", "wq", "wk", "wv", "wo", "ffn_norm", "w1",
                                        "w2", "w3"), model.norm)
        put(np.zeros((model.context, model.head)), *output)
    else:
        header = struct.pack("<Ii7iB", 0x616B3432, version, *sizes, shared)
        header += struct.pack("<i", group) if version == 2 else b""
        header = header.ljust(256, b"\0")
        put(*of_layers("attention_norm", "ffn_norm"), model.norm)
        put_matrix(model.embedding, *of_layers("wq", "wk", "wv", "wo", "w1", "w2", "w3"), *output)
    path.write_bytes(header + b"".join(parts))
    return path


def save_tokenizer(path, vocabulary, pieces=()):
    """Write a tokenizer file: bytes, some pieces with falling scores, and fillers."""
    texts = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(f"<0x{n:02X}>".encode() for n in range(256))]
    texts += [piece.encode() for piece in pieces]
    texts += [f"<filler {n}>".encode() for n in range(vocabulary - len(texts))]
    raw = struct.pack("<i", max(map(len, texts)))
    for n, text in enumerate(texts):
        raw += struct.pack("<fi", -float(n), len(text)) + text
    path.write_bytes(raw)
    return path
