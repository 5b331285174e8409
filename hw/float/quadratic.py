"""Piecewise quadratic functions from tables in memory."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hw.primitives import Multiplier


__all__ = ["Quadratic"]


#: Coefficients of the two higher powers, which fill one block memory; c0 fills another.
SLOPES = data.StructLayout({"c1": signed(21), "c2": signed(14)})
START_BITS = 31


class Quadratic(wiring.Component):
    """Value of a quadratic with integer coefficients, chosen from a table.

    The numerical reference is ``polynomial`` of :mod:`verif.reference.functions`:
    ``c0 + (((c1 + (c2 * s >> 17)) >> 3) * s >> 11)``.

    Latency
    -------
    :attr:`latency` cycles.

    Throughput
    ----------
    One value each cycle.

    Parameters
    ----------
    table : list
        512 triples ``c0, c1, c2``.
    technology : str
        As of :class:`hw.primitives.Multiplier`.

    Members
    -------
    segment : ``In(9)``
    s : ``In(signed(18))``
    o : ``Out(32)``
    """

    latency = 6

    segment: In(9)
    s: In(signed(18))
    o: Out(32)

    def __init__(self, table, technology="generic"):
        self.table = table
        self.technology = technology
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        s, segment = [self.s], [self.segment]
        for n in range(1, 4):
            s.append(Signal(signed(18), name=f"s{n}_s", reset_less=True))
            segment.append(Signal(9, name=f"s{n}_segment", reset_less=True))
            m.d.sync += [s[n].eq(s[n - 1]), segment[n].eq(segment[n - 1])]

        # Stage 1: coefficients of the two higher powers.
        m.submodules.slopes = slopes = memory.Memory(
            shape=SLOPES, depth=512, init=[{"c1": c1, "c2": c2} for _, c1, c2 in self.table])
        read = slopes.read_port()
        m.d.comb += read.addr.eq(segment[0])

        # Stages 2 and 3: how the slope changes.
        m.submodules.bend = bend = Multiplier(14, 18, self.technology)
        m.d.comb += bend.a.eq(read.data.c2)
        m.d.comb += bend.b.eq(s[1])
        s2_c1 = Signal(signed(21), reset_less=True)
        s3_c1 = Signal(signed(21), reset_less=True)
        m.d.sync += s2_c1.eq(read.data.c1)
        m.d.sync += s3_c1.eq(s2_c1)

        # Stages 4 and 5: slope, times distance. The start of the segment is read meanwhile, and
        # held for a cycle, because block memories are slow.
        m.submodules.rise = rise = Multiplier(18, 18, self.technology)
        slope = Signal(signed(22))
        m.d.comb += slope.eq(s3_c1 + (bend.o >> 17))
        m.d.comb += rise.a.eq(slope >> 3)
        m.d.comb += rise.b.eq(s[3])
        m.submodules.starts = starts = memory.Memory(
            shape=START_BITS, depth=512, init=[c0 for c0, _, _ in self.table])
        start = starts.read_port()
        m.d.comb += start.addr.eq(segment[3])
        s5_c0 = Signal(START_BITS, reset_less=True)
        m.d.sync += s5_c0.eq(start.data)

        # Stage 6: sum. It is never negative.
        s6_sum = Signal(32, reset_less=True)
        m.d.sync += s6_sum.eq(s5_c0 + (rise.o >> 11))
        m.d.comb += self.o.eq(s6_sum)
        return m
