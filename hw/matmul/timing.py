"""When what happens in a column, in cycles from the first pairs of a beat in their cells."""

from hw.float.add import FloatAdd
from hw.float.scale import FixedToFloat
from hw.primitives import Multiplier

from .widths import FACTOR_BITS, scaled_bits


__all__ = ["PAIRS", "LOW_BITS", "HALVES", "Timing"]


#: Products of a beat, and bits of the product of a weight's lower half.
PAIRS, LOW_BITS = 16, 12

#: Cycles in which two halves of a block are scaled and added.
HALVES = 2


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
        self.groups = PAIRS // config.depth
        # Shifted products wait in a register.
        self.sum    = self.multiplier(config) + config.shifts + self.groups
        self.value  = self.sum + 1
        # A register before the scaler.
        term        = self.value + 1 + self.scaling(config) + FixedToFloat.latency
        # What is read waits in a register, for block RAM is slow.
        self.old    = term - 1
        self.acc    = term - 3
        self.write  = term + FloatAdd.latency
        self.loop   = self.write - self.acc + 1

    @staticmethod
    def scaling(config):
        """Cycles from a block sum to its product with a factor, or with those of its halves."""
        scaled = scaled_bits(config)
        factor = Multiplier.latency_of(scaled, FACTOR_BITS) if scaled else 0
        return max(factor, HALVES if config.halves else 0)

    @classmethod
    def multiplier(cls, config):
        """Cycles that the multiplier of a cell takes; without one the products are logic."""
        if config.technology == "generic":
            return 0
        return Multiplier.latency_of(*cls.operands(config))

    @staticmethod
    def operands(config):
        """Operand widths of a cell's multiplier: two 4-bit weights together, or one of 8 bits."""
        return LOW_BITS + 5 if config.split else 9 if config.having("double") else 8, 8
