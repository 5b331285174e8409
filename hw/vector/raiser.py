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
    start, id : ``In(1)``, ``In(4)``
        Raise this counter from the next cycle on. Not while ``busy``.
    add : ``In(2)``
        Units to raise by.
    o : ``Out(Raise)``
    busy : ``Out(1)``
        Units wait, besides the one that is raised in this cycle.
    """

    start: In(1)
    id: In(4)
    add: In(2)
    o: Out(Raise)
    busy: Out(1)

    def elaborate(self, platform):
        m = Module()
        # At most two for each of 4095 blocks.
        waiting = Signal(13)
        m.d.sync += waiting.eq(waiting + self.add - self.o.en)
        m.d.comb += [self.o.en.eq(waiting != 0), self.busy.eq(waiting > 1)]
        with m.If(self.start):
            m.d.sync += self.o.id.eq(self.id)
        return m
