"""Block counters that order the units."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from . import isa
from .signatures import Raise, Take


__all__ = ["Semaphores"]


class Semaphores(wiring.Component):
    """Counters 1..15: units raise them by what they produce and take what they consume.

    Counter 0 does not exist: taking from it always succeeds, raising it has no effect.

    Latency
    -------
    A raise in one cycle is seen by ``ok`` in the next.

    Parameters
    ----------
    takes, raises : int
        Number of ports of each kind.

    Members
    -------
    take : ``In(Take).array(takes)``
        ``ok`` depends combinationally on ``id`` only.
    raise_ : ``In(Raise).array(raises)``
        Each adds one.
    add_id, add_count, add_en : ``In(4)``, ``In(10)``, ``In(1)``
        Adds any count: the sequencer's instruction ``raise``.
    overflow : ``Out(1)``
        A counter passed its maximum or went below zero: the program is wrong.
    """

    width = 14

    def __init__(self, takes, raises):
        self.takes, self.raises = takes, raises
        self.parameters = (takes, raises)
        super().__init__({
            "take":   In(Take).array(takes),
            "raise_": In(Raise).array(raises),
            "add_id": In(4), "add_count": In(10), "add_en": In(1),
            "overflow": wiring.Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        nonzero = Signal(isa.COUNTERS, init=1)
        wrong = Signal(isa.COUNTERS)
        for port in self.take:
            m.d.comb += port.ok.eq(nonzero.bit_select(port.id, 1))
        for n in range(1, isa.COUNTERS):
            count = Signal(self.width, name=f"count_{n}")
            after = Signal(signed(self.width + 2), name=f"after_{n}")
            raised = sum(port.en & (port.id == n) for port in self.raise_)
            taken = sum(port.take & (port.id == n) for port in self.take)
            added = Mux(self.add_en & (self.add_id == n), self.add_count, 0)
            m.d.comb += after.eq(count + raised + added - taken)
            m.d.sync += count.eq(after[:self.width])
            m.d.sync += nonzero[n].eq(after != 0)
            m.d.comb += wrong[n].eq((after < 0) | (after >= 2**self.width))
        m.d.sync += self.overflow.eq(wrong.any())
        return m
