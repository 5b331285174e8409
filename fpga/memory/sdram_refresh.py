"""Starts an SDRAM up, and refreshes it."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .sdram_command import ALL_BANKS, MODE, NOTHING, PRECHARGE, REFRESH


__all__ = ["SdramRefresh"]

#: Refreshes after power-up.
FIRST_REFRESHES = 8


class SdramRefresh(wiring.Component):
    """Commands for all banks together; while it gives none, accesses have the chip (``free``).

    After power-up: all banks are closed, refreshed 8 times, and the mode register is set. Then,
    each ``chip.refresh`` nanoseconds, all banks are closed and refreshed.

    Latency
    -------
    A refresh keeps accesses away from when it is due until its command: 2 cycles, ``rp`` and what
    banks take until they may be closed. Their own times count from the command on.

    Parameters
    ----------
    chip : :class:`.sdram_chip.SdramChip`
    clock_hz : int
    beats : int
        Of an access on the data pins.

    Members
    -------
    may_precharge, may_activate : ``In(1)``
        All banks may be given that.
    free : ``Out(1)``
        Accesses choose the command of this cycle.
    command, address : ``Out(3)``, ``Out(row_bits)``
        Otherwise this is it.
    precharge, refresh : ``Out(1)``
        What each bank is told; ``refresh`` also for the mode register, which takes less time.
    """

    def __init__(self, chip, clock_hz, beats):
        self.chip, self.clock_hz, self.beats = chip, clock_hz, beats
        super().__init__({
            "may_precharge": In(1), "may_activate": In(1), "free": Out(1),
            "command": Out(3), "address": Out(chip.row_bits),
            "precharge": Out(1), "refresh": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        power_up = self.chip.cycles("power_up", self.clock_hz)
        period = int(self.chip.refresh * self.clock_hz / 1e9)
        left = Signal(range(max(power_up, period) + 1), init=power_up)
        over, due = Signal(), Signal()
        first = Signal(range(FIRST_REFRESHES + 1), init=FIRST_REFRESHES)
        m.d.comb += [over.eq(left == 0), self.command.eq(NOTHING)]
        m.d.sync += left.eq(Mux(over, period - 1, left - 1))
        with m.FSM():
            with m.State("POWER"):
                with m.If(over):
                    m.next = "CLOSE"
            with m.State("CLOSE"):
                m.d.comb += self.address.eq(ALL_BANKS)
                with m.If(self.may_precharge):
                    m.d.comb += [self.command.eq(PRECHARGE), self.precharge.eq(1)]
                    m.next = "REFRESH"
            with m.State("REFRESH"):
                with m.If(self.may_activate):
                    m.d.comb += [self.command.eq(REFRESH), self.refresh.eq(1)]
                    m.d.sync += due.eq(0)
                    with m.If(first == 0):
                        m.next = "FREE"
                    with m.Else():
                        m.d.sync += first.eq(first - 1)
                        with m.If(first == 1):
                            m.next = "MODE"
            with m.State("MODE"):
                m.d.comb += self.address.eq(self.chip.cas << 4 | exact_log2(self.beats))
                with m.If(self.may_activate):
                    m.d.comb += [self.command.eq(MODE), self.refresh.eq(1)]
                    m.next = "FREE"
            with m.State("FREE"):
                m.d.comb += self.free.eq(~due)
                with m.If(due):
                    m.next = "CLOSE"
        with m.If(over):
            m.d.sync += due.eq(1)
        return m
