"""The choice of pages against plain sorting, and bounds against the scores that they bound."""

import numpy as np
import pytest

from hw.formats import KV
from verif.reference.attention import scores
from verif.reference.quantise import quantise
from verif.reference.select import bounds, page_keys, page_scores, select, split


def keys_of_heads(seed, tokens=200, size=64, spread=2.0):
    """Keys whose channels differ in size and in their mean, float32 [tokens, size]."""
    rng = np.random.default_rng(seed)
    scale = np.exp2(rng.uniform(-spread, spread, size))
    return (scale * (rng.normal(size=(tokens, size)) + rng.normal(size=size))).astype(np.float32)


def quantised(x, element="int8", sign="all"):
    """Integers [..., D] and codes [..., D/32] of rows."""
    q, codes = quantise(x, 1, element, "up", sign)
    return q, codes


@pytest.mark.parametrize("tokens", [1, 7, 32, 200, 300])
def test_bounds_are_the_extremes_of_pages(tokens):
    k = keys_of_heads(1)
    upper, lower = bounds(k, tokens)
    assert len(upper) == len(lower) == -(-len(k) // tokens)
    for page, (high, low) in enumerate(zip(upper, lower)):
        part = k[page * tokens:(page + 1) * tokens]
        assert (high == part.max(axis=0)).all() and (low == part.min(axis=0)).all()


@pytest.mark.parametrize("spread", [0.0, 2.0, 5.0])
def test_the_score_of_a_page_is_above_those_of_its_keys(spread):
    k, q = keys_of_heads(2, spread=spread), keys_of_heads(3, 8)
    upper, lower = bounds(k, 16)
    wide = split(q.astype(np.float64))
    limit = wide @ np.concatenate([upper, lower], axis=-1).astype(np.float64).T
    exact = q.astype(np.float64) @ k.astype(np.float64).T
    rounding = 1e-12 * np.abs(exact).max()
    for page in range(limit.shape[1]):
        assert (exact[:, 16 * page:16 * (page + 1)] <= limit[:, page, None] + rounding).all()


@pytest.mark.parametrize("kv", KV)
def test_page_scores_are_those_of_the_quantised_bounds(kv):
    k, q = keys_of_heads(4), keys_of_heads(5, 6)
    (upper, upper_codes), (lower, lower_codes) = (quantised(x, kv) for x in bounds(k, 32))
    integers, codes = quantised(q)
    y = page_scores(integers, codes, upper, upper_codes, lower, lower_codes, kv=kv)

    def value(x, codes, lsb):
        return x * np.exp2(np.repeat(codes.astype(int), 32, axis=-1) - 127.0 + lsb)
    queries = value(integers, codes, KV["int8"].lsb)
    high, low = (value(*pair, KV[kv].lsb) for pair in ((upper, upper_codes), (lower, lower_codes)))
    exact = np.maximum(queries[:, None] * high, queries[:, None] * low).sum(axis=-1)
    largest = np.abs(queries[:, None] * high).sum(axis=-1) + np.abs(exact)
    assert (np.abs(y - exact) <= 2.0**-20 * largest).all()


def test_both_parts_of_a_query_are_what_the_quantiser_makes():
    q = keys_of_heads(6, 9)
    integers, codes = quantised(q)
    parts = [quantised(q, sign=sign) for sign in ("positive", "negative")]
    assert all((part_codes == codes).all() for _, part_codes in parts)
    assert (split(integers) == np.concatenate([part for part, _ in parts], axis=-1)).all()


def test_a_page_of_one_token_scores_as_its_key():
    k, q = keys_of_heads(7, 40), keys_of_heads(8, 3)
    (upper, codes), (lower, _) = (quantised(x) for x in bounds(k, 1))
    integers, q_codes = quantised(q)
    y = page_scores(integers, q_codes, upper, codes, lower, codes)
    # The same products, added in another order.
    exact = scores(integers, q_codes, upper, codes)
    assert np.allclose(y, exact, rtol=0, atol=2.0**-18 * np.abs(exact).max())


@pytest.mark.parametrize("low, high", [
    (np.nan, -np.inf), (-np.inf, -3.4e38), (-3.4e38, -1), (-1.0079, -1), (-1, -1e-38), (-1e-38, 0),
    (0, 1.2e-38), (1e-3, 1.01e-3), (1, 1.0079), (3.3e38, np.inf),
])
def test_keys_are_in_the_order_of_scores(low, high):
    low, high = (int(page_keys(np.float32(x))) for x in (low, high))
    assert low < high


def test_keys_keep_seven_bits():
    assert page_keys(np.float32(1)) == page_keys(np.float32(1.0078))
    assert page_keys(np.float32(-2)) == page_keys(np.float32(-2.0155))


def chosen(y, count, skip, recent, number):
    """The ``number`` highest candidates by plain sorting; of equal ones the lowest page."""
    best = [max((v for v in column if v == v), default=-np.inf) for column in y.T.tolist()]
    candidates = range(skip, max(skip, count - recent))
    order = sorted(candidates, key=lambda page: (-best[page], page))
    return sorted(order[:number])


@pytest.mark.parametrize("seed", range(20))
def test_select_takes_the_largest(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 200))
    skip, recent, shift, least = (int(rng.integers(n)) for n in (5, 9, 7, 30))
    # Keys hold all of such small integers, which tie often.
    y = rng.integers(-9, 10, (int(rng.integers(1, 5)), 200)).astype(np.float32)
    y[rng.random(y.shape) < 0.1] = np.nan
    number = max(least, count >> shift)
    expected = chosen(y, count, skip, recent, number)
    assert select(y, count, skip, recent, shift, least) == expected
    assert len(expected) == min(number, max(0, count - skip - recent))


def test_select_of_no_candidates_is_empty():
    y = np.zeros((2, 64), np.float32)
    assert select(y, 0, least=4) == select(y, 9, skip=5, recent=4, least=4) == []
    assert select(y, 9, skip=70, recent=4, least=4) == []


def test_select_of_equal_scores_takes_the_first():
    y = np.ones((3, 64), np.float32)
    assert select(y, 64, skip=2, recent=1, shift=4) == [2, 3, 4, 5]
    y[1, 40] = 1.1
    assert select(y, 64, skip=2, recent=1, shift=4) == [2, 3, 4, 40]
