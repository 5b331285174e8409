"""Fits the tables of :mod:`hw.float.tables`; ``python -m hw.float.fitting`` writes them anew.

A segment's quadratic goes through the function at the Chebyshev nodes. Its coefficients are rounded
from the highest to the lowest, and the lowest takes up the error of the others. All arithmetic is
decimal, so that every machine finds the same integers.
"""

from decimal import Decimal, getcontext
from pathlib import Path


__all__ = ["functions", "exp2_fixed", "source"]


getcontext().prec = 60

ONE     = Decimal(1)
NODE    = Decimal(3).sqrt() / 2
LN2     = Decimal(2).ln()
SAMPLES = [Decimal(n) / 32 for n in range(-32, 33)]

#: (table, segment) -> end of the segment, as an integer ``s``, at which the integer polynomial is
#: to give just this value: log2 must not change sign beside 1, and 2^-126 must not be flushed.
ANCHORS = {("EXP2", 0): (-2**17, 2**30), ("RECIPROCAL", 0): (-2**17, 2**31),
           ("LOG2", 0): (-2**17, 0), ("LOG2", 127): (2**17, 2**30)}


def exp2(x):
    return (x * LN2).exp()


#: The function of each table on the segment with left end a / 128, at a distance of x / 128.
CURVES = {
    "EXP2":       lambda a, x: exp2((a + x) / 128),
    "LOG2":       lambda a, x: (ONE + (a + x) / 128).ln() / LN2,
    "RECIPROCAL": lambda a, x: 2 / (ONE + (a + x) / 128),
    # Two octaves of 64 segments each.
    "RSQRT":      lambda a, x: 2 / (((64 + a % 64 + x) / 64) * (1 + a // 64)).sqrt(),
}


def nearest(x):
    return int(x.to_integral_value())


def slope(c1, c2, s):
    """The inner step of the polynomial, in integers: 24 fraction bits."""
    return (c1 + (c2 * s >> 17)) >> 3


def quadratic(curve, anchor=None):
    """Integers ``c0, c1, c2`` for a ``curve`` over -1..1."""
    low, middle, high = curve(-NODE), curve(Decimal(0)), curve(NODE)
    c2 = nearest((low + high - 2 * middle) / (2 * NODE**2) * 2**27)
    c1 = nearest((high - low) / (2 * NODE) * 2**27)
    # Half an lsb, for the slope is cut to 24 fraction bits.
    half = c1 + 4
    if anchor is not None:
        s, value = anchor
        return value - (slope(half, c2, s) * s >> 11), half, c2
    rests = [curve(s) - s * (c1 + s * c2) / 2**27 for s in SAMPLES]
    return nearest((min(rests) + max(rests)) / 2 * 2**30 + Decimal("0.5")), half, c2


def functions():
    """Name -> 128 triples ``c0, c1, c2`` over ``s`` in -1..1: see :mod:`hw.float.tables`."""
    return {name: [quadratic(segment(curve, a), ANCHORS.get((name, a)))
                   for a in range(128)]
            for name, curve in CURVES.items()}


def segment(curve, a):
    """The part of ``curve`` on segment ``a``, stretched to -1..1."""
    return lambda s: curve(Decimal(a), (s + 1) / 2)


def exp2_fixed():
    """16 triples ``c0, c1, c2`` over 0..1, all with 20 fraction bits, half an output lsb in c0."""
    triples = []
    for a in range(16):
        curve = segment(lambda a, x: exp2((a + x) / 16), a)
        bend = curve(-NODE) + curve(NODE) - 2 * curve(Decimal(0))
        c2 = nearest(4 * bend / (2 * NODE**2) * 2**20)
        # Ends of segments are exact, so that neighbours meet.
        start, end = nearest(curve(-ONE) * 2**20), nearest(curve(ONE) * 2**20)
        triples.append((start + 8, end - start - c2, c2))
    return triples


def source():
    """Text of :mod:`hw.float.tables`."""
    parts = [HEADER]
    for name, triples in functions().items():
        parts.append(table(name, triples, 3))
    parts.append(table("EXP2_FIXED", exp2_fixed(), 4))
    return "\n".join(parts)


def table(name, triples, each):
    lines = ["    " + " ".join(f"({c0}, {c1}, {c2})," for c0, c1, c2 in triples[n:n + each])
             for n in range(0, len(triples), each)]
    return "\n".join([f"{name} = [", *lines, "]", ""])


HEADER = '''"""Coefficients of the piecewise quadratic functions; from hw.float.fitting.

``EXP2`` (2^x), ``LOG2`` (log2(1 + x)) and ``RECIPROCAL`` (2 / (1 + x)) have 128 segments over x
in 0..1; ``RSQRT`` (2 / sqrt(1 + x), then 2 / sqrt(2 + 2x)) has 64 for each octave. The value at
``s``, an integer from -2^17 at a segment's start to 2^17 at its end, has 30 fraction bits::

    c0 + (((c1 + (c2 * s >> 17)) >> 3) * s >> 11)

``EXP2_FIXED`` has 16 segments. The value at ``s``, from 0 to 2^12, has 16 fraction bits::

    c0 + ((c1 + (c2 * s >> 12)) * s >> 12) >> 4
"""

__all__ = ["EXP2", "LOG2", "RECIPROCAL", "RSQRT", "EXP2_FIXED"]

'''


if __name__ == "__main__":
    Path(__file__).with_name("tables.py").write_text(source())
