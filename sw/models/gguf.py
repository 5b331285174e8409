"""Reads models of the llama architecture from GGUF files, their weights as they are in the file.

What a file holds in a format of the machine (:data:`sw.models.stored.LAYOUTS`) keeps its integers
and scales. All else becomes float32 and is rounded when the model is compiled. Pairs of rotary
elements are neighbours, as in llama2.c: llama.cpp's converter has put the rows of q and k in that
order.
"""

import numpy as np

from sw.errors import UserError

from .attention import MOST_WINDOW, Attention, choose_attention
from .gguf_cursor import plain
from .gguf_file import Gguf
from .llama2c import LIMITS
from .model import Layer, Model
from .stored import LAYOUTS, Foreign, unpack


__all__ = ["ARCHITECTURES", "load"]

#: Names of the one graph that is run: norm, attention, norm, gated feed-forward network.
ARCHITECTURES = "llama", "internlm2", "xverse"
#: Positions of which a model has rotary rows at most; the metadata's number is backed by nothing.
POSITIONS = 1 << 18
#: Tensors of a layer, by our names.
TENSORS = {"attention_norm": "attn_norm", "wq": "attn_q", "wk": "attn_k", "wv": "attn_v",
           "wo": "attn_output", "ffn_norm": "ffn_norm", "w1": "ffn_gate", "w2": "ffn_down",
           "w3": "ffn_up"}
#: Metadata that changes the graph, and the values with which it does not.
NEUTRAL = {"expert_count": (0,), "attention.causal": (True,), "attention.scale": (0.0,)}
TOKENIZER = "tokenizer.ggml."
FLOATS = "F32", "F16", "BF16"
#: Tokens that end an answer, although their files may not say so.
ENDS = b"<|eot_id|>", b"<|im_end|>", b"<|end|>", b"<end_of_turn>", b"<|endoftext|>", b"</s>"


def load(path):
    """The :class:`Model` of a GGUF file. Raises :class:`UserError` with one sentence if there is
    none that can be run.
    """
    file = Gguf(path)
    architecture = file.text("general.architecture")
    if architecture not in ARCHITECTURES:
        raise UserError(f"{path} holds a model of the architecture {plain(architecture)}; those "
                        f"that can be run are {', '.join(ARCHITECTURES)}")
    if file.integer("split.count", 1, least=0) > 1:
        raise UserError(f"{path} is one part of a model that is split into several files; join "
                        "them with llama-gguf-split --merge")
    for name, values in NEUTRAL.items():
        value = file.metadata.get(f"{architecture}.{name}", values[0])
        if not isinstance(value, (bool, int, float)) or value not in values:
            raise UserError(f"{path}: a model with {architecture}.{name} cannot be run")
    return Weights(file, architecture).model()


