"""Raises counters, one unit each cycle."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.signatures import Raise


__all__ = ["Raiser"]


class Raiser(wiring.Component):
    """Raises a counter by up to two units at a time, which may have to wait.

    Latency
    -------
    One cycle from ``add`` to ``o``, if nothing waits.

    Members
    -------
    id : ``In(4)``
        Constant while ``busy``.
    add : ``In(2)``
        Units to raise by.
    o : ``Out(Raise)``
    busy : ``Out(1)``
        Units wait.
    """

    id: In(4)
    add: In(2)
    o: Out(Raise)
    busy: Out(1)

    def elaborate(self, platform):
        m = Module()
        # At most two for each of 4095 blocks.
        waiting = Signal(13)
        m.d.sync += waiting.eq(waiting + self.add - self.busy)
        m.d.comb += [self.busy.eq(waiting != 0), self.o.en.eq(self.busy), self.o.id.eq(self.id)]
        return m
