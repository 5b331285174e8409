"""Powers of two with fixed-point fractions."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.primitives import Multiplier

from .tables import EXP2_FIXED


__all__ = ["Exp2Fixed"]


class Exp2Fixed(wiring.Component):
    """``2^(f / 65536)`` with 16 fraction bits, by 16 quadratic segments.

    The numerical reference is :func:`verif.reference.functions.exp2_16`.

    Latency
    -------
    :attr:`latency` cycles.

    Throughput
    ----------
    One result each cycle.

    Parameters
    ----------
    technology : str
        As of :class:`hw.primitives.Multiplier`.

    Members
    -------
    f : ``In(16)``
    o : ``Out(17)``
        65536 to 131071.
    """

    latency = 5

    f: In(16)
    o: Out(17)

    def __init__(self, technology="generic"):
        self.parameters = (technology,)
        self.technology = technology
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        # Segment and position, by stage. Coefficients are looked up when they are needed.
        f = [self.f]
        for n in range(1, 5):
            f.append(Signal(16, name=f"s{n}_f", reset_less=True))
            m.d.sync += f[n].eq(f[n - 1])

        def coefficient(number, width, stage):
            value = Signal(width, name=f"c{number}")
            with m.Switch(f[stage][12:]):
                for segment, triple in enumerate(EXP2_FIXED):
                    with m.Case(segment):
                        m.d.comb += value.eq(triple[number])
            return value

        # Stages 1 and 2: the bend of the segment.
        m.submodules.bend = bend = Multiplier(11, 12, self.technology, signed=False)
        m.d.comb += bend.a.eq(coefficient(2, 11, 0))
        m.d.comb += bend.b.eq(f[0][:12])

        # Stages 3 and 4: its slope.
        m.submodules.slope = slope = Multiplier(17, 12, self.technology, signed=False)
        m.d.comb += slope.a.eq(coefficient(1, 17, 2) + (bend.o >> 12))
        m.d.comb += slope.b.eq(f[2][:12])

        # Stage 5: its start.
        s5_sum = Signal(21, reset_less=True)
        m.d.sync += s5_sum.eq(coefficient(0, 21, 4) + (slope.o >> 12))
        m.d.comb += self.o.eq(s5_sum >> 4)
        return m
