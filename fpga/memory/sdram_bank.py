"""What one bank of an SDRAM has open, and what it may be told."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


__all__ = ["SdramBank"]


class Countdown:
    """Zero ``cycles`` cycles after :meth:`start`; a later start never shortens it."""

    def __init__(self, m, most, name):
        self.m, self.left = m, Signal(range(max(most, 2)), name=name)
        self.over = Signal(init=1, name=f"{name}_over")
        m.d.comb += self.over.eq(self.left == 0)
        with m.If(~self.over):
            m.d.sync += self.left.eq(self.left - 1)

    def start(self, event, cycles):
        """From the cycle of ``event``; at most one of two events in a cycle."""
        with self.m.If(event & (self.left < cycles)):
            self.m.d.sync += self.left.eq(cycles - 1)


class SdramBank(wiring.Component):
    """Follows the commands of a bank.

    Latency
    -------
    A command shows in the next cycle.

    Parameters
    ----------
    chip : :class:`.sdram_chip.SdramChip`
    clock_hz : int
    beats : int
        Of an access on the data pins.

    Members
    -------
    activate, precharge, read, write, refresh : ``In(1)``
        The command that the bank is given in this cycle.
    row : ``In(row_bits)``
        With ``activate``.
    opened : ``Out(1)``
    open_row : ``Out(row_bits)``
    may_activate, may_precharge, may_access : ``Out(1)``
        What may be given in this cycle, as far as the bank's times are concerned.
    """

    def __init__(self, chip, clock_hz, beats):
        self.chip, self.clock_hz, self.beats = chip, clock_hz, beats
        super().__init__({
            **{name: In(1) for name in ("activate", "precharge", "read", "write", "refresh")},
            **{name: Out(1) for name in ("opened", "may_activate", "may_precharge", "may_access")},
            "row": In(chip.row_bits), "open_row": Out(chip.row_bits),
        })

    def elaborate(self, platform):
        m = Module()
        time = {name: self.chip.cycles(name, self.clock_hz)
                for name in ("rcd", "rp", "ras", "rc", "rfc", "wr")}
        written = self.beats - 1 + time["wr"]
        activate = Countdown(m, max(time["rc"], time["rp"], time["rfc"]), "until_activate")
        precharge = Countdown(m, max(time["ras"], written, self.beats), "until_precharge")
        access = Countdown(m, time["rcd"], "until_access")
        activate.start(self.activate, time["rc"])
        activate.start(self.precharge, time["rp"])
        activate.start(self.refresh, time["rfc"])
        precharge.start(self.activate, time["ras"])
        precharge.start(self.read, self.beats)
        precharge.start(self.write, written)
        access.start(self.activate, time["rcd"])
        with m.If(self.activate):
            m.d.sync += [self.opened.eq(1), self.open_row.eq(self.row)]
        with m.If(self.precharge):
            m.d.sync += self.opened.eq(0)
        m.d.comb += [self.may_activate.eq(activate.over), self.may_precharge.eq(precharge.over),
                     self.may_access.eq(access.over & self.opened)]
        return m
