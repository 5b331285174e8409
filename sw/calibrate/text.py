"""Calibration text: written by the model itself, or taken from a file."""

import numpy as np

from sw.errors import UserError

from .passes import norm, rotate, silu


__all__ = ["LENGTH", "TEXTS", "from_file", "written"]

#: Texts, and tokens of each.
TEXTS, LENGTH = 64, 256

#: A file is read up to so many characters for each token that is wanted.
CHARACTERS = 16


def from_file(path, tokenizer, context, texts=TEXTS):
    """Tokens ``[texts, positions]`` of the beginning of a file; what fills no text is dropped."""
    begin = tokenizer.encode("")[:1]
    length = min(LENGTH, context) - len(begin)
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(CHARACTERS * texts * length)
    except OSError as error:
        raise UserError(f"the calibration text {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"the calibration text {path} is not UTF-8") from None
    tokens = tokenizer.encode(text, bos=False)[:texts * length]
    count = len(tokens) // length
    if not count:
        raise UserError(f"the calibration text {path} has {len(tokens)} tokens; at least {length} "
                        f"are needed, and {texts * length} are useful")
    tokens = np.reshape(tokens[:count * length], (count, length))
    return np.concatenate([np.tile(np.array(begin, int), (count, 1)), tokens], axis=1)


def written(model, begin, texts=TEXTS, seed=0, show=None):
    """Tokens ``[texts, positions]`` that a model draws from its own distributions.

    Parameters
    ----------
    model : :class:`sw.models.Model`
        Its weights are arrays.
    begin : int
        Token that begins a text.
    texts, seed : int
    show : function of two int, optional
        Called with the number of positions that are done, and of all.
    """
    length, random = min(LENGTH, model.context), np.random.default_rng(seed)
    tokens = np.full((texts, length), begin)
    shape = (len(model.layers), texts, model.n_kv_heads, length, model.head)
    cache = np.empty(shape, np.float32), np.empty(shape, np.float32)
    angles = model.angles(length)
    for position in range(length - 1):
        logits = step(model, tokens[:, position], position, cache, angles[position])
        # The largest of logits with Gumbel noise is a draw from their softmax.
        tokens[:, position + 1] = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
        if show is not None:
            show(position + 2, length)
    return tokens


def step(model, tokens, position, cache, angles):
    """Logits ``[texts, vocabulary]`` after the tokens of one position; keys and values are kept."""
    x = model.embedding[tokens].astype(np.float32)
    for layer, keys, values in zip(model.layers, *cache):
        y = norm(x, layer.attention_norm, model.epsilon)
        q, k, v = ((y @ w.T).reshape(len(x), -1, model.head)
                   for w in (layer.wq, layer.wk, layer.wv))
        keys[:, :, position], values[:, :, position] = rotate(k, angles), v
        q = rotate(q, angles).reshape(len(x), model.n_kv_heads, -1, model.head)
        scores = q @ keys[:, :, :position + 1].swapaxes(2, 3) / np.float32(model.head**0.5)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        x = x + (p @ values[:, :, :position + 1]).reshape(len(x), -1) @ layer.wo.T
        y = norm(x, layer.ffn_norm, model.epsilon)
        x = x + silu(y @ layer.w1.T) * (y @ layer.w3.T) @ layer.w2.T
    return norm(x, model.norm, model.epsilon) @ model.classifier.T
