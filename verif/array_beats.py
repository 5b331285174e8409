"""Beats of a tile as the array gets them, written down from the definition."""

from typing import NamedTuple

from verif.reference.beats import HALF


__all__ = ["ArrayBeat", "array_beats"]


class ArrayBeat(NamedTuple):
    """One beat: which half of which block, its (first) row, and each slice's piece."""

    block: int
    row: int
    half: int
    upper: bool     # upper bytes of 16 bits
    field_row: int  # whose scale field comes beside it
    pieces: list
    starts: bool
    ends: bool


def array_beats(weights, format):
    """Yield the :class:`ArrayBeat` s of a tile ``[row, slice, K]`` of integers, in order."""
    codes = format.element.encode(weights).astype(int)
    rows, slices, size = codes.shape
    halves = size // HALF
    width = 6 if format.six else 8
    for block in range(-(-halves // 2)):
        own = min(2, halves - 2 * block)
        for row in range(0, rows, 2 if format.four else 1):
            for half in range(own):
                k = slice(HALF * (2 * block + half), HALF * (2 * block + half + 1))
                values = codes[row, :, k]
                if format.four:
                    values = values | codes[row + 1, :, k] << 4
                bytes_ = [(True, values >> 8), (False, values & 255)] if format.double else [
                    (False, values)]
                for n, (upper, part) in enumerate(bytes_):
                    pieces = [sum(int(code) << width * p for p, code in enumerate(piece))
                              for piece in part]
                    yield ArrayBeat(block, row, half, upper,
                                    row + (half if format.four else 0), pieces,
                                    half == 0 and n == 0,
                                    half == own - 1 and n == len(bytes_) - 1)
