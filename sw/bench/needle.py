"""How far back a model finds what it is asked for, by what its second layer sees."""

import numpy as np

from sw.bench.attention_data import chosen_pages
from sw.bench.recall import CONTEXT, make_text, recall_model
from sw.train.sight import Sight
from verif.reference.attention import attention
from verif.reference.divide import divide
from verif.reference.pattern import BLOCK, blocks_read, chosen_blocks, seen
from verif.reference.quantise import quantise
from verif.reference.select import select


__all__ = ["Exact", "Machine", "PATTERNS", "Reader", "found"]


#: By name, in the order of the table.
PATTERNS = {
    "dense": Sight(),
    "window 256": Sight(window=256),
    "window 256, 4 sinks": Sight(window=256, sinks=4),
    "window 1024, 4 sinks": Sight(window=1024, sinks=4),
    "sparse 1/16": Sight(window=128, sinks=4, share=4),
    "every 16th page": Sight(window=128, sinks=4, share=4, asked=False),
}

#: Window of the first layer, which looks one token back; and its positions at a time.
FIRST_WINDOW = 256
AT_ONCE = 256


class Exact:
    """Attention in float32."""

    name = "float32"

    def attend(self, q, k, v, positions, numbers, window=0, sinks=0):
        """Output of queries ``[G, D]``; they contain the factor log2(e) / sqrt(D)."""
        scores = q @ k.T
        scores[~seen(numbers, positions[:, None], window, sinks)] = -np.inf
        p = np.exp2(scores - scores.max(axis=1, keepdims=True))
        return p @ v / p.sum(axis=1, keepdims=True)

    def choose(self, q, bounds, **limits):
        """Pages whose bounds score highest."""
        halves = np.split(bounds, 2, axis=1)
        scores = np.maximum(q, 0) @ halves[0].T + np.minimum(q, 0) @ halves[1].T
        return select(scores, len(bounds), **limits)


class Machine:
    """Attention as the machine computes it, bit by bit."""

    name = "machine"

    def attend(self, q, k, v, positions, numbers, window=0, sinks=0):
        """As :meth:`Exact.attend`."""
        blocks = q.shape[1] // BLOCK
        values, codes = quantise(v, group=blocks)
        output, total = attention(*quantise(q), *quantise(k), values, codes[:, 0],
                                  positions=positions, window=window, sinks=sinks,
                                  numbers=numbers)
        return divide(output, total[:, None], blocks)

    def choose(self, q, bounds, **limits):
        """As :meth:`Exact.choose`."""
        return chosen_pages(q, *quantise(bounds), **limits)


