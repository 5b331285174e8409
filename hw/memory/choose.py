"""Wide multiplexers that are quick to emit."""

from amaranth import *


__all__ = ["choose"]


def choose(m, value, index, width, name):
    """Part ``index`` of a wide value cut into parts of ``width`` bits, as a new signal.

    The same as ``value.word_select(index, width)``, whose emission takes time in proportion to
    the product of both widths.
    """
    value = Value.cast(value)
    result = Signal(width, name=name)
    with m.Switch(index):
        for n in range(len(value) // width):
            with m.Case(n):
                m.d.comb += result.eq(value[n * width:(n + 1) * width])
    return result
