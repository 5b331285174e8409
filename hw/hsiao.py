"""Hsiao's code: single error correction, double error detection, for words of any width. Plain
Python.

M. Y. Hsiao, "A Class of Optimal Minimum Odd-weight-column SEC-DED Codes", IBM Journal of Research
and Development 14 (1970), 395. Every bit of a code word has a column of odd weight in the parity
check matrix, all of them different. One wrong bit gives its column as syndrome, two give a sum of
even weight, which is no column. A word of zeros has check bits of zeros.
"""

from functools import cache
from itertools import combinations


__all__ = ["check_bits", "columns"]


def check_bits(width):
    """Check bits of a word: the fewest for which there are enough columns of odd weight."""
    count = 2
    # Half of all columns are odd; those of weight 1 belong to the check bits.
    while 2**(count - 1) - count < width:
        count += 1
    return count


@cache
def columns(width):
    """The column of each bit of a word, as integers of :func:`check_bits` bits.

    Light columns come first, and those of a weight are chosen so that rows become equally heavy:
    then all check bits have about as many terms.
    """
    count = check_bits(width)
    chosen, loads = [], [0] * count
    for weight in range(3, count + 1, 2):
        left = [*combinations(range(count), weight)]
        while left and len(chosen) < width:
            best = min(left, key=lambda rows: (sum(loads[row] for row in rows),
                                               max(loads[row] for row in rows)))
            left.remove(best)
            chosen.append(sum(1 << row for row in best))
            for row in best:
                loads[row] += 1
    return tuple(chosen)
