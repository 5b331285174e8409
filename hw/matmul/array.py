"""The array: columns side by side, through which beats pass."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.signatures import act_write
from hw.verilog import shared

from .chain import Chain
from .front import Front
from .layouts import drain_read, issue


__all__ = ["Array"]


class Array(wiring.Component):
    """``slices x columns`` cells: weights move across the columns.

    The numerical reference is :func:`verif.reference.matmul.matmul`.

    Latency
    -------
    ``Timing.write`` cycles, and one for each column, from a beat to its sums in a bank.
    :attr:`read_latency` from ``drain`` to ``result``.

    Throughput
    ----------
    One beat each cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    act : ``In(stream.Signature(act_write))``
        Activations, always accepted. Beats that are issued two cycles later meet them.
    issue : ``In(issue)``
        Beats, each with what becomes of it.
    drain : ``In(drain_read)``
        Reads of finished banks.
    result : ``Out(32)`` for each of ``drained_sums``
        The group of rows that was read.
    done : ``Out(1)``
        The sums of a pass may be read from the cycle after the next one on, column after column.
    """

    def __init__(self, config):
        self.config       = config
        self.read_latency = config.columns + 1
        super().__init__({
            "act": In(stream.Signature(act_write(config))),
            "issue": In(issue(config)),
            "drain": In(drain_read(config)),
            "result": Out(32).array(config.slices * config.drain_rows),
            "done": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.front = front = Front(self.config)
        m.d.comb += [
            front.issue.eq(self.issue),
            front.drain.eq(self.drain),
            self.done.eq(front.done),
            self.act.ready.eq(1),
        ]
        m.d.sync += [front.act.en.eq(self.act.valid), front.act.write.eq(self.act.payload)]
        m.submodules.columns = columns = shared(Chain(self.config, self.config.columns))
        columns.i = front.o
        m.d.comb += [out.eq(result) for out, result in zip(self.result, columns.o.result)]
        return m