class Reader:
    """A text as the second layer sees it.

    Parameters
    ----------
    model : :class:`sw.models.model.Model`
        As :func:`sw.bench.recall.recall_model` makes it.
    text : :class:`sw.bench.recall.Text`
    arithmetic : :class:`Exact` or :class:`Machine`
        Of attention; all else is float32.
    """

    def __init__(self, model, text, arithmetic):
        self.model, self.text, self.arithmetic = model, text, arithmetic
        angles = model.angles(len(text.tokens) + 1)[:, None]
        self.cos, self.sin = np.cos(angles).astype("f4"), np.sin(angles).astype("f4")
        self.numbers = np.arange(len(text.tokens))
        first, second = model.layers
        x = model.embedding[text.tokens]
        q, k, v = self.projections(first, x, self.numbers)
        added = [self.first_layer(q[part], k, v, part)
                 for part in np.split(self.numbers, range(AT_ONCE, len(x), AT_ONCE))]
        x = x + np.concatenate(added) @ first.wo[:, :model.head].T
        # The token before a question has no key, whatever the question is.
        self.x = model.embedding[text.keys]
        self.q = self.projections(second, self.x, np.full(len(self.x), len(x)))[0]
        self.k, self.v = self.projections(second, x, self.numbers)[1:]

    def first_layer(self, q, k, v, positions):
        """Attention of consecutive positions in the first layer."""
        seen = slice(max(0, positions[0] + 1 - FIRST_WINDOW), positions[-1] + 1)
        return self.arithmetic.attend(q, k[seen], v[seen], positions, self.numbers[seen],
                                      FIRST_WINDOW)

    def projections(self, layer, x, positions):
        """Queries of the first head, keys and values, rotated."""
        model = self.model
        y = x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + np.float32(model.epsilon))
        q, k, v = (y @ w[:model.head].T for w in (layer.wq, layer.wk, layer.wv))
        factor = np.float32(np.log2(np.e) / np.sqrt(model.head))
        return factor * self.rotate(q, positions), self.rotate(k, positions), v

    def rotate(self, x, positions):
        cos, sin = self.cos[positions, 0], self.sin[positions, 0]
        even, odd = x[:, 0::2], x[:, 1::2]
        return np.stack([even * cos - odd * sin, even * sin + odd * cos], 2).reshape(x.shape)

    def tokens(self, sight, pages=()):
        """Numbers of the tokens that questions see; of pages and with them, all of blocks."""
        count = len(self.numbers) + 1
        if not sight.share:
            return self.numbers[seen(self.numbers, count - 1, sight.window, sight.sinks)]
        read = blocks_read(count, 1, sight.window, sight.sinks, chosen_blocks(pages, sight.page))
        tokens = (BLOCK * np.array(read)[:, None] + np.arange(BLOCK)).reshape(-1)
        return tokens[tokens < len(self.numbers)]

    def pages(self, sight):
        """Pages that each question chooses."""
        size, count = sight.page_tokens, len(self.numbers) + 1
        pages = len(self.numbers) // size
        skip, end = sight.sinks // size, min(pages, -(-(count - sight.window) // size))
        if not sight.asked:
            return [np.arange(skip, end, 1 << sight.share)] * len(self.q)
        keys = self.k[:pages * size].reshape(pages, size, -1)
        bounds = np.concatenate([keys.max(axis=1), keys.min(axis=1)], axis=1)
        return [self.arithmetic.choose(q[None], bounds, skip=skip, recent=pages - end,
                                       shift=sight.share, least=1) for q in self.q]

    def attend(self, q, tokens):
        """Attention of questions to some tokens."""
        return self.arithmetic.attend(q, self.k[tokens], self.v[tokens],
                                      np.full(len(q), len(self.numbers)), tokens)

    def answers(self, sight):
        """The token that the model says to each question."""
        if sight.share:
            o = np.concatenate([self.attend(q[None], self.tokens(sight, pages))
                                for q, pages in zip(self.q, self.pages(sight))])
        else:
            o = self.attend(self.q, self.tokens(sight))
        y = self.x + o @ self.model.layers[1].wo[:, :self.model.head].T
        return (y @ self.model.classifier.T).argmax(axis=1)


def found(arithmetic, context=CONTEXT, patterns=None, *, spacing=128, texts=1, seed=0):
    """``{pattern: (distances, whether the answer was right)}`` of all questions.

    Parameters
    ----------
    arithmetic : :class:`Exact` or :class:`Machine`
    context : int
        Tokens of a text, the question included.
    patterns : dict of :class:`Sight`
        By default :data:`PATTERNS`.
    spacing : int
        Tokens in which one pair stands.
    texts, seed : int
    """
    model, rng = recall_model(), np.random.default_rng(seed)
    patterns = PATTERNS if patterns is None else patterns
    results = {name: ([], []) for name in patterns}
    for _ in range(texts):
        text = make_text(rng, context, spacing)
        reader = Reader(model, text, arithmetic)
        for name, sight in patterns.items():
            distances, right = results[name]
            distances.append(text.distances)
            right.append(reader.answers(sight) == text.values)
    return {name: tuple(map(np.concatenate, both)) for name, both in results.items()}
