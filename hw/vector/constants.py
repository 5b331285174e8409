"""Constants of the steps of vector operations."""

import struct

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .steps import Addend, Factor


__all__ = ["Constants"]


FACTORS = {Factor.ONE: 1.0, Factor.MINUS_LOG2_E: -1.44269504, Factor.MINUS_LN_2: -0.6931472}
ADDENDS = {Addend.ONE: 1.0, Addend.UNIFORM: 2.0**-24 - 1}


def float_bits(x):
    """FP32 bits of a number."""
    return int.from_bytes(struct.pack("<f", x), "little")


class Constants(wiring.Component):
    """Holds what the lanes multiply by, and add, in a step.

    Latency
    -------
    The outputs change one cycle after ``enter``.

    Members
    -------
    enter, factor, addend : ``In(1)``, ``In(Factor)``, ``In(Addend)``
        A step begins, with these constants.
    immediate : ``In(32)``
        The factor that is not constant.
    factor_bits, addend_bits : ``Out(32)``
    """

    enter: In(1)
    factor: In(Factor)
    addend: In(Addend)
    immediate: In(32)
    factor_bits: Out(32)
    addend_bits: Out(32)

    def elaborate(self, platform):
        m = Module()
        factors = {kind: float_bits(number) for kind, number in FACTORS.items()}
        factors[Factor.IMMEDIATE] = self.immediate
        with m.If(self.enter):
            with m.Switch(self.factor):
                for kind, value in factors.items():
                    with m.Case(kind):
                        m.d.sync += self.factor_bits.eq(value)
            with m.Switch(self.addend):
                for kind, number in ADDENDS.items():
                    with m.Case(kind):
                        m.d.sync += self.addend_bits.eq(float_bits(number))
        return m
