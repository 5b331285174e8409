"""Shift registers."""

from amaranth.hdl import Signal


__all__ = ["delays", "delayed"]


def delays(m, value, cycles, name):
    """``value`` now, one cycle ago, ... ``cycles`` cycles ago."""
    values = [value]
    for n in range(cycles):
        later = Signal(value.shape(), name=f"{name}_{n}")
        m.d.sync += later.eq(values[-1])
        values.append(later)
    return values


def delayed(m, value, cycles, name):
    """``value`` of ``cycles`` cycles ago."""
    return delays(m, value, cycles, name)[-1]
