"""What the counters promise to the units."""

from amaranth import *
from amaranth.hdl import Assert, Assume
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, Signature

from hw.semaphores import Semaphores


__all__ = ["SemaphoresSpec"]


class Narrow(Semaphores):
    """Counters of fewer bits, which solvers like better."""

    width = 5


class SemaphoresSpec(wiring.Component):
    """``ok`` says whether a counter is above zero, and ``overflow`` follows a count out of range.

    Units take only while ``ok``, and no more of them at once than the count allows.

    Parameters
    ----------
    takes, raises : int
        As of :class:`hw.semaphores.Semaphores`.
    number : int
        The counter that is watched.
    """

    def __init__(self, takes, raises, number):
        self.number = number
        self.semaphores = Narrow(takes, raises)
        unit = Signature({"id": Out(4), "en": Out(1)})
        super().__init__({
            "take": In(unit).array(takes),
            "raise_": In(unit).array(raises),
            "add_id": In(4), "add_count": In(4), "add_en": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.semaphores = semaphores = self.semaphores
        count, added = Signal(signed(8)), Signal(4)
        m.d.comb += [
            Assume(~ResetSignal()),
            semaphores.add_id.eq(self.add_id), semaphores.add_count.eq(self.add_count),
            semaphores.add_en.eq(self.add_en),
        ]
        taken, raised = [], []
        for port, unit in zip(semaphores.take, self.take):
            mine = unit.id == self.number
            m.d.comb += [
                port.id.eq(unit.id), port.take.eq(unit.en & port.ok),
                Assert(~mine | (port.ok == (count != 0))),
                Assert((unit.id != 0) | port.ok),
            ]
            taken.append(port.take & mine)
        for port, unit in zip(semaphores.raise_, self.raise_):
            m.d.comb += [port.id.eq(unit.id), port.en.eq(unit.en)]
            raised.append(unit.en & (unit.id == self.number))

        # What is added by the program counts a cycle later.
        m.d.sync += [
            added.eq(Mux(self.add_en & (self.add_id == self.number), self.add_count, 0)),
            count.eq(count + added + sum(raised) - sum(taken)),
        ]
        wrong, overflow, stopped = Signal(), Signal(), Signal()
        m.d.comb += [
            Assume(sum(taken) <= count),
            wrong.eq(count >= 1 << Narrow.width),
            Assert(~overflow | semaphores.overflow),
            # Then the machine is stopped.
            Assume(~stopped),
        ]
        m.d.sync += [overflow.eq(wrong), stopped.eq(overflow)]
        return m
