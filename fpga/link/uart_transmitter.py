"""Sends bytes on a serial line."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .bit_timer import FRACTION, BitTimer


__all__ = ["UartTransmitter"]


class UartTransmitter(wiring.Component):
    """Bytes of 8 data bits, no parity, one stop bit, least significant bit first.

    The reference is :func:`verif.reference.uart.levels`.

    Latency
    -------
    One cycle from ``i`` to the start bit.

    Throughput
    ----------
    A byte in 10 bits, and a cycle more. ``i.ready`` is a register.

    Parameters
    ----------
    period : int
        Length of a bit in 256ths of a cycle, from :func:`.bit_period`.

    Members
    -------
    i : ``In(stream.Signature(8))``
    tx : ``Out(1)``
        The line; it rests at 1.
    """

    i: In(stream.Signature(8))
    tx: Out(1, init=1)

    def __init__(self, period):
        self.period = period
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.timer = timer = BitTimer(self.period, self.period - FRACTION)

        # Control.
        left = Signal(range(11))
        accepted = Signal()
        m.d.comb += [self.i.ready.eq(left == 0), accepted.eq(self.i.valid & self.i.ready),
                     timer.restart.eq(accepted)]
        with m.If(accepted):
            m.d.sync += left.eq(10)
        with m.Elif(timer.tick & (left != 0)):
            m.d.sync += left.eq(left - 1)

        # Data: the start bit at once, then data and ones.
        rest = Signal(8, init=0xFF)
        with m.If(accepted):
            m.d.sync += [self.tx.eq(0), rest.eq(self.i.payload)]
        with m.Elif(timer.tick):
            m.d.sync += [self.tx.eq(rest[0]), rest.eq(Cat(rest[1:], 1))]
        return m
