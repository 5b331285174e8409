"""Reads finished banks of the array."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from hw.memory.queue import Queue

from .delays import delayed
from .layouts import BANKS, bank_after, drain_read, drained_sums, job


__all__ = ["BankReader"]


class BankReader(wiring.Component):
    """Reads the sums of a job: for each column, group of rows after group.

    Latency
    -------
    ``read_latency`` and 2 cycles from a job to its first sums.

    Throughput
    ----------
    ``drain_rows`` rows of a column each cycle, with no gap between columns or jobs, as long as
    ``sums`` are taken at that rate.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    read_latency : int
        Cycles from ``drain`` to ``result``.

    Members
    -------
    jobs : ``In(stream.Signature(job))``
        Passes whose sums are in their bank. Banks alternate.
    drain : ``Out(drain_read)``, ``result`` : ``In(32)`` for each of ``drained_sums``
        To and from the array.
    drained : ``Out(1)``
        A bank was read.
    sums : ``Out(stream.Signature(drained_sums))``
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
            "result": In(32).array(config.slices * config.drain_rows),
            "drained": Out(1),
            "sums": Out(stream.Signature(drained_sums(config))),
            "started": Out(stream.Signature(job(config))),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        # What is asked for has a place when it comes.
        places = self.read_latency + 4
        m.submodules.sums    = sums    = Queue(drained_sums(self.config), places)
        m.submodules.started = started = Queue(job(self.config), BANKS)
        connect(m, sums.o, flipped(self.sums))
        connect(m, started.o, flipped(self.started))

        within = exact_log2(self.config.drain_rows)
        active, bank = Signal(), Signal(range(BANKS))
        last  = Signal(4 - within)      # group of a column
        group = Signal.like(last)
        column, left = Signal(self.drain.column.shape()), Signal(7)
        free = Signal(range(places + 1), init=places)
        ask, ends_column, fetch = Signal(), Signal(), Signal()
        m.d.comb += [
            ask.eq(active & (free != 0)),
            ends_column.eq(group == last),
            self.busy.eq(active | self.jobs.valid | (free != places)),
            self.drained.eq(ask & ends_column & (left == 1)),
            fetch.eq(~active | self.drained),
            self.drain.en.eq(ask),
            self.drain.column.eq(column),
            self.drain.place.eq(Cat(group, bank)),
        ]
        m.d.sync += free.eq(free - ask + (self.sums.valid & self.sums.ready))
        with m.If(ask):
            m.d.sync += group.eq(Mux(ends_column, 0, group + 1))
            with m.If(ends_column):
                m.d.sync += [column.eq(column + 1), left.eq(left - 1)]
        with m.If(self.drained):
            m.d.sync += bank.eq(bank_after(bank))

        # A job starts when the writer has room for it.
        m.d.comb += [
            self.jobs.ready.eq(fetch & started.i.ready),
            started.i.valid.eq(fetch & self.jobs.valid),
            started.i.payload.eq(self.jobs.payload),
        ]
        with m.If(fetch):
            m.d.sync += [
                active.eq(self.jobs.valid & started.i.ready),
                last.eq((self.jobs.p.drain.height - 1) >> within),
                left.eq(self.jobs.p.drain.columns), group.eq(0), column.eq(0),
            ]

        m.d.comb += [
            sums.i.valid.eq(delayed(m, ask, self.read_latency, "asked")),
            Value.cast(sums.i.payload).eq(Cat(self.result)),
        ]
        return m
