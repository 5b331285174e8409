"""Choice of the pages of keys to which attention looks: those whose bounds score highest."""

import numpy as np

from verif.reference.attention import scores
from verif.reference.floats import bits, maximum, minimum


__all__ = ["bounds", "split", "page_scores", "page_keys", "select"]


def bounds(k, tokens):
    """Channel-wise extremes of the keys of each page: ``(maxima, minima)``, float32 [pages, D].

    Parameters
    ----------
    k : float32 [T, D]
        Keys, in the order of their tokens.
    tokens : int
        Tokens of a page; the last one may have fewer.
    """
    upper, lower = [], []
    for start in range(0, len(k), tokens):
        high = low = k[start]
        for row in k[start:start + tokens]:
            high, low = maximum(high, row), minimum(low, row)
        upper.append(high)
        lower.append(low)
    return np.array(upper, np.float32), np.array(lower, np.float32)


def split(q):
    """Positive elements of queries, then the negative ones, others 0: [..., D] to [..., 2 D].

    They meet maxima, then minima: each product is then the larger one of the two.
    """
    return np.concatenate([np.maximum(q, 0), np.minimum(q, 0)], axis=-1)


def page_scores(q, q_codes, upper, upper_codes, lower, lower_codes, activation="int8", kv="int8"):
    """FP32 bounds of the scores of each page's keys: float32 [..., G, pages].

    The arguments are as :func:`verif.reference.attention.scores` takes them, with the maxima and
    the minima of pages in the place of keys.
    """
    return scores(split(q), np.concatenate([q_codes, q_codes], axis=-1),
                  np.concatenate([upper, lower], axis=-1),
                  np.concatenate([upper_codes, lower_codes], axis=-1), activation, kv)


def page_keys(y):
    """Integers 0..65535 in the order of FP32 scores: sign, exponent and 7 bits of each.

    Scores that differ in nothing else have the same key. NaN has the lowest.
    """
    b = bits(y)
    high = b >> 16
    keys = np.where(b >> 31, ~high & 0xFFFF, high | 0x8000)
    return np.where(np.isnan(y), 0, keys).astype(np.uint16)


def select(y, count, skip=0, recent=0, shift=0, least=0):
    """Numbers of the chosen pages, ascending.

    Reference for :class:`hw.attention.selector.Selector`. Candidates are all pages but the first
    ``skip`` and the last ``recent`` of ``count``. Of these ``count >> shift`` are chosen, but at
    least ``least``, and no more than there are: those with the largest keys, see
    :func:`page_keys`; of equal ones the first. The key of a page is the largest of all queries.

    Parameters
    ----------
    y : float32 [queries, pages]
        At least ``count`` pages; what lies beyond is not looked at.
    """
    keys = page_keys(y)[:, skip:max(skip, count - recent)].max(axis=0).astype(np.int64)
    number = min(len(keys), max(least, count >> shift))
    order = np.argsort(-keys, kind="stable")[:number]
    return [int(skip + page) for page in np.sort(order)]
