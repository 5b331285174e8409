"""A model that recalls what followed a word, made by hand, and texts on which it is asked.

The text is filler with pairs of a key and a value in it. The question is a key; the answer is the
value that followed it. Two layers of attention find it. The first one gives each token the key that
stands before it; its queries and keys are constant, and rotary positions make them meet one token
back. In the second one the question looks for the token that has its key, by 30 signs that lie
where rotary positions hardly turn within a text. Keys of filler are close to zero there, as are
those of words without meaning in a model that was trained.
"""

from dataclasses import dataclass
from math import log2, sqrt

import numpy as np

from sw.models.model import Layer, Model


__all__ = ["CONTEXT", "Text", "make_text", "recall_model"]


#: Longest text.
CONTEXT = 8192

#: Tokens: filler, the one before a question, keys, values.
FILLERS, ASKED, KEYS, VALUES = 31, 31, 256, 64
FIRST_KEY = ASKED + 1
FIRST_VALUE = FIRST_KEY + KEYS

#: Elements of the residual stream: signs of keys, a constant, signs of all other tokens, the key
#: before, the answer.
SIGNS = 30
KEY, ONE, OTHER, BEFORE, ANSWER = slice(0, 30), 30, slice(32, 62), slice(64, 94), slice(96, 126)
DIM, HEAD = 128, 64

#: Base of the rotary frequencies, as models of long contexts have it.
THETA = 1e8

#: Pairs of a head that turn fast, and those that hardly turn within a text.
FAST, SLOW = range(16), slice(HEAD - SIGNS, HEAD)

#: Logits, in base 2: of each fast pair at its best, and of a key that is found.
PAIR_BITS, FOUND_BITS = 18.0, 40.0


def recall_model(seed=0):
    """The :class:`sw.models.model.Model`."""
    rng = np.random.default_rng(seed)
    signs = rng.choice(np.float32([-1, 1]), (FIRST_VALUE + VALUES, SIGNS))
    keys = slice(FIRST_KEY, FIRST_VALUE)
    embedding = np.zeros((len(signs), DIM), np.float32)
    embedding[:, OTHER] = signs
    embedding[keys, OTHER] = 0
    embedding[keys, KEY] = signs[keys]
    embedding[:, ONE] = 1
    classifier = np.zeros_like(embedding)
    classifier[FIRST_VALUE:, ANSWER] = signs[FIRST_VALUE:]
    # What the norms make of a 1, without the key before and with it.
    alone, both = sqrt(DIM / (SIGNS + 1)), sqrt(DIM / (2 * SIGNS + 1))
    ones = np.ones(DIM, np.float32)
    return Model(name="recall", dim=DIM, hidden=32, n_heads=2, n_kv_heads=1,
                  vocabulary=len(signs), context=CONTEXT, embedding=embedding, norm=ones,
                  layers=(before_layer(alone), found_layer(alone, both)), classifier=classifier,
                  theta=THETA, epsilon=1e-8, head_size=HEAD, format="int8")


def layer(wq, wk, wv, wo):
    """A layer without a feed-forward network; the second query head adds nothing."""
    ones, none = np.ones(DIM, np.float32), np.zeros((32, DIM), np.float32)
    return Layer(attention_norm=ones, ffn_norm=ones, w1=none, w2=none.T, w3=none, wk=wk, wv=wv,
                 wq=np.concatenate([wq, np.zeros_like(wq)]),
                 wo=np.concatenate([wo, np.zeros_like(wo)], axis=1))


def maps(*shape, pairs):
    """A matrix of zeros but for ``(row, column) -> value``."""
    matrix = np.zeros(shape, np.float32)
    for rows, columns, values in pairs:
        matrix[rows, columns] = values
    return matrix


def before_layer(scale):
    """Gives each token the key that stands before it; ``scale`` is what norms make of a 1."""
    # Logits contain log2(e) / sqrt(head).
    length = sqrt(PAIR_BITS * sqrt(HEAD) / log2(np.e)) / scale
    wq, wk = np.zeros((2, HEAD, DIM), np.float32)
    for pair in FAST:
        # A query is turned back by one token, and so meets the key before.
        turn = THETA ** (-2 * pair / HEAD)
        wq[2 * pair:2 * pair + 2, ONE] = length * np.cos(turn), -length * np.sin(turn)
        wk[2 * pair, ONE] = length
    signs = np.arange(SIGNS)
    wv = maps(HEAD, DIM, pairs=[(signs, signs, 1)])
    wo = maps(DIM, HEAD, pairs=[(BEFORE.start + signs, signs, 1 / scale)])
    return layer(wq, wk, wv, wo)


def found_layer(alone, both):
    """Finds the token that has the question's key before it, and takes its value."""
    length = sqrt(FOUND_BITS * sqrt(HEAD) / log2(np.e) / SIGNS / (alone * both))
    signs = np.arange(SIGNS)
    wq = maps(HEAD, DIM, pairs=[(SLOW.start + signs, KEY.start + signs, length)])
    wk = maps(HEAD, DIM, pairs=[(SLOW.start + signs, BEFORE.start + signs, length)])
    wv = maps(HEAD, DIM, pairs=[(signs, OTHER.start + signs, 1)])
    wo = maps(DIM, HEAD, pairs=[(ANSWER.start + signs, signs, 1 / both)])
    return layer(wq, wk, wv, wo)


@dataclass(frozen=True)
class Text:
    """A text without its last token, and the questions that may be that one.

    Parameters
    ----------
    tokens : int [context - 1]
    keys, values, places : int [questions]
        Questions, answers, and where the answers stand.
    """

    tokens: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    places: np.ndarray

    @property
    def distances(self):
        """From a question to its answer, in tokens."""
        return len(self.tokens) - self.places


def make_text(rng, context, spacing=128):
    """A :class:`Text` with a pair of a key and a value in each ``spacing`` tokens."""
    tokens = rng.integers(0, FILLERS, context - 1)
    tokens[-1] = ASKED
    count = (context - 1) // spacing
    if count > KEYS:
        raise ValueError(f"a text has at most {KEYS} pairs, not {count}")
    keys = FIRST_KEY + rng.permutation(KEYS)[:count]
    values = FIRST_VALUE + rng.integers(0, VALUES, count)
    places = spacing * np.arange(count) + rng.integers(1, spacing - 1, count)
    tokens[places - 1], tokens[places] = keys, values
    return Text(tokens, keys, values, places)
