"""Shares the memory port's reads among its readers."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from ..signatures import read_data, read_request
from .queue import Queue


__all__ = ["ReadArbiter"]


def requesters(config):
    """Who asks, the first one first."""
    return ("table", "gather", "d", "w", *(("fill",) if config.cache else ()))


class ReadArbiter(wiring.Component):
    """Grants one burst at a time, and deals out the words that come.

    The block table goes first, as all that is read from it waits for its word, then gather, D
    and W, and last what fills the cache ahead.

    Whoever requests has room for what it requests, so nothing ever waits behind a word that
    nobody takes.

    Latency
    -------
    One cycle from a request to ``reads``; none from ``data`` to the reader.

    Throughput
    ----------
    One burst and one word each cycle. A ``ready`` of requests depends on ``reads.ready`` and on
    the requests of higher priority, ``data.ready`` on the ``ready`` of the burst's reader.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    table, gather, d, w, fill : ``In(stream.Signature(read_request(config)))``
        ``fill`` only if there is a cache.
    table_data, gather_data, d_data, w_data, fill_data : ``Out(stream.Signature(..))``
        Of ``read_data(config)``.
    reads : ``Out(stream.Signature(read_request(config)))``
    data : ``In(stream.Signature(read_data(config)))``
    """

    def __init__(self, config):
        self.config = config
        names = requesters(config)
        super().__init__({
            **{name: In(stream.Signature(read_request(config))) for name in names},
            **{f"{name}_data": Out(stream.Signature(read_data(config))) for name in names},
            "reads": Out(stream.Signature(read_request(config))),
            "data": In(stream.Signature(read_data(config))),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        # The port's bursts, and the one that waits for it.
        m.submodules.order = order = Queue(data.StructLayout({
            "reader": range(len(requesters(config))), "last": bits_for(config.burst - 1)}),
            config.outstanding + 2)

        # Requests. What is granted stays in a register until the port takes it.
        room = Signal()
        m.d.comb += room.eq(order.i.ready & (~self.reads.valid | self.reads.ready))
        with m.If(self.reads.ready):
            m.d.sync += self.reads.valid.eq(0)
        granted = Const(0)
        for reader, name in enumerate(requesters(config)):
            request = getattr(self, name)
            grant = Signal(name=f"grant_{name}")
            m.d.comb += [request.ready.eq(room & ~granted),
                         grant.eq(request.valid & request.ready)]
            with m.If(grant):
                m.d.comb += [order.i.valid.eq(1), order.i.p.reader.eq(reader),
                             order.i.p.last.eq(request.p.words - 1)]
                m.d.sync += [self.reads.valid.eq(1), self.reads.payload.eq(request.payload)]
            granted |= request.valid

        # Words.
        count = Signal(range(config.burst))
        taken = Signal()
        m.d.comb += taken.eq(self.data.valid & self.data.ready)
        with m.Switch(order.o.p.reader):
            for reader, name in enumerate(requesters(config)):
                target = getattr(self, f"{name}_data")
                m.d.comb += target.payload.eq(self.data.payload)
                with m.Case(reader):
                    m.d.comb += [target.valid.eq(self.data.valid & order.o.valid),
                                 self.data.ready.eq(target.ready & order.o.valid)]
        with m.If(taken):
            m.d.sync += count.eq(count + 1)
            with m.If(count == order.o.p.last):
                m.d.comb += order.o.ready.eq(1)
                m.d.sync += count.eq(0)
        return m
