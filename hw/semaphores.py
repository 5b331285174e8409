"""Block counters that order the units."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.utils import bits_for, exact_log2

from . import isa
from .signatures import Raise, Take


__all__ = ["Semaphores"]


class Semaphores(wiring.Component):
    """Counters 1..15: units raise them by what they produce and take what they consume.

    Counter 0 does not exist: taking from it always succeeds, raising it has no effect.

    Latency
    -------
    A raise in one cycle is seen by ``ok`` in the next; what is added by ``add`` a cycle later.

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
        # No cycle changes a count by this much, except through ``add``.
        step = 1 << bits_for(max(self.takes, self.raises))
        for n in range(1, isa.COUNTERS):
            # A count that is out of range shows a cycle later in its upper bits.
            count = Signal(signed(self.width + 2), name=f"count_{n}")
            # To be quick, a count is compared with zero by its low bits only, unless it was large
            # in the cycle before.
            many   = Signal(name=f"many_{n}")
            added  = Signal(10, name=f"added_{n}")
            # What leaves in this cycle, less what comes: few bits, so that one sum is wide.
            left   = Signal(range(-self.raises, self.takes + 1), name=f"left_{n}")
            total  = Signal.like(count, name=f"total_{n}")
            m.d.comb += [
                left.eq(sum(port.take & (port.id == n) for port in self.take)
                        - sum(port.en & (port.id == n) for port in self.raise_)),
                total.eq(count + added),
            ]
            m.d.sync += [
                added.eq(Mux(self.add_en & (self.add_id == n), self.add_count, 0)),
                count.eq(total - left),
                many.eq(total >= 2 * step),
                nonzero[n].eq(many | added.any() | (count[:exact_log2(step) + 2] != left)),
            ]
            m.d.comb += wrong[n].eq(count[self.width:].any())
        m.d.sync += self.overflow.eq(wrong.any())
        return m
