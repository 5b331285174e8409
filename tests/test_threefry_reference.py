"""The random numbers against the known answers that come with their definition."""

import numpy as np
import pytest

from hw.vector.threefry import Threefry
from verif.reference.threefry import threefry


@pytest.mark.parametrize("key, counter, words", [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
])
def test_known_answers(key, counter, words):
    assert threefry(key, counter) == words


def test_counters_may_be_arrays():
    many = threefry((1, 2), (np.arange(100), 7))
    assert [word.dtype for word in many] == [np.uint32, np.uint32]
    for n in (0, 1, 99):
        assert tuple(word[n] for word in many) == threefry((1, 2), (n, 7))


def test_wrong_rounds():
    with pytest.raises(ValueError, match="rounds must be 1, 2 or 4, not 5"):
        Threefry(5)
