"""Geometry and times of SDR SDRAM chips."""

from dataclasses import dataclass
from math import ceil


__all__ = ["SdramChip", "CHIPS"]

#: Fewest cycles between two refreshes.
SLOWEST = 64


@dataclass(frozen=True, kw_only=True)
class SdramChip:
    """A chip, or several side by side, as the data sheet has it; times in nanoseconds.

    Parameters
    ----------
    pins : int
        Data pins.
    bank_bits, row_bits, column_bits : int
        Address bits.
    cas : int
        Cycles from a read to its data.
    rcd, rp, ras, rc, rrd : float
        Activate to access; precharge to activate; activate to precharge; activate to activate of a
        bank, and of another one.
    rfc, refresh : float
        A refresh; average time between two of them.
    wr : float
        Last written data to precharge.
    power_up : float
        From power to the first command.
    fastest : float
        Shortest clock cycle.
    masks : bool
        Whether the masks of bytes are joined to the FPGA; else they are low.
    """

    pins: int
    bank_bits: int = 2
    row_bits: int
    column_bits: int
    cas: int = 2
    rcd: float = 20
    rp: float = 20
    ras: float = 45
    rc: float = 65
    rrd: float = 15
    rfc: float = 66
    refresh: float = 7812.5
    wr: float = 15
    power_up: float = 200_000
    fastest: float = 10
    masks: bool = True

    @property
    def bytes(self):
        """Size."""
        return self.pins // 8 << self.bank_bits + self.row_bits + self.column_bits

    def cycles(self, name, clock_hz):
        """A time in whole clock cycles, at least one."""
        return max(1, ceil(getattr(self, name) * clock_hz / 1e9 - 1e-9))

    def check(self, clock_hz):
        """Refuse a clock that is too fast, or so slow that refreshes take most of the time."""
        if clock_hz * self.fastest > 1e9:
            raise ValueError(f"this SDRAM with a CAS latency of {self.cas} allows up to "
                             f"{1e3 / self.fastest:g} MHz, not {clock_hz / 1e6:g} MHz")
        if clock_hz * self.refresh < SLOWEST * 1e9:
            raise ValueError(f"this SDRAM must be refreshed each {self.refresh / 1e3:g} us, which "
                             f"takes a clock of at least {SLOWEST * 1e3 / self.refresh:.1f} MHz, "
                             f"not {clock_hz / 1e6:g} MHz")


#: Board -> its chips. Speed grade 6 or 7 of each, with the latency of 2 that grade allows.
CHIPS = {
    # MT48LC16M16A2, AS4C16M16SA, W9825G6: 32 MB
    "ulx3s": SdramChip(pins=16, row_bits=13, column_bits=9),
    # AS4C32M16SB, MT48LC32M16A2: 64 MB; some ULX3S have one.
    "ulx3s-64m": SdramChip(pins=16, row_bits=13, column_bits=10),
    # M12L64322A, EM638325: 8 MB
    "colorlight": SdramChip(pins=32, row_bits=11, column_bits=8, rcd=18, rp=18, ras=42, rc=60,
                            rfc=60, refresh=15_625, masks=False),
}
