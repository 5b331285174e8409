"""Receives the bytes of a serial line."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from .bit_timer import FRACTION, BitTimer


__all__ = ["UartReceiver"]


class UartReceiver(wiring.Component):
    """Bytes of 8 data bits, no parity, one stop bit, least significant bit first.

    The reference of the line is :func:`verif.reference.uart.levels`. A start bit that has ended
    before its middle is noise, and a byte whose stop bit is missing is lost; so is a line that is
    held low, until it is high again.

    Latency
    -------
    From the middle of the stop bit to ``o``: up to 4 cycles.

    Throughput
    ----------
    Bytes may follow each other without a pause. Nobody can make a line wait: ``o`` is always ready.

    Parameters
    ----------
    period : int
        Length of a bit in 256ths of a cycle, from :func:`.bit_period`.

    Members
    -------
    rx : ``In(1)``
        The line, asynchronous to the clock; it rests at 1.
    o : ``Out(stream.Signature(8, always_ready=True))``
    """

    rx: In(1)
    o: Out(stream.Signature(8, always_ready=True))

    def __init__(self, period):
        self.period = period
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        # Half a bit behind the edge; the edge is seen up to a cycle late.
        m.submodules.timer = timer = BitTimer(self.period, self.period // 2 - FRACTION)
        line = Signal(init=1)
        m.submodules.synchroniser = FFSynchronizer(self.rx, line, init=1)

        # Control: bits 0 (start), 1 to 8 (data), 9 (stop).
        bit = Signal(range(10))
        start, take, stop = Signal(), Signal(), Signal()
        m.d.comb += timer.restart.eq(start)
        with m.FSM():
            with m.State("REST"):
                m.d.comb += start.eq(~line)
                with m.If(start):
                    m.d.sync += bit.eq(0)
                    m.next = "BITS"
            with m.State("BITS"):
                with m.If(timer.tick):
                    m.d.sync += bit.eq(bit + 1)
                    m.d.comb += [take.eq((bit != 0) & (bit != 9)), stop.eq((bit == 9) & line)]
                    with m.If((bit == 0) & line | stop):
                        m.next = "REST"
                    with m.Elif(bit == 9):
                        m.next = "BROKEN"
            with m.State("BROKEN"):
                with m.If(line):
                    m.next = "REST"

        # Data.
        with m.If(take):
            m.d.sync += self.o.payload.eq(Cat(self.o.payload[1:], line))
        m.d.sync += self.o.valid.eq(stop)
        return m
