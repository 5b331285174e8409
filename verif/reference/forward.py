"""The whole model, one position at a time, in exactly the machine's order of operations.

``model`` is a :class:`sw.compile.layers.QuantisedModel`. All functions work on a batch: ``tokens``
has one element for each of several texts, all at the same position. What a text gets does not
depend on the others.
"""

from dataclasses import dataclass

import numpy as np

from hw.formats import KV
from verif.reference import sparse
from verif.reference.attention import attention
from verif.reference.divide import divide
from verif.reference.floats import add
from verif.reference.gate import gate
from verif.reference.matmul import matmul
from verif.reference.norm import norm
from verif.reference.pattern import blocks_read
from verif.reference.pieces import compact, spread
from verif.reference.quantise import quantise
from verif.reference.rope import rope
from verif.reference.softmax import BLOCK


__all__ = ["State", "forward", "hidden", "loss", "log_likelihood"]


@dataclass
class State:
    """Keys and values of every layer: integers of elements, and E8M0 codes.

    ``k`` is ``[layer, text, KV head, position, element]``, ``k_codes`` has a code for each block of
    an element's row, ``v_codes`` one for each row. ``bounds`` is None if no layer chooses pages.
    """

    k: np.ndarray
    k_codes: np.ndarray
    v: np.ndarray
    v_codes: np.ndarray
    bounds: sparse.PageBounds | None = None

    @classmethod
    def empty(cls, model, texts=1, positions=None):
        """Room for ``positions`` (by default all) of each text."""
        positions = model.context if positions is None else positions
        shape = len(model.layers), texts, model.n_kv_heads, positions
        dtype = KV[model.kv].integers.dtype
        return cls(np.zeros((*shape, BLOCK * model.head_blocks), dtype),
                   np.zeros((*shape, model.head_blocks), np.uint8),
                   np.zeros((*shape, BLOCK * model.head_blocks), dtype),
                   np.zeros(shape, np.uint8), sparse.PageBounds.empty(model, texts, positions))


def forward(model, tokens, position, state):
    """Logits of the next token, float32 ``[text, vocabulary]``; ``state`` gets the position."""
    return classify(model, hidden(model, tokens, position, state))


def activations(model, x):
    """``x`` quantised in blocks of 32, as operands of products are."""
    return quantise(x, element=model.activation, rule=model.rule)


def product(model, matrix, x):
    """``x`` quantised, times a matrix, whose rows may end in half a block."""
    q, codes = activations(model, x)
    return matmul(matrix.weights, matrix.scales, q[..., :matrix.weights.shape[1]], codes,
                  matrix.format, factor=matrix.factor, activation=model.activation)


def classify(model, x):
    """Logits of the residual stream ``x``."""
    x = norm(x, model.gain, model.guard)
    return product(model, model.classifier, x)[..., :model.vocabulary]


def hidden(model, tokens, position, state):
    """The residual stream after the last layer, float32 ``[text, dim]``."""
    x = model.embedding[np.atleast_1d(tokens)]
    for n, layer in enumerate(model.layers):
        kv = state.k[n], state.k_codes[n], state.v[n], state.v_codes[n]
        bounds = state.bounds.of(n) if model.sees[n].sparse is not None else None
        x = add(x, attention_of(model, layer, x, position, kv, model.sees[n], bounds))
        h = product(model, layer.gate_up, norm(x, layer.ffn_gain, model.guard))
        h = h.reshape(len(x), model.hidden_blocks, 2, BLOCK)
        h = gate(h[:, :, 0], h[:, :, 1]).reshape(len(x), -1)
        x = add(x, product(model, layer.down, h))
    return x


def attention_of(model, layer, x, position, kv, sees, bounds=None):
    """What the attention of one layer adds to ``x``; ``kv`` and ``bounds`` get the position.

    ``sees`` is the layer's :class:`sw.models.attention.Attention`; ``bounds`` are those of its
    pages, if it chooses some.
    """
    k, k_codes, v, v_codes = kv
    texts, size = len(x), BLOCK * model.kv_rows
    rows = product(model, layer.kvq, norm(x, layer.attention_gain, model.guard))
    heads = (texts, model.n_kv_heads, -1)

    def in_blocks(x, number):
        return spread(x, number, model.head_halves, model.head_blocks)

    rotated = rope(rows[:, :size], model.rope_k[position])
    new_k, new_k_codes = quantise(in_blocks(rotated, model.n_kv_heads), element=model.kv,
                                  rule=model.rule)
    new_v, new_v_codes = quantise(in_blocks(rows[:, size:2 * size], model.n_kv_heads),
                                  group=model.head_blocks, element=model.kv, rule=model.rule)
    k[:, :, position] = new_k.reshape(heads)
    k_codes[:, :, position] = new_k_codes.reshape(heads)
    v[:, :, position] = new_v.reshape(heads)
    v_codes[:, :, position] = new_v_codes.reshape(heads)[..., 0]

    q = rope(rows[:, 2 * size:2 * size + BLOCK * model.q_rows], model.rope_q[position])
    q, q_codes = activations(model, in_blocks(q, model.n_heads))
    heads = (texts, model.n_kv_heads, model.queries, -1)
    q, q_codes = q.reshape(heads), q_codes.reshape(heads)
    if sees.sparse is None:
        tokens = tokens_read(position, sees)
        window, sinks = sees.mask
        output, total = attention(
            q, q_codes, k[:, :, tokens], k_codes[:, :, tokens], v[:, :, tokens],
            v_codes[:, :, tokens], model.activation, model.kv, numbers=tokens,
            positions=np.full(model.queries, position), window=window, sinks=sinks)
    else:
        sparse.extend(bounds, rotated, position, sees.sparse.page, model.kv, model.rule,
                      model.head_halves)
        output, total = sparse.attend(q, q_codes, kv, bounds, position, sees,
                                      model.together or model.queries, model.activation, model.kv)
    o = divide(output.reshape(texts, -1), total.reshape(texts, -1), model.head_blocks)
    return product(model, layer.output, compact(o, model.n_heads, model.head_halves))


def tokens_read(position, sees):
    """Numbers of the tokens up to ``position`` in the KV blocks that are read for it."""
    numbers = blocks_read(position + 1, 1, sees.window, sees.sinks, sees.blocks or ())
    tokens = BLOCK * np.array(numbers)[:, None] + np.arange(BLOCK)
    return tokens[tokens <= position]


def log_likelihood(logits, tokens):
    """Natural logarithm of the probability of each of ``tokens``, in float64."""
    z = np.asarray(logits, np.float64)
    z = z - z.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(z, np.asarray(tokens)[..., None], axis=-1)[..., 0]
    return chosen - np.log(np.exp(z).sum(axis=-1))


def loss(model, tokens, context, batch=64):
    """Mean negative log-likelihood of a text, cut into windows of ``context + 1`` tokens.

    The windows overlap by one token, so that every token but the first is predicted once; the
    rest that does not fill a window is dropped. Windows are independent, ``batch`` at a time.
    """
    windows = (len(tokens) - 1) // context
    if not windows:
        raise ValueError(f"a text of {len(tokens)} tokens has no window of {context + 1}")
    table = np.array([tokens[n * context:(n + 1) * context + 1] for n in range(windows)])
    total = 0.0
    for start in range(0, windows, batch):
        part = table[start:start + batch]
        state = State.empty(model, len(part), context)
        for position in range(context):
            logits = forward(model, part[:, position], position, state)
            total -= log_likelihood(logits, part[:, position + 1]).sum()
    return total / (windows * context)
