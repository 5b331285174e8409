"""The line of a UART."""

from fractions import Fraction


__all__ = ["levels"]


def levels(data, period):
    """(level, time) of a line that sends bytes without a pause: how long it stays, bit by bit.

    Reference for :class:`fpga.link.uart_transmitter.UartTransmitter` and
    :class:`fpga.link.uart_receiver.UartReceiver`. A start bit 0, eight bits from the least
    significant one on, a stop bit 1. Times have the unit of ``period``.
    """
    period = Fraction(period)
    return [(level, period) for byte in data
            for level in (0, *(byte >> n & 1 for n in range(8)), 1)]
