"""Columns side by side."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.verilog import shared

from .column import Column
from .layouts import lane


__all__ = ["Chain"]


class Chain(wiring.Component):
    """``length`` columns, each of which passes on what it gets.

    A chain is two chains of half its length, so that the emitted text, and the time that it takes
    to emit, grow with the logarithm of the length.

    Latency
    -------
    ``length`` cycles from ``i`` to ``o``.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    length : int
        Columns.

    Members
    -------
    i, o : ``In(lane)``, ``Out(lane)``
    """

    def __init__(self, config, length):
        self.config     = config
        self.length     = length
        self.parameters = (config, length)
        super().__init__({"i": In(lane(config)), "o": Out(lane(config))})

    def elaborate(self, platform):
        m = Module()
        half  = self.length // 2
        parts = [shared(Chain(self.config, length) if length > 1 else Column(self.config))
                 for length in (half, self.length - half) if length]
        before = self.i
        for n, part in enumerate(parts):
            m.submodules[f"part_{n}"] = part
            # The very signals: copies of them would be most of what is emitted.
            part.i = before
            before = part.o
        parts[-1].o = self.o
        return m
