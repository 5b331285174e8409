"""Random numbers from counters: Threefry-2x32 with 20 rounds.

J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC11.
"""

import numpy as np


__all__ = ["threefry"]


ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
PARITY    = 0x1BD11BDA
MASK      = 0xFFFFFFFF


def threefry(key, counter):
    """Two 32-bit words, uint32, from a pair of key words and a pair of counter words.

    Elementwise over arrays. Reference for :class:`hw.vector.threefry.Threefry`.
    """
    key    = [np.asarray(word, np.int64) for word in key]
    key.append(key[0] ^ key[1] ^ PARITY)
    x0, x1 = (np.asarray(word, np.int64) for word in counter)
    for turn in range(20):
        if turn % 4 == 0:
            x0, x1 = inject(x0, x1, key, turn // 4)
        x0 = x0 + x1 & MASK
        rotation = ROTATIONS[turn % 8]
        x1 = (x1 << rotation & MASK | x1 >> 32 - rotation) ^ x0
    x0, x1 = inject(x0, x1, key, 5)
    return x0.astype(np.uint32), x1.astype(np.uint32)


def inject(x0, x1, key, number):
    return x0 + key[number % 3] & MASK, x1 + key[(number + 1) % 3] + number & MASK
