"""Random queries, keys and values of one layer, their bytes in memory, and what attention makes of
them."""

from dataclasses import dataclass

import numpy as np

from hw.formats import KV
from verif.reference.attention import attention
from verif.reference.divide import divide
from verif.reference.kv import bounds_blocks, kv_blocks
from verif.reference.pattern import BLOCK, blocks_read, chosen_blocks, slot
from verif.reference.quantise import quantise
from verif.reference.select import page_scores, select


__all__ = ["Case", "Head", "chosen_pages", "queries"]


#: How keys and values are stored.
ELEMENT = KV["int8"]

#: E8M0 codes of keys and values: numbers from 1/8 to 4.
CODES = 124, 128

#: Standard deviation of the logits, in base 2, and of the elements of keys.
LOGITS, KEYS = 3.0, 0.65


@dataclass(frozen=True, kw_only=True)
class Case:
    """Shape of one layer's attention, and the tokens that it sees.

    Parameters
    ----------
    head, queries, kv_heads : int
        Elements of a head, query heads of a KV head, and KV heads.
    tokens : int
        Tokens in memory; the last query stands at the last one.
    window, sinks : int
        Tokens seen; a window of 0 sees all.
    share : int
        If not 0, the blocks of pages are chosen besides, one in ``2**share``; then all tokens of
        the blocks of window and sinks are seen.
    page : int
        log2 of the KV blocks of a page.
    """

    head: int
    queries: int
    kv_heads: int = 2
    tokens: int
    window: int = 0
    sinks: int = 0
    share: int = 0
    page: int = 2

    @property
    def head_blocks(self):
        """Blocks of a head."""
        return -(-self.head // BLOCK)

    @property
    def page_tokens(self):
        """Tokens of a page."""
        return BLOCK << self.page

    @property
    def pages(self):
        """Pages that have bounds: the full ones."""
        return self.tokens // self.page_tokens if self.share else 0

    @property
    def skip(self):
        """First pages from which none is chosen: they lie in the sinks."""
        return self.sinks // self.page_tokens

    @property
    def recent(self):
        """Last pages from which none is chosen: they lie in the window."""
        return self.pages - min(self.pages, -(-(self.tokens - self.window) // self.page_tokens))

    @property
    def ring(self):
        """Blocks that a windowed layer uses in turn; 0: no ring."""
        return -(-self.window // BLOCK) + 1 if self.window and not self.share else 0

    @property
    def read(self):
        """Tokens that are read for a head, without padding."""
        if self.share:
            chosen = self.pages >> self.share
            return chosen * self.page_tokens + self.window + self.sinks
        return min(self.tokens, self.window + self.sinks) if self.window else self.tokens

    @property
    def bytes(self):
        """Bytes that must be read: elements and codes of keys, values and bounds, unpadded."""
        token = 2 * self.head + self.head_blocks + 1
        return self.kv_heads * (self.read * token
                                + self.pages * (2 * self.head + 2 * self.head_blocks))


class Head:
    """Keys and values of one KV head.

    Only the blocks that a pattern may read are drawn: a window over 200,000 tokens needs few.

    Parameters
    ----------
    case : :class:`Case`
    rng : :class:`numpy.random.Generator`
    """

    def __init__(self, case, rng):
        self.case = case
        count = case.tokens
        self.numbers = np.array(
            blocks_read(count) if case.share or not case.window
            else blocks_read(count, 1, case.window, case.sinks))
        shape = len(self.numbers) * BLOCK, BLOCK * case.head_blocks
        self.k, self.v = (self._padded(rng, shape) for _ in range(2))
        self.k_codes = rng.integers(*CODES, (shape[0], case.head_blocks), np.uint8)
        self.v_codes = rng.integers(*CODES, shape[0], np.uint8)
        if case.share:
            self._find_bounds()

    def _padded(self, rng, shape):
        """Integers of elements, 0 in the padding of heads."""
        integers = rng.integers(-127, 128, shape, np.int8)
        integers[:, self.case.head:] = 0
        return integers

    def _find_bounds(self):
        """Largest and least key of each page and channel, rounded as keys are."""
        tokens = self.case.pages * self.case.page_tokens
        exponents = self.k_codes[:tokens].astype(np.int32) + (ELEMENT.lsb - 127)
        keys = np.ldexp(self.k[:tokens].astype(np.float32), np.repeat(exponents, BLOCK, axis=1))
        pages = keys.reshape(self.case.pages, self.case.page_tokens, -1)
        self.bounds, self.bounds_codes = quantise(
            np.concatenate([pages.max(axis=1), pages.min(axis=1)], axis=1))

    def kv_image(self, config):
        """Bytes of the KV blocks, each at its place."""
        case = self.case
        image = kv_blocks(config, self.k.view(np.uint8), self.k_codes, self.v.view(np.uint8),
                          self.v_codes)
        if not case.ring:
            return image
        places = [slot(number, case.ring, case.sinks) for number in self.numbers]
        placed = np.zeros((max(places) + 1, image.shape[1]), np.uint8)
        placed[places] = image
        return placed

    def bounds_image(self, config):
        """Bytes of the blocks of bounds."""
        return bounds_blocks(config, ELEMENT.encode(self.bounds), self.bounds_codes)

    def attention(self, x, positions):
        """What queries see: float32 ``[G, D]``, divided.

        Parameters
        ----------
        x : float32 [G, D]
            Queries, with the factor log2(e) / sqrt(head).
        positions : int [G]
            At which they stand.
        """
        case, numbers, seen = self.case, self.numbers, {}
        if case.share:
            chosen = chosen_blocks(self.choose(x), case.page)
            numbers = np.array(blocks_read(case.tokens, 1, case.window, case.sinks, chosen))
        elif case.window:
            seen = {"window": case.window, "sinks": case.sinks}
        tokens, at = (tokens_of(found) for found in (
            numbers, np.searchsorted(self.numbers, numbers)))
        output, total = attention(
            *quantise(x), self.k[at], self.k_codes[at], self.v[at], self.v_codes[at],
            numbers=tokens, positions=positions, **seen)
        return divide(output, total[:, None], case.head_blocks)

    def choose(self, x):
        """Pages whose bounds score highest, ascending."""
        case = self.case
        return chosen_pages(x, self.bounds, self.bounds_codes, skip=case.skip, recent=case.recent,
                            shift=case.share, least=1)


def chosen_pages(x, bounds, codes, **limits):
    """Pages that queries ``x [G, D]`` choose by their rounded bounds, ascending.

    ``bounds`` are maxima, then minima; ``limits`` are as :func:`verif.reference.select.select` has
    them.
    """
    halves = (half for pair in zip(np.split(bounds, 2, axis=1), np.split(codes, 2, axis=1))
              for half in pair)
    return select(page_scores(*quantise(x), *halves), len(bounds), **limits)


def tokens_of(numbers):
    """Numbers of the tokens of blocks."""
    return (BLOCK * np.asarray(numbers)[:, None] + np.arange(BLOCK)).reshape(-1)


def queries(case, rng, vectors):
    """Random queries, float32 ``[vectors, D]``, whose logits differ by some bits."""
    x = np.zeros((vectors, BLOCK * case.head_blocks), np.float32)
    scale = LOGITS / KEYS / np.sqrt(case.head)
    x[:, :case.head] = scale * rng.standard_normal((vectors, case.head))
    return x
