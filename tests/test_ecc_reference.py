"""The code of protected memories: every wrong bit is corrected, every two are seen."""

from itertools import combinations

import numpy as np
import pytest

from hw.hsiao import check_bits, columns
from verif.reference.ecc import decode, encode


@pytest.mark.parametrize("width, bits", [(1, 3), (8, 5), (16, 6), (32, 7), (64, 8), (128, 9)])
def test_check_bits_are_those_of_the_published_codes(width, bits):
    """Hsiao's table: (39, 32), (72, 64), (137, 128)."""
    assert check_bits(width) == bits


@pytest.mark.parametrize("width", [1, 8, 30, 32, 64, 128])
def test_columns_are_different_and_of_odd_weight(width):
    found = columns(width)
    assert len(set(found)) == width
    assert all(column.bit_count() % 2 == 1 and column.bit_count() >= 3 for column in found)
    rows = [sum(column >> row & 1 for column in found) for row in range(check_bits(width))]
    assert max(rows) - min(rows) <= 1


@pytest.mark.parametrize("width", [8, 32, 64])
def test_every_wrong_bit_is_corrected_and_every_two_are_seen(width):
    rng = np.random.default_rng(width)
    size = width + check_bits(width)
    for word in (0, 2**width - 1, *(int(n) for n in rng.integers(0, 2**min(width, 63), 3))):
        code = word | encode(word, width) << width
        assert decode(code, width) == (word, 0)
        for bit in range(size):
            assert decode(code ^ 1 << bit, width) == (word, 1)
        for one, other in combinations(range(size), 2):
            assert decode(code ^ 1 << one ^ 1 << other, width)[1] == 2
