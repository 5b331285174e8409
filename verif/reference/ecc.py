"""Single error correction, double error detection."""

from functools import reduce
from operator import xor

from hw.hsiao import check_bits, columns


__all__ = ["decode", "encode"]


def encode(word, width):
    """Check bits of a word: the sum, without carries, of the columns of the bits that are 1."""
    return reduce(xor, (column for bit, column in enumerate(columns(width)) if word >> bit & 1), 0)


def decode(code, width):
    """``(word, wrong)`` of a word with its check bits above it; ``wrong`` is the number of wrong
    bits: 0, 1 or 2. With 2 of them the word is not corrected."""
    word, check = code & (1 << width) - 1, code >> width
    syndrome = encode(word, width) ^ check
    if syndrome == 0:
        return word, 0
    names = (*columns(width), *(1 << row for row in range(check_bits(width))))
    if syndrome not in names:
        return word, 2
    bit = names.index(syndrome)
    return (word ^ 1 << bit) & (1 << width) - 1, 1
