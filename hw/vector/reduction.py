"""Sum of a vector, in the fixed order: trees over blocks, then blocks in ascending order."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.float.add import FloatAdd
from hw.verilog import shared


__all__ = ["Reduction"]


class Reduction(wiring.Component):
    """Adds the sums of rows, which the lanes form, to the sum of a vector, and a constant to that.

    The numerical reference is the sum in :func:`verif.reference.norm`. Rows of a block are the
    leaves of a tree; an adder for each of its levels pairs what arrives. One more adder adds
    blocks in order.

    Latency
    -------
    From the last row to ``done``: :attr:`latency` cycles.

    Throughput
    ----------
    One row each cycle, but the last rows of two blocks at least :attr:`spacing` cycles apart: a
    block's sum waits for the blocks before it.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    clear : ``In(1)``
        Begin a vector.
    valid, last, i : ``In(1)``, ``In(1)``, ``In(32)``
        Sum of a row; ``last`` marks the last one of the vector.
    addend : ``In(32)``
        Added at the end.
    done, total : ``Out(1)``, ``Out(32)``
        The result, until the next ``clear``.
    """

    def __init__(self, config):
        self.config = config
        self.levels = exact_log2(config.block_rows)
        self.spacing = max(config.block_rows, FloatAdd.latency + 1)
        self.latency = (self.levels + 2) * FloatAdd.latency + 2
        super().__init__({
            "clear": In(1), "valid": In(1), "last": In(1), "i": In(32), "addend": In(32),
            "done": Out(1), "total": Out(32),
        })

    def elaborate(self, platform):
        m = Module()

        # Trees: each level pairs the results of the level before.
        valid, last, value = self.valid, self.last, self.i
        for level in range(self.levels):
            m.submodules[f"level_{level}"] = add = shared(FloatAdd())
            waits = Signal(name=f"waits_{level}")
            held  = Signal(32, name=f"held_{level}")
            with m.If(valid):
                m.d.sync += [waits.eq(~waits), held.eq(value)]
            m.d.comb += [add.a.eq(held), add.b.eq(value)]
            valid, last = delay(m, f"level_{level}", valid & waits, last)
            value = add.o

        # Blocks, then the constant.
        m.submodules.blocks = add = shared(FloatAdd())
        finish = Signal()
        m.d.comb += [add.a.eq(self.total), add.b.eq(Mux(finish, self.addend, value))]
        added, was_last = delay(m, "blocks", valid | finish, last & ~finish)
        _, was_finish   = delay(m, "finish", valid | finish, finish)
        m.d.sync += finish.eq(added & was_last)
        with m.If(added):
            m.d.sync += [self.total.eq(add.o), self.done.eq(was_finish)]
        with m.If(self.clear):
            m.d.sync += [self.total.eq(0), self.done.eq(0)]
        return m


def delay(m, name, valid, last):
    """A valid bit and its flag, as late as an adder's result."""
    for stage in range(FloatAdd.latency):
        s_valid, s_last = Signal(name=f"{name}_valid_{stage}"), Signal(name=f"{name}_last_{stage}")
        m.d.sync += [s_valid.eq(valid), s_last.eq(last)]
        valid, last = s_valid, s_last
    return valid, last
