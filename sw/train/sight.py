"""What attention sees, as masks of a whole text: for measuring models, not for the machine."""

from dataclasses import dataclass

import numpy as np

from verif.reference.pattern import BLOCK, seen
from verif.reference.select import page_keys


__all__ = ["Sight"]


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What the tokens of a text see.

    Parameters
    ----------
    window, sinks : int
        Tokens; a window of 0 sees all.
    every : int
        If not 0, each layer whose number, from 1 on, is a multiple of it sees all.
    share : int
        If not 0, pages are chosen besides, one in ``2**share`` of those that are full, at least
        one; and all tokens of the KV blocks that hold the window and the sinks are seen.
    page : int
        log2 of the KV blocks of a page.
    asked : bool
        Pages are chosen by the query; else every ``2**share``-th is taken.
    """

    window: int = 0
    sinks: int = 0
    every: int = 0
    share: int = 0
    page: int = 2
    asked: bool = True

    @property
    def page_tokens(self):
        """Tokens of a page."""
        return BLOCK << self.page

    def dense(self, layer):
        """Whether a layer, counted from 0, sees all."""
        return not self.window or bool(self.every) and (layer + 1) % self.every == 0

    def mask(self, layer, q, k):
        """Which tokens are seen: bool ``[1 or heads, time, time]``.

        Parameters
        ----------
        layer : int
        q, k : float32 [heads, time, D], [KV heads, time, D]
        """
        time = np.arange(q.shape[1])
        position = time[:, None]
        if self.dense(layer):
            return seen(time, position)[None]
        if not self.share:
            return seen(time, position, self.window, self.sinks)[None]
        first = np.maximum(position + 1 - self.window, 0) // BLOCK * BLOCK
        kept = (time >= first) | (time < -(-self.sinks // BLOCK) * BLOCK)
        chosen = np.repeat(self.chosen(q, k), self.page_tokens, axis=2)
        chosen = np.pad(chosen, ((0, 0), (0, 0), (0, len(time) - chosen.shape[2])))
        return (kept | np.repeat(chosen, len(q) // len(k), axis=0)) & (time <= position)

    def chosen(self, q, k):
        """Pages that each position chooses: bool ``[KV heads, time, pages]``."""
        (heads, time, size), pages = k.shape, k.shape[1] // self.page_tokens
        keys = k[:, :pages * self.page_tokens].reshape(heads, pages, -1, size)
        q = q.reshape(heads, -1, time, size)
        # The largest product with any key between the bounds, over the heads of a KV head.
        score = (np.maximum(q, 0) @ keys.max(axis=2)[:, None].swapaxes(2, 3)
                 + np.minimum(q, 0) @ keys.min(axis=2)[:, None].swapaxes(2, 3)).max(axis=1)
        page, position = np.arange(pages), np.arange(time)[:, None]
        full = (position + 1) // self.page_tokens
        candidates = ((page >= self.sinks // self.page_tokens) & (page < full)
                      & (page * self.page_tokens < position + 1 - self.window))
        if not self.asked:
            return candidates & (page % (1 << self.share) == 0) & np.ones((heads, 1, 1), bool)
        keys = np.where(candidates, page_keys(score).astype(np.int32), -1)
        order = np.argsort(-keys, axis=2, kind="stable")
        rank = np.argsort(order, axis=2)
        return candidates & (rank < np.maximum(1, full >> self.share))