class Weights:
    """Takes the tensors of a file."""

    def __init__(self, file, architecture):
        self.file, self.prefix = file, architecture + "."
        self.used = set()
        #: Weights that stay as they are, by format.
        self.kept = {}

    def model(self):
        file = self.file
        dim = self.size("embedding_length", "dim")
        hidden = self.size("feed_forward_length", "hidden")
        heads = self.size("attention.head_count", "n_heads")
        kv_heads = self.size("attention.head_count_kv", "n_kv_heads", heads)
        head = self.head(dim, heads, kv_heads)
        shapes = {"wq": (heads * head, dim), "wk": (kv_heads * head, dim),
                  "wv": (kv_heads * head, dim), "wo": (dim, heads * head),
                  "w1": (hidden, dim), "w2": (dim, hidden), "w3": (hidden, dim)}
        embedding, classifier = self.ends(dim)
        layers = tuple(Layer(**{
            key: (self.matrix(f"blk.{n}.{name}", *shapes[key]) if key in shapes
                  else self.vector(f"blk.{n}.{name}.weight", dim))
            for key, name in TENSORS.items()})
            for n in range(self.size("block_count", "n_layers")))
        norm = self.vector("output_norm.weight", dim)
        factors = self.rope_factors(head)
        self.check_all_used()
        context = self.size("context_length", "context")
        notes = () if context <= POSITIONS else (
            f"{file.path.stem} sees {context} positions; the first {POSITIONS} are used",)
        vocabulary = len(embedding)
        return Model(
            name=file.path.stem, dim=dim, hidden=hidden, n_heads=heads, n_kv_heads=kv_heads,
            head_size=head, vocabulary=vocabulary, context=min(context, POSITIONS),
            embedding=embedding, layers=layers, norm=norm, classifier=classifier,
            shared="output.weight" not in file.tensors,
            theta=file.real(self.prefix + "rope.freq_base", 10000.0), rope_factors=factors,
            epsilon=file.real(self.prefix + "attention.layer_norm_rms_epsilon"),
            format=max(self.kept, key=self.kept.get, default="int8"),
            ends=ends(file, vocabulary), notes=notes, attention=self.attention(len(layers)))

    # Metadata

    def size(self, key, name, default=None):
        return self.file.integer(self.prefix + key, default, most=LIMITS[name])

    def head(self, dim, heads, kv_heads):
        """Elements of a head; keys, values and rotation must have as many."""
        key = self.prefix + "attention.key_length"
        if key not in self.file.metadata and dim % heads:
            raise UserError(f"{self.file.path}: {dim} elements do not split into {heads} heads, "
                            f"and {key} is missing")
        head = self.file.integer(key, dim // heads, most=LIMITS["dim"])
        if head % 2 or heads % kv_heads:
            raise UserError(f"{self.file.path}: heads must have an even number of elements, not "
                            f"{head}, and {heads} heads must share {kv_heads} KV heads evenly")
        for name in ("attention.value_length", "rope.dimension_count"):
            other = self.file.integer(self.prefix + name, head)
            if other != head:
                raise UserError(f"{self.file.path}: {self.prefix}{name} must be the size of a "
                                f"head, {head}, not {other}")
        return head

    def attention(self, layers):
        """What each layer sees: a window, in all layers or in those that the file says."""
        window = self.file.integer(self.prefix + "attention.sliding_window", 0, least=0,
                                   most=MOST_WINDOW)
        key = self.prefix + "attention.sliding_window_pattern"
        pattern = self.file.metadata.get(key, 0)
        # With a pattern of 1 every layer is dense.
        if not window or type(pattern) is int and pattern == 1:
            return ()
        if type(pattern) is int and pattern >= 0:
            return choose_attention(layers, window, global_every=pattern or None)
        if (not isinstance(pattern, np.ndarray) or pattern.dtype.kind != "b"
                or len(pattern) != layers):
            raise UserError(f"{self.file.path}: {key} must be a whole number, or true or false "
                            f"for each of {layers} layers")
        return tuple(Attention(window) if near else Attention() for near in pattern)

    def rope_factors(self, head):
        """By what the rotary frequencies are divided, in float64; None if by nothing."""
        kind = self.file.text(self.prefix + "rope.scaling.type", "none")
        if kind not in ("none", "linear"):
            raise UserError(f"{self.file.path}: rotary scaling of type {plain(kind)} cannot be "
                            "run; none and linear can")
        factor = self.file.real(self.prefix + "rope.scaling.factor", 1.0) if kind == "linear" else 1
        factor *= self.file.real(self.prefix + "rope.scale_linear", 1.0)
        if "rope_freqs.weight" in self.file.tensors:
            factors = self.vector("rope_freqs.weight", head // 2)
            if (factors <= 0).any():
                raise UserError(f"{self.file.path}: factors of rotary frequencies must be positive")
            return factor * factors.astype(np.float64)
        return None if factor == 1 else np.full(head // 2, factor)

    # Tensors

    def take(self, name, shape):
        """The tensor of this name, which must have this shape."""
        if name not in self.file.tensors:
            raise UserError(f"{self.file.path} lacks the tensor {name}")
        tensor = self.file.tensors[name]
        if tensor.shape != shape:
            raise UserError(f"{self.file.path}: the tensor {name} must have the shape {shape}, not "
                            f"{tensor.shape}")
        self.used.add(name)
        return tensor

    def vector(self, name, size):
        """A tensor of one dimension, as float32."""
        tensor = self.take(name, (size,))
        if tensor.type not in FLOATS:
            raise UserError(f"{self.file.path}: the tensor {name} must hold floating-point "
                            f"numbers, not {tensor.type}")
        return self.floats(tensor)

    def matrix(self, name, *shape):
        """A matrix: a float32 array, :class:`Stored` or :class:`Foreign`; ``name`` lacks
        ``.weight``.
        """
        tensor = self.take(f"{name}.weight", shape)
        factor = self.factor(name)
        if tensor.type in FLOATS:
            return self.scaled(tensor, factor)
        if tensor.type in LAYOUTS and (factor is None or tensor.type == "NVFP4"):
            found = self.stored(tensor, factor)
            self.kept[found.format] = self.kept.get(found.format, 0) + found.size
            return found
        return Foreign(self.scaled(tensor, factor), tensor.type)

    def scaled(self, tensor, factor):
        """A tensor as float32, times a factor if there is one."""
        found = self.floats(tensor)
        if factor is None:
            return found
        with np.errstate(over="ignore"):
            return self.finite(tensor.name, found * factor)

    def factor(self, name):
        """The number that multiplies the results of a matrix; None if there is none."""
        if f"{name}.scale" not in self.file.tensors:
            return None
        return self.vector(f"{name}.scale", 1)[0]

    def stored(self, tensor, factor=None):
        try:
            return unpack(tensor.raw, tensor.type, tensor.shape, factor)
        except ValueError as error:
            raise UserError(f"{self.file.path}: in the tensor {tensor.name}, {error}") from None

    def floats(self, tensor):
        """A tensor as float32, checked to be finite."""
        if tensor.type in LAYOUTS:
            found = self.stored(tensor).dequantise()
        elif tensor.type == "F32":
            found = tensor.raw.view("<f4")
        elif tensor.type == "F16":
            found = tensor.raw.view("<f2").astype(np.float32)
        elif tensor.type == "BF16":
            found = (tensor.raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            found = self.dequantise(tensor)
        return self.finite(tensor.name, found.reshape(tensor.shape))

    def finite(self, name, values):
        """The values, if all are numbers."""
        if not np.isfinite(values).all():
            raise UserError(f"{self.file.path}: the tensor {name} holds values that are not "
                            "numbers")
        return values

    def dequantise(self, tensor):
        """A tensor of a type that the package gguf knows."""
        from gguf.constants import GGMLQuantizationType
        from gguf.quants import dequantize

        rows = tensor.raw.reshape(tensor.shape[0], -1)
        try:
            with np.errstate(all="ignore"):
                return dequantize(rows, GGMLQuantizationType[tensor.type])
        # The package has no decoder for this type.
        except NotImplementedError:
            raise UserError(f"{self.file.path}: the tensor {tensor.name} is of type {tensor.type}, "
                            "which cannot be read; convert the model to Q8_0, Q4_0 or MXFP4 with "
                            "llama-quantize") from None

    def ends(self, dim):
        """Embedding in float32, and output matrix."""
        first = self.file.tensors.get("token_embd.weight")
        shape = (first.shape[0] if first else 1, dim)
        if shape[0] > LIMITS["vocabulary"]:
            raise UserError(f"{self.file.path} is damaged: it has {shape[0]} tokens")
        if "output.weight" in self.file.tensors:
            embedding = self.floats(self.take("token_embd.weight", shape))
            return embedding, self.matrix("output", *shape)
        classifier = self.matrix("token_embd", *shape)
        if isinstance(classifier, np.ndarray):
            return classifier, classifier
        return self.finite("token_embd.weight", classifier.dequantise()), classifier

    def check_all_used(self):
        """Raise :class:`UserError` if the file holds something that would be left out."""
        for name in self.file.tensors:
            base = name.removesuffix(".input_scale")
            # Activations are rounded as they come, so scales for them are not needed.
            if name not in self.used and f"{base}.weight" not in self.used:
                raise UserError(f"{self.file.path}: the tensor {plain(name)} has no place in the "
                                "models of the llama architecture that can be run")


def ends(file, vocabulary):
    """The two tokens that most likely end a text: EOS, end of turn, tokens of a known name, BOS."""
    tokens = file.metadata.get(TOKENIZER + "tokens")
    found = [file.integer(TOKENIZER + key, -1, least=-1, most=vocabulary - 1)
             for key in ("eos_token_id", "eot_token_id")]
    if isinstance(tokens, list):
        number = {token: n for n, token in enumerate(tokens[:vocabulary])}
        found += [number.get(token, -1) for token in ENDS]
    found.append(file.integer(TOKENIZER + "bos_token_id", -1, least=-1, most=vocabulary - 1))
    found = [token for token in dict.fromkeys(found) if token >= 0]
    return (found[0], found[min(1, len(found) - 1)]) if found else (1, 2)
