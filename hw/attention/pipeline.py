"""Registers in rows and in trees."""

from amaranth import *


__all__ = ["delay", "tree", "largest"]


def delay(m, value, cycles, name, *, reset_less=True):
    """``value`` as it was ``cycles`` cycles ago."""
    for n in range(1, cycles + 1):
        register = Signal.like(value, name=f"{name}_{n}", reset_less=reset_less)
        m.d.sync += register.eq(value)
        value = register
    return value


def tree(m, values, function, name):
    """``function`` of two applied to a power of two of values, with a register at each level.

    The result comes ``log2(len(values))`` cycles later.
    """
    level = 0
    while len(values) > 1:
        level += 1
        pairs = [function(a, b) for a, b in zip(values[0::2], values[1::2])]
        values = [Signal.like(pair, name=f"{name}_{level}_{n}", reset_less=True)
                  for n, pair in enumerate(pairs)]
        m.d.sync += [value.eq(pair) for value, pair in zip(values, pairs)]
    return values[0]


def largest(a, b):
    """The larger one of two values."""
    return Mux(a > b, a, b)
