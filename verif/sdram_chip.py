"""An SDR SDRAM for cocotb benches, which fails the test when a time of its data sheet is broken."""

from collections import defaultdict, deque

import cocotb
from cocotb.triggers import FallingEdge


__all__ = ["SdramModel"]

NAMES = {0b111: "nothing", 0b011: "activate", 0b101: "read", 0b100: "write", 0b010: "precharge",
         0b001: "refresh", 0b000: "mode"}

#: Cycles that the mode register takes.
MODE_CYCLES = 2


class Bank:
    """Row and times of a bank; a time of None was never."""

    def __init__(self):
        self.row = None
        self.times = dict.fromkeys(("activate", "precharge", "written", "until"))


class SdramModel:
    """The chip at the pins of a component; it takes commands at falling edges of the clock.

    Parameters
    ----------
    chip : :class:`fpga.memory.sdram_chip.SdramChip`
    period : float
        Nanoseconds that a cycle stands for, whatever it is in the simulation.

    Members
    -------
    cells : dict
        ``(bank, row, column)`` -> data; cells that were never written hold 0.
    accesses, refreshes : int
        Beats on the data pins, and refreshes, since the beginning.
    """

    def __init__(self, dut, chip, period):
        self.dut, self.chip, self.period = dut, chip, period
        self.cells = defaultdict(int)
        self.banks = [Bank() for _ in range(1 << chip.bank_bits)]
        self.burst, self.accesses, self.refreshes = None, 0, 0
        self.began = self.now = 0.0
        self.refreshed, self.debt, self.mode_at, self.activated = None, None, None, None
        self.incoming, self.masks = None, deque([0, 0], 2)
        self.driven, self.last_driven, self.cycle = {}, -1, 0
        cocotb.start_soon(self._run())

    def since(self, what, time, name):
        """``time`` nanoseconds must have passed since ``what``."""
        assert what is None or self.now - what >= time - 0.01, \
            f"{name}: {self.now - what:g} ns instead of {time:g}"

    async def _run(self):
        dut = self.dut
        while True:
            await FallingEdge(dut.clk)
            self.cycle += 1
            self.now = self.cycle * self.period
            if int(dut.rst.value):
                self.began = self.now
                continue
            self.masks.append(int(dut.dqm.value) if self.chip.masks else 0)
            getattr(self, NAMES[int(dut.command.value)])(int(dut.ba.value), int(dut.a.value))
            self._write_beat()
            self._drive()
            if self.debt is not None:
                self.debt += self.period / self.chip.refresh
                assert self.debt <= 2, "refresh: one is missing"

    def _drive(self):
        """What the pins carry until the next falling edge: garbage between data."""
        beat = self.driven.pop(self.cycle, None)
        if beat is None:
            self.dut.dq_i.value = 0x5A5A5A5A & (1 << self.chip.pins) - 1
            return
        assert not int(self.dut.dq_oe.value), "both sides drive the data pins"
        # Masks work a cycle later on what is read.
        assert not self.masks[-2], "read data are masked"
        self.dut.dq_i.value = self.cells[beat]
        self.accesses += 1

    def _write_beat(self):
        if self.incoming is None:
            return
        bank, row, column, left = self.incoming
        assert int(self.dut.dq_oe.value), "written data are not driven"
        old, new, mask = self.cells[bank, row, column], int(self.dut.dq_o.value), self.masks[-1]
        for n in range(self.chip.pins // 8):
            if not mask >> n & 1:
                old = old & ~(255 << 8 * n) | new & 255 << 8 * n
        self.cells[bank, row, column] = old
        self.banks[bank].times["written"] = self.now
        self.accesses += 1
        self.incoming = (bank, row, column + 1, left - 1) if left > 1 else None

    def _usable(self):
        self.since(self.began, self.chip.power_up, "power_up")
        self.since(self.refreshed, self.chip.rfc, "rfc")
        if self.mode_at is not None:
            assert self.cycle - self.mode_at >= MODE_CYCLES, "mode: a command is too early"

    def nothing(self, bank, address):
        pass

    def activate(self, bank, row):
        self._usable()
        assert self.burst is not None, "activate before the mode register is set"
        one = self.banks[bank]
        assert one.row is None, "activate: a row is open"
        self.since(one.times["precharge"], self.chip.rp, "rp")
        self.since(one.times["activate"], self.chip.rc, "rc")
        self.since(self.activated, self.chip.rrd, "rrd")
        one.row, one.times["activate"], self.activated = row, self.now, self.now

    def precharge(self, bank, address):
        self._usable()
        for number, one in enumerate(self.banks):
            if address >> 10 & 1 or number == bank:
                if one.row is not None:
                    self.since(one.times["activate"], self.chip.ras, "ras")
                    self.since(one.times["written"], self.chip.wr, "wr")
                    until = one.times["until"]
                    assert until is None or self.cycle >= until, "precharge cuts a burst"
                    one.times["precharge"], one.row = self.now, None
                elif one.times["precharge"] is None:
                    one.times["precharge"] = self.now

    def refresh(self, bank, address):
        self._usable()
        for one in self.banks:
            assert one.row is None and one.times["precharge"] is not None, "refresh: a row is open"
            self.since(one.times["precharge"], self.chip.rp, "rp")
            self.since(one.times["activate"], self.chip.rc, "rc")
        self.refreshed, self.refreshes = self.now, self.refreshes + 1
        self.debt = max(0, (self.debt or 0) - 1)

    def mode(self, bank, address):
        self._usable()
        assert all(one.row is None for one in self.banks), "mode: a row is open"
        assert self.refreshes >= 2, "mode: too few refreshes"
        assert address >> 4 & 7 == self.chip.cas and address >> 7 == 0 and not address & 8
        self.burst, self.mode_at = 1 << (address & 7), self.cycle

    def _access(self, name, bank, address):
        self._usable()
        one = self.banks[bank]
        assert one.row is not None, f"{name}: no row is open"
        assert not address >> 10, f"{name}: it precharges by itself"
        assert address < 1 << self.chip.column_bits and address % self.burst == 0
        self.since(one.times["activate"], self.chip.rcd, "rcd")
        assert self.incoming is None, f"{name} cuts a write"
        one.times["until"] = self.cycle + self.burst
        return [(bank, one.row, address + n) for n in range(self.burst)]

    def read(self, bank, address):
        for n, beat in enumerate(self._access("read", bank, address)):
            at = self.cycle + self.chip.cas - 1 + n
            assert at not in self.driven, "read cuts a read"
            self.driven[at] = beat
            self.last_driven = at

    def write(self, bank, address):
        beats = self._access("write", bank, address)
        # The pins are free for half a cycle before the other side drives them.
        assert self.last_driven < self.cycle - 1, "write: data are still read"
        self.incoming = (*beats[0], len(beats))
