"""What benches of the quantiser share: blocks at which something changes, what comes of them."""

import numpy as np

from hw.formats import KV
from verif.reference.floats import bits, from_bits
from verif.reference.quantise import quantise


__all__ = ["BLOCK", "directed", "random_blocks", "halves"]


#: Elements of a block.
BLOCK = 32

#: Exponents of scales: of the smallest, usual, and largest numbers.
CODES = (0, 1, 2, 3, 100, 127, 150, 238, 239, 246, 247, 253, 254)


def significands(element):
    """Mantissas around those by which a scale is chosen, and the first and the last one."""
    limit = (element.largest << 23 >> element.largest.bit_length() - 1) - (1 << 23)
    return np.array([0, 1, limit - 1, limit, limit + 1, 0x7FFFFF], np.uint32)


def rounding_points(rng, element, code):
    """Bits of all elements with a scale, of the ties between them, and of their neighbours."""
    numbers = element.numbers.astype(np.float64)
    points  = np.concatenate([numbers, (numbers[1:] + numbers[:-1]) / 2])
    with np.errstate(over="ignore", under="ignore"):
        points = bits(np.ldexp(points, element.lsb + code - 127).astype(np.float32))
    near = (points.astype(np.int64)[:, None] + np.arange(-1, 2)).ravel()
    near = near[(near & 0x7FFFFFFF) < 0x7F800000]
    return rng.permutation(near[near >= 0]).astype(np.uint32)


def directed(rng, element):
    """Blocks of float32 [n, 32] at which something changes for an element of this name.

    Every tie, every element and their neighbours, below a largest magnitude at every limit; blocks
    of equal magnitudes; of zeros and subnormals; and with one infinity, NaN, or number.
    """
    element, tops = KV[element], significands(KV[element])
    blocks = []
    for code in CODES:
        points = rounding_points(rng, element, code)
        # The first of each block has the largest exponent.
        rows = np.resize(points, (-(-len(points) // (BLOCK - 1)), BLOCK - 1))
        top  = min(code + element.exponent, 254) << 23 | rng.choice(tops, len(rows))
        blocks.append(np.concatenate([top[:, None], rows], axis=1))
    exponents = np.array([1, 2, *range(6, 18), 127, 253, 254], np.uint32)
    top = (exponents[:, None] << 23 | tops).ravel()
    sign = rng.integers(0, 2, (len(top), BLOCK)).astype(np.uint32) << 31
    blocks += [top[:, None] | sign, np.zeros((2, BLOCK), int),
               rng.integers(0, 1 << 23, (2, BLOCK)) | sign[:2]]
    for special in (0x7F800000, 0xFF800000, 0x7F800001, 0xFFC00000, 1, 0x00800000, 0x7F7FFFFF):
        alone = np.zeros((BLOCK, BLOCK), np.uint32)
        alone[np.arange(BLOCK), rng.permutation(BLOCK)] = special
        blocks += [alone[:2], np.where(alone[2:] == special, special, bits(rng.normal(size=BLOCK)))]
    return from_bits(np.concatenate(blocks))


def random_blocks(rng, count):
    """Random blocks: ordinary, of any bits, and with magnitudes that differ much, by turns."""
    ordinary = bits(rng.normal(size=(count, BLOCK)).astype(np.float32))
    anything = rng.integers(0, 1 << 32, (count, BLOCK), np.uint32)
    # Without the exponent 255, except in some blocks.
    anything = np.where(rng.random((count, 1)) < 0.9, anything & 0xBFFFFFFF, anything)
    spread   = rng.integers(20, 235, (count, 1)) - rng.integers(0, 20, (count, BLOCK))
    spread   = anything & 0x807FFFFF | (spread << 23).astype(np.uint32)
    kind     = rng.integers(0, 3, (count, 1))
    return from_bits(np.choose(kind, [ordinary, anything, spread]))


def halves(x, group=1, element="int8", rule="floor", sign="all", *, target="column", dst=0,
           per_vector=1, columns=1):
    """Payloads of the act stream, or of the staging port, that become of float32 ``x``."""
    q, codes = quantise(x.ravel(), group, element, rule, sign)
    data = KV[element].encode(q).view(np.int8).reshape(-1, 2, BLOCK // 2).tolist()
    found = []
    for block, code in enumerate(codes.tolist()):
        vector, inside = divmod(block, per_vector)
        for half in range(2):
            common = dict(data=data[block][half], code=code)
            if target == "staging":
                found.append(common | dict(address=dst + block, half=half))
            else:
                at = dst + vector // columns * per_vector + inside
                found.append(common | dict(column=vector % columns, address=2 * at + half,
                                           shift=0, set_shift=0))
    return found
