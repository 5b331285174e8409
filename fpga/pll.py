"""Dividers of clock generators, by exact arithmetic."""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from sw.errors import UserError


__all__ = ["Pll", "Limits", "ECP5", "XILINX7", "dividers", "phase_steps"]


@dataclass(frozen=True)
class Limits:
    """What a clock generator can do: largest dividers, least and most Hz.

    ::

        clock / input -- phase detector -- oscillator -- / output -- core
                               |               |
                               +-- / feedback -+
    """

    input: int
    feedback: int
    output: int
    detector: tuple
    oscillator: tuple


#: EHXPLLL.
ECP5 = Limits(128, 128, 128, (10_000_000, 400_000_000), (400_000_000, 800_000_000))

#: PLLE2_BASE of the slowest speed grade.
XILINX7 = Limits(56, 64, 128, (19_000_000, 450_000_000), (800_000_000, 1_600_000_000))


@dataclass(frozen=True)
class Pll:
    """Dividers, and the oscillator's Hz."""

    input: int
    feedback: int
    output: int
    oscillator_hz: int | Fraction


def oscillators(clock_hz, limits):
    """(input divider, feedback divider, Hz) of all rates that the oscillator can have."""
    low, high = limits.oscillator
    for divider in range(1, limits.input + 1):
        detector = Fraction(clock_hz, divider)
        if limits.detector[0] <= detector <= limits.detector[1]:
            most = min(limits.feedback, floor(high / detector))
            for feedback in range(ceil(low / detector), most + 1):
                yield divider, feedback, detector * feedback


def dividers(clock_hz, core_hz, limits=ECP5):
    """The :class:`Pll` that makes exactly ``core_hz`` from ``clock_hz``.

    Of several, the one with the fastest phase detector, which has the least jitter, and its
    oscillator nearest to the middle of its range. A rate that cannot be made is a
    :class:`UserError` that names the nearest ones.
    """
    found = [Pll(divider, feedback, output, rate)
             for divider, feedback, rate in oscillators(clock_hz, limits)
             for output in [int(rate / core_hz)]
             if 1 <= output <= limits.output and output * core_hz == rate]
    if found:
        middle = Fraction(sum(limits.oscillator), 2)
        return min(found, key=lambda one: (one.input, abs(one.oscillator_hz - middle)))
    rates = {rate / output for _, _, rate in oscillators(clock_hz, limits)
             for output in range(1, limits.output + 1)}
    near = [max((rate for rate in rates if rate < core_hz), default=None),
            min((rate for rate in rates if rate > core_hz), default=None)]
    raise UserError(
        f"a clock of {core_hz / 1e6:g} MHz cannot be made from {clock_hz / 1e6:g} MHz; what is "
        "nearest is " + " and ".join(f"{float(rate) / 1e6:.6g} MHz" for rate in near if rate))


def phase_steps(pll, seconds):
    """A delay of less than a cycle as (whole periods of the oscillator, eighths), rounded."""
    eighths = round(8 * Fraction(seconds) * pll.oscillator_hz)
    if not 0 <= eighths < 8 * pll.output:
        raise ValueError(f"a delay of {float(seconds) * 1e9:g} ns is not within a cycle")
    return divmod(eighths, 8)
