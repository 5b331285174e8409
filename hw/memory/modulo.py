"""Remainder of a division, one bit a cycle."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


__all__ = ["Modulo"]


class Modulo(wiring.Component):
    """``dividend % divisor``.

    Latency
    -------
    ``dividend_bits + 1`` cycles from ``start`` to ``done``.

    Parameters
    ----------
    dividend_bits, divisor_bits : int

    Members
    -------
    start : ``In(1)``
        Take the operands; only while nothing is computed.
    dividend, divisor : ``In``
        The divisor must stay constant, and is not 0.
    done : ``Out(1)``
        High for one cycle, with the remainder.
    remainder : ``Out(divisor_bits)``
    """

    def __init__(self, dividend_bits, divisor_bits):
        self.dividend_bits, self.divisor_bits = dividend_bits, divisor_bits
        self.latency = dividend_bits + 1
        super().__init__({
            "start": In(1), "dividend": In(dividend_bits), "divisor": In(divisor_bits),
            "done": Out(1), "remainder": Out(divisor_bits),
        })

    def elaborate(self, platform):
        m = Module()
        # A one marks the end of the dividend's bits that are still to come.
        rest = Signal(self.dividend_bits + 1)
        doubled, reduced = Signal(self.divisor_bits + 1), Signal(signed(self.divisor_bits + 2))
        running = Signal()
        m.d.comb += [
            running.eq(rest[:-1].any()),
            self.done.eq(rest[-1] & ~running),
            doubled.eq(Cat(rest[-1], self.remainder)),
            reduced.eq(doubled - self.divisor),
        ]
        with m.If(running):
            m.d.sync += [rest.eq(rest << 1),
                         self.remainder.eq(Mux(reduced < 0, doubled, reduced))]
        with m.Elif(self.done):
            m.d.sync += rest.eq(0)
        with m.If(self.start):
            m.d.sync += [rest.eq(Cat(Const(1, 1), self.dividend)), self.remainder.eq(0)]
        return m
