"""Rows between the steps of a vector operation."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


__all__ = ["scratch_fill", "Scratch"]


def scratch_fill(config, rows):
    """Write port for what does not come from the lanes, two elements at a time."""
    return wiring.Signature({
        "en": Out(1), "row": Out(range(rows)),
        "pairs": Out(config.lanes // 2),      # pairs of lanes that take the data
        "data": Out(64),
    })


class Scratch(wiring.Component):
    """A small memory of rows, read and written in order.

    Latency
    -------
    ``o`` comes one cycle after ``read``. What is written can be read from the next cycle on.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    rows : int
        Rows held.

    Members
    -------
    enter : ``In(1)``
        A step begins: read from the first row on.
    read, stay, o : ``In(1)``, ``In(1)``, ``Out(config.row_bits)``
        The next row; with ``stay`` it is the next one again.
    write, last, i : ``In(1)``, ``In(1)``, ``In(config.row_bits)``
        The next row; after the last one of a step comes the first row again.
    fill : ``In(scratch_fill(config, rows))``
        Not while ``write``.
    """

    def __init__(self, config, rows):
        self.config = config
        self.rows = rows
        super().__init__({
            "enter": In(1),
            "read": In(1), "stay": In(1), "o": Out(config.row_bits),
            "write": In(1), "last": In(1), "i": In(config.row_bits),
            "fill": In(scratch_fill(config, rows)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.config.row_bits, depth=self.rows, init=[])
        write, read = memory.write_port(granularity=64), memory.read_port()

        read_row, write_row = Signal(range(self.rows)), Signal(range(self.rows))
        with m.If(self.read & ~self.stay):
            m.d.sync += read_row.eq(read_row + 1)
        with m.If(self.write):
            m.d.sync += write_row.eq(Mux(self.last, 0, write_row + 1))
        with m.If(self.enter):
            m.d.sync += read_row.eq(0)

        pairs = self.config.lanes // 2
        m.d.comb += [
            read.en.eq(self.read), read.addr.eq(read_row), self.o.eq(read.data),
            write.en.eq(Mux(self.write, ~0, Mux(self.fill.en, self.fill.pairs, 0))),
            write.addr.eq(Mux(self.write, write_row, self.fill.row)),
            write.data.eq(Mux(self.write, self.i, self.fill.data.replicate(pairs))),
        ]
        return m
