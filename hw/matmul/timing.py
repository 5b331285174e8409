"""When what happens in a column, in cycles from the first pairs of a beat in their cells."""

from hw.float.add import FloatAdd
from hw.float.scale import FixedToFloat
from hw.primitives import Multiplier


__all__ = ["PAIRS", "LOW_BITS", "FACTOR_BITS", "sum_bits", "low_bits", "Timing"]


#: Products of a beat, and bits of the product of a weight's lower half.
PAIRS, LOW_BITS = 16, 12

#: Bits of a scale's significand, and elements of a block.
FACTOR_BITS, BLOCK = 12, 32


def sum_bits(config):
    """Bits of a block sum: of 32 products of the largest element and -128."""
    largest = max(element.largest + 1 for element in config.elements)
    return 1 + (BLOCK * 128 * largest).bit_length()


def low_bits(config):
    """Bits of the sum of the low halves of a block."""
    if not config.split:
        return sum_bits(config)
    return sum_bits(config) if config.shifts else 17


class Timing:
    """The times at which a column needs the controls of a beat.

    Attributes
    ----------
    groups : int
        Groups of ``depth`` pairs; group ``g`` comes ``g`` cycles later than group 0.
    sum : int
        The sum of the beat's products is complete.
    value : int
        The block sum is complete, and is scaled.
    acc : int
        The accumulator's row is read.
    old : int
        What was read is shifted.
    write : int
        The new sum is written. A bank may be read a cycle later.
    loop : int
        Least distance of two terms of a row.
    """

    def __init__(self, config):
        multiplier = self.multiplier(config)
        self.groups = PAIRS // config.depth
        self.sum    = multiplier + self.groups
        self.value  = self.sum + 1
        # A register before the scaler.
        term        = self.value + 1 + FixedToFloat.latency_of(sum_bits(config), FACTOR_BITS)
        # What is read waits in a register, for block RAM is slow.
        self.old    = term - 1
        self.acc    = term - 3
        self.write  = term + FloatAdd.latency
        self.loop   = self.write - self.acc + 1

    @classmethod
    def multiplier(cls, config):
        """Cycles that the multiplier of a cell takes; without one the products are logic."""
        if config.technology == "generic":
            return 0
        return Multiplier.latency_of(*cls.operands(config))

    @staticmethod
    def operands(config):
        """Operand widths of a cell's multiplier: two 4-bit weights together, or one of 8 bits."""
        return LOW_BITS + 5 if config.split else 8, 8
