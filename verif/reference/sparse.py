"""Attention of layers that choose pages: the pages' bounds as tokens come, and what is read."""

from dataclasses import dataclass

import numpy as np

from hw.formats import KV
from verif.reference.attention import attention
from verif.reference.floats import maximum, minimum
from verif.reference.pattern import BLOCK, blocks_read, chosen_blocks
from verif.reference.pieces import spread
from verif.reference.quantise import quantise
from verif.reference.select import page_scores, select


__all__ = ["PageBounds", "attend", "candidates", "extend", "pages_read"]


@dataclass
class PageBounds:
    """Bounds of the keys of a model's layers; those of layers that choose no pages are not used.

    ``running`` is float32 ``[layer, text, 2, element]``: the largest and the smallest keys of the
    page that is not complete, of all KV heads, as memory has them. ``k`` is ``[layer, text, KV
    head, page, element]``, maxima before minima, integers of elements; ``codes`` has a code for
    each of their blocks.
    """

    running: np.ndarray
    k: np.ndarray
    codes: np.ndarray

    @classmethod
    def empty(cls, model, texts, positions):
        """Room for ``positions`` of each text; None if no layer of the model chooses pages."""
        pages = [positions // sees.sparse.page for sees in model.sees if sees.sparse is not None]
        if not pages:
            return None
        layers, blocks = len(model.layers), 2 * model.head_blocks
        shape = layers, texts, model.n_kv_heads, max(pages)
        return cls(np.zeros((layers, texts, 2, BLOCK * model.kv_rows), np.float32),
                   np.zeros((*shape, BLOCK * blocks), KV[model.kv].integers.dtype),
                   np.zeros((*shape, blocks), np.uint8))

    def of(self, layer):
        """``(running, k, codes)`` of a layer."""
        return self.running[layer], self.k[layer], self.codes[layer]


def extend(bounds, k, position, page, element="int8", rule="floor", halves=None):
    """Take the key at ``position`` into the bounds of its page of ``page`` tokens.

    ``bounds`` is what :meth:`PageBounds.of` gives, and changes; ``k`` is float32 ``[text,
    element]``, rotated, not rounded; its heads follow each other, each of ``halves`` half blocks,
    by default as many as those of its bounds. The result is that of
    :func:`verif.reference.select.bounds`; the bounds of a page are rounded when its last token has
    come.
    """
    running, elements, codes = bounds
    before = (k, k) if position % page == 0 else (running[:, 0], running[:, 1])
    running[:, 0], running[:, 1] = maximum(k, before[0]), minimum(k, before[1])
    if position % page == page - 1:
        texts, heads, _, blocks = codes.shape
        rows = spread(running, heads, halves or blocks, blocks // 2)
        rows = rows.reshape(texts, 2, heads, -1).swapaxes(1, 2).reshape(texts, -1)
        q, q_codes = quantise(rows, element=element, rule=rule)
        elements[:, :, position // page] = q.reshape(texts, heads, BLOCK * blocks)
        codes[:, :, position // page] = q_codes.reshape(texts, heads, blocks)


def candidates(count, page, window):
    """Pages from which the last of ``count`` tokens chooses: those that begin before its window.

    The window has at least ``page`` tokens, so these pages are complete.
    """
    # The window is read from the beginning of a block on.
    return max(0, count + page - window - BLOCK) // page


def pages_read(q, q_codes, bounds, count, sees, activation="int8", kv="int8"):
    """Pages that queries ``[query, element]`` of a KV head choose together, ascending.

    ``bounds`` is ``(integers, codes)`` of the head's pages; ``sees`` is the layer's
    :class:`sw.models.attention.Attention`.
    """
    page, number = sees.sparse.page, candidates(count, sees.sparse.page, sees.window)
    if not number:
        return []
    elements, codes = (x[:number] for x in bounds)
    (upper, lower), (upper_codes, lower_codes) = (
        np.split(x, 2, axis=-1) for x in (elements, codes))
    y = page_scores(q, q_codes, upper, upper_codes, lower, lower_codes, activation, kv)
    # Pages of which all blocks are read for their sinks.
    skip = -(-sees.sinks // BLOCK) * BLOCK // page
    return select(y, number, skip, 0, sees.sparse.shift, sees.sparse.least)


def attend(q, q_codes, kv, bounds, position, sees, together, activation="int8", element="int8"):
    """Output before its division, and sums, of the queries at ``position``.

    Parameters
    ----------
    q, q_codes : int [text, KV head, query, D], uint8 [.., D/32]
    kv : tuple
        ``(k, k_codes, v, v_codes)`` of the layer, as :class:`verif.reference.forward.State` has
        them, with the position.
    bounds : tuple
        What :meth:`PageBounds.of` gives.
    together : int
        Query heads of a KV head that choose together.
    """
    output, total = np.zeros(q.shape, np.float32), np.zeros(q.shape[:-1], np.float32)
    _, elements, codes = bounds
    for at in np.ndindex(q.shape[:2]):
        for first in range(0, q.shape[2], together):
            part = (*at, slice(first, first + together))
            pages = pages_read(q[part], q_codes[part], (elements[at], codes[at]), position + 1,
                               sees, activation, element)
            blocks = blocks_read(position + 1, 1, sees.window, sees.sinks,
                                 chosen_blocks(pages, sees.sparse.page_shift))
            tokens = (BLOCK * np.array(blocks)[:, None] + np.arange(BLOCK)).reshape(-1)
            tokens = tokens[tokens <= position]
            output[part], total[part] = attention(
                q[part], q_codes[part], *(x[at][tokens] for x in kv), activation, element,
                numbers=tokens, positions=np.full(len(q[part]), position))
    return output, total
