"""Sums of vectors, in the fixed order: trees over blocks, then blocks in ascending order."""

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
    blocks in order, and then the constant, while the next vector's first block arrives: that is
    not added to anything.

    Latency
    -------
    From a vector's last row to ``done``: :attr:`latency` cycles, or, if it is one block,
    ``FloatAdd.latency - 1`` cycles less.

    Throughput
    ----------
    One row each cycle, but the last rows of two blocks at least :attr:`spacing` cycles apart: a
    block's sum waits for the blocks before it.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    valid, last, i : ``In(1)``, ``In(1)``, ``In(32)``
        Sum of a row; ``last`` marks the last one of a vector.
    addend : ``In(32)``
        Added at the end.
    done, total : ``Out(1)``, ``Out(32)``
        The result, in this cycle only.
    """

    def __init__(self, config):
        self.config = config
        self.levels = exact_log2(config.block_rows)
        self.spacing = max(config.block_rows, FloatAdd.latency)
        self.latency = (self.levels + 2) * FloatAdd.latency
        super().__init__({
            "valid": In(1), "last": In(1), "i": In(32), "addend": In(32),
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

        # Blocks, then the constant. A sum is added to when it leaves the adder, as the constant is:
        # what then arrives is a block of the same vector, or the first one of the next.
        m.submodules.blocks = add = shared(FloatAdd())
        total  = Signal(32)
        first  = Signal(init=1)
        single = Signal()        # the total is that of a vector of one block
        finish = Signal()
        added, was_last = delay(m, "blocks", valid & ~first, last)
        done, _         = delay(m, "finish", finish, 0)
        m.d.comb += [
            finish.eq((added & was_last) | single),
            add.a.eq(Mux(added, add.o, total)), add.b.eq(Mux(finish, self.addend, value)),
            self.total.eq(add.o), self.done.eq(done),
        ]
        m.d.sync += single.eq(valid & first & last)
        with m.If(valid):
            m.d.sync += first.eq(last)
        with m.If(added):
            m.d.sync += total.eq(add.o)
        with m.If(valid & first):
            m.d.sync += total.eq(value)
        return m


def delay(m, name, valid, last):
    """A valid bit and its flag, as late as an adder's result."""
    for stage in range(FloatAdd.latency):
        s_valid, s_last = Signal(name=f"{name}_valid_{stage}"), Signal(name=f"{name}_last_{stage}")
        m.d.sync += [s_valid.eq(valid), s_last.eq(last)]
        valid, last = s_valid, s_last
    return valid, last
