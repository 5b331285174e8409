"""Takes finished sums out of the array."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.signatures import Raise, Take, row_read, row_write, scores

from .bank_reader import BankReader
from .layouts import drain_read, job
from .packer import RowPacker
from .row_writer import RowWriter


__all__ = ["DrainUnit"]


class DrainUnit(wiring.Component):
    """Stores or adds the sums of finished passes in the workspace, or passes them on as scores.

    Throughput
    ----------
    A row of the workspace (half of one if a column has no more), or ``softmax_lanes`` scores, each
    cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    read_latency : int
        Cycles from ``drain`` to ``result``.

    Members
    -------
    jobs : ``In(stream.Signature(job))``
        Passes whose sums are in their bank, in order.
    drain : ``Out(drain_read)``, ``result`` : ``In(32)`` for each of ``drained_sums``
        To and from the array.
    factors : ``In(stream.Signature(32))``
        One for each command whose sums are multiplied by it.
    drained : ``Out(1)``
        A bank was read, and may be used again.
    read : ``Out(row_read)``, ``write`` : ``Out(stream.Signature(row_write))``
        The workspace.
    scores : ``Out(stream.Signature(scores))``
    take1 : ``Take``
        Taken once for each block of the workspace, before it is read or written.
    raise0 : ``Raise``
        Raised once for each block that was written and counts.
    busy : ``Out(1)``
    """

    def __init__(self, config, read_latency):
        self.config       = config
        self.read_latency = read_latency
        super().__init__({
            "jobs": In(stream.Signature(job(config))),
            "drain": Out(drain_read(config)),
            "result": In(32).array(config.slices * config.drain_rows),
            "factors": In(stream.Signature(32)),
            "drained": Out(1),
            "read": Out(row_read(config)),
            "write": Out(stream.Signature(row_write(config))),
            "scores": Out(stream.Signature(scores(config))),
            "take1": Out(Take), "raise0": Out(Raise),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.reader = reader = BankReader(self.config, self.read_latency)
        m.submodules.packer = packer = RowPacker(self.config)
        m.submodules.writer = writer = RowWriter(self.config)
        connect(m, flipped(self.jobs), reader.jobs)
        connect(m, reader.started, packer.jobs)
        connect(m, flipped(self.factors), packer.factors)
        connect(m, reader.sums, packer.sums)
        connect(m, packer.scores, flipped(self.scores))
        connect(m, packer.rows, writer.rows)
        for name in ("read", "write", "take1", "raise0"):
            connect(m, getattr(writer, name), flipped(getattr(self, name)))
        m.d.comb += [
            self.drain.eq(reader.drain),
            self.drained.eq(reader.drained),
            *(theirs.eq(ours) for theirs, ours in zip(reader.result, self.result)),
            self.busy.eq(reader.busy | packer.busy | writer.busy),
        ]
        return m
