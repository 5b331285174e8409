"""Reads finished banks of the array."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.memory.queue import Queue

from .delays import delayed
from .layouts import BANKS, TILE_ROWS, drain_read, job


__all__ = ["BankReader"]


class BankReader(wiring.Component):
    """Reads the sums of a job: for each column, row after row.

    Latency
    -------
    ``read_latency`` and 2 cycles from a job to its first sums.

    Throughput
    ----------
    One row of a column each cycle, with no gap between columns or jobs, as long as ``sums`` are
    taken at that rate.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    read_latency : int
        Cycles from ``drain`` to ``result``.

    Members
    -------
    jobs : ``In(stream.Signature(job))``
        Passes whose sums are in their bank. Banks alternate.
    drain : ``Out(drain_read)``, ``result`` : ``In(32)`` a slice
        To and from the array.
    drained : ``Out(1)``
        A bank was read.
    sums : ``Out(stream.Signature(ArrayLayout(32, slices)))``
    started : ``Out(stream.Signature(job))``
        Jobs whose sums come.
    busy : ``Out(1)``
    """

    def __init__(self, config, read_latency):
        self.config       = config
        self.read_latency = read_latency
        super().__init__({
            "jobs": In(stream.Signature(job(config))),
            "drain": Out(drain_read(config)),
            "result": In(32).array(config.slices),
            "drained": Out(1),
            "sums": Out(stream.Signature(data.ArrayLayout(32, config.slices))),
            "started": Out(stream.Signature(job(config))),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        # What is asked for has a place when it comes.
        places = self.read_latency + 4
        m.submodules.sums    = sums    = Queue(data.ArrayLayout(32, self.config.slices), places)
        m.submodules.started = started = Queue(job(self.config), BANKS)
        connect(m, sums.o, flipped(self.sums))
        connect(m, started.o, flipped(self.started))

        active, bank = Signal(), Signal()
        height = Signal(5)
        row, column, left = Signal(4), Signal(self.drain.column.shape()), Signal(7)
        free = Signal(range(places + 1), init=places)
        ask, last_row, fetch = Signal(), Signal(), Signal()
        m.d.comb += [
            ask.eq(active & (free != 0)),
            last_row.eq(row == height - 1),
            self.busy.eq(active | self.jobs.valid | (free != places)),
            self.drained.eq(ask & last_row & (left == 1)),
            fetch.eq(~active | self.drained),
            self.drain.en.eq(ask),
            self.drain.column.eq(column),
            self.drain.place.eq(row + bank * TILE_ROWS),
        ]
        m.d.sync += free.eq(free - ask + (self.sums.valid & self.sums.ready))
        with m.If(ask):
            m.d.sync += row.eq(Mux(last_row, 0, row + 1))
            with m.If(last_row):
                m.d.sync += [column.eq(column + 1), left.eq(left - 1)]
        m.d.sync += bank.eq(bank ^ self.drained)

        # A job starts when the writer has room for it.
        m.d.comb += [
            self.jobs.ready.eq(fetch & started.i.ready),
            started.i.valid.eq(fetch & self.jobs.valid),
            started.i.payload.eq(self.jobs.payload),
        ]
        with m.If(fetch):
            m.d.sync += [
                active.eq(self.jobs.valid & started.i.ready),
                height.eq(self.jobs.p.drain.height), left.eq(self.jobs.p.drain.columns),
                row.eq(0), column.eq(0),
            ]

        m.d.comb += [
            sums.i.valid.eq(delayed(m, ask, self.read_latency, "asked")),
            *(sums.i.payload[s].eq(result) for s, result in enumerate(self.result)),
        ]
        return m
