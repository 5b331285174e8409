"""Pads of an SDRAM on an ECP5, and when its clock rises."""

from fractions import Fraction

from amaranth import *
from amaranth.lib import io

from .sdram import sdram_pins


__all__ = ["SdramPads", "clock_delay"]

#: Nanoseconds, the worst of data sheets. Of the chip: how long before and behind its edge commands
#: and data must stand; what it gives comes, and goes after the next edge.
SETUP, HOLD, COMES, GOES = Fraction("1.5"), Fraction("1.0"), Fraction("6.0"), Fraction("2.5")

#: Of the FPGA: out of a register at one pad and into that of another, at most and at least; how
#: much two pads and their wires differ.
SLOWEST, FASTEST, SKEW = Fraction("4.0"), Fraction("1.5"), Fraction("1.0")


def clock_delay(clock_hz):
    """How much later than the pads' registers the chip's clock rises, and how long a read takes.

    All that goes out, the chip's clock too, comes from registers at pads and has the same delay.
    So only the time between their edge and the chip's counts: it must be enough for what the chip
    takes, and leave enough for what it gives, which is looked at with the latency of the chip, or a
    cycle later. The delay is in the middle of what both allow.

    Returns
    -------
    Fraction
        Delay in seconds, less than a cycle.
    int
        ``trip`` of :class:`.sdram.Sdram`.
    """
    cycle = Fraction(10**9, clock_hz)
    found = []
    for late in (0, 1):
        least = max(SETUP + SKEW, cycle - GOES - FASTEST if late else 0)
        most = min(cycle - HOLD - SKEW, (1 + late) * cycle - COMES - SLOWEST)
        found.append((most - least, -late, (least + most) / 2 / 10**9))
    width, late, delay = max(found)
    if width < 0:
        raise ValueError(f"at {clock_hz / 1e6:g} MHz an SDRAM leaves no time for pads and wires")
    return delay, 2 - late


class SdramPads(Elaboratable):
    """Registers at the pads, and the chip's clock.

    Latency
    -------
    One cycle out, one in.

    Parameters
    ----------
    chip : :class:`.sdram_chip.SdramChip`
    ports : object
        The platform's ``sdram``, requested with ``dir="-"``.
    domain : str
        Clock of the chip, of the same rate as ``sync``.

    Members
    -------
    command, ba, a, dqm, dq_o, dq_oe, dq_i : signals
        As :func:`.sdram.sdram_pins`.
    """

    def __init__(self, chip, ports, domain="sdram"):
        self.ports, self.domain = ports, domain
        for name, member in sdram_pins(chip).items():
            setattr(self, name, Signal(member.shape, init=member.init or 0, name=name))

    def elaborate(self, platform):
        m = Module()
        ports = self.ports
        ras, cas, we = self.command[2], self.command[1], self.command[0]
        # Their ports are inverted where the pin is low in use; commands already are as on the pin.
        for name, value in (("ras", ~ras), ("cas", ~cas), ("we", ~we), ("ba", self.ba),
                            ("a", self.a), ("dqm", self.dqm)):
            # Some boards tie the masks low.
            if hasattr(ports, name):
                m.submodules[name] = pad = io.FFBuffer("o", getattr(ports, name))
                m.d.comb += pad.o.eq(value)
        for name in ("clk_en", "cs"):
            if hasattr(ports, name):
                m.submodules[name] = pad = io.Buffer("o", getattr(ports, name))
                m.d.comb += pad.o.eq(1)
        m.submodules.dq = dq = io.FFBuffer("io", ports.dq)
        m.d.comb += [dq.o.eq(self.dq_o), dq.oe.eq(self.dq_oe), self.dq_i.eq(dq.i)]
        # High first: it rises with its domain's clock.
        m.submodules.clk = clk = io.DDRBuffer("o", ports.clk, o_domain=self.domain)
        m.d.comb += [clk.o[0].eq(1), clk.o[1].eq(0)]
        return m
