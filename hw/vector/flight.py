"""Rows on their way through the lanes."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .steps import Route, To


__all__ = ["Flight", "token"]


#: What accompanies a row.
token = data.StructLayout({"to": To, "last": 1})


class Flight(wiring.Component):
    """Delays a row's token by the latency of its route.

    Routes may change only while ``count`` is zero.

    Latency
    -------
    ``latency[route]`` cycles from ``i`` to ``o``.

    Throughput
    ----------
    One row each cycle.

    Parameters
    ----------
    latency : dict
        Route -> cycles.
    term_delay : int
        Cycles after which a row's second term is to be read.

    Members
    -------
    go, i, route : ``In(1)``, ``In(token)``, ``In(Route)``
        A row starts.
    o : ``Out(token)``
        A row arrives; ``to`` is ``NONE`` in other cycles.
    term : ``Out(1)``
        The row that started :attr:`term_delay` cycles ago.
    count : ``Out``
        Rows under way.
    """

    def __init__(self, latency, term_delay):
        self.latency = latency
        self.term_delay = term_delay
        super().__init__({
            "go": In(1), "i": In(token), "route": In(Route),
            "o": Out(token), "term": Out(1),
            "count": Out(range(max(latency.values()) + 2)),
        })

    def elaborate(self, platform):
        m = Module()
        depth  = max(self.latency.values())
        stages = [Signal(token, name=f"stage_{n}") for n in range(depth)]
        for stage, before in zip(stages, stages[1:]):
            m.d.sync += stage.eq(before)
        m.d.sync += stages[-1].eq(0)
        with m.If(self.go):
            with m.Switch(self.route):
                for route, latency in self.latency.items():
                    with m.Case(route):
                        m.d.sync += stages[latency - 1].eq(self.i)
        m.d.comb += self.o.eq(stages[0])

        late = Signal(self.term_delay)
        m.d.sync += late.eq(late << 1 | self.go)
        m.d.comb += self.term.eq(late[-1])

        arrives = Signal()
        m.d.comb += arrives.eq(self.o.to != To.NONE)
        m.d.sync += self.count.eq(self.count + self.go - arrives)
        return m
