"""Rows on their way through the lanes."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.float.function import Function

from .steps import Route, To


__all__ = ["Flight", "token"]


#: What accompanies a row.
token = data.StructLayout({"to": To, "last": 1, "route": Route, "function": Function})


class Flight(wiring.Component):
    """Delays a row's token by the latency of its route.

    Rows arrive in the order in which they start. A row of another route may start from the cycle
    after ``clear`` on.

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
    function_delay : int
        Cycles from the operand of a function to the row's arrival.

    Members
    -------
    go, i : ``In(1)``, ``In(token)``
        A row starts.
    o : ``Out(token)``
        A row arrives; ``to`` is ``NONE`` in other cycles.
    leaving, loading, applying : ``Out(token)``
        The row that arrives in the next cycle; that becomes operand of the function in the next
        cycle; that is its operand.
    term : ``Out(1)``
        The row that started :attr:`term_delay` cycles ago.
    count : ``Out``
        Rows under way.
    next_route, clear : ``In(Route)``, ``Out(1)``
        Rows of this route, started from the next cycle on, arrive behind those under way.
    """

    def __init__(self, latency, term_delay, function_delay):
        self.latency = latency
        self.term_delay = term_delay
        self.function_delay = function_delay
        super().__init__({
            "go": In(1), "i": In(token),
            "o": Out(token), "leaving": Out(token), "loading": Out(token), "applying": Out(token),
            "term": Out(1), "count": Out(range(max(latency.values()) + 2)),
            "next_route": In(Route), "clear": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        depth  = max(self.latency.values())
        stages = [Signal(token, name=f"stage_{n}") for n in range(depth)]
        for stage, before in zip(stages, stages[1:]):
            m.d.sync += stage.eq(before)
        m.d.sync += stages[-1].eq(0)
        behind = Signal(range(depth))         # cycles until the row that started last arrives
        with m.If(behind != 0):
            m.d.sync += behind.eq(behind - 1)
        with m.If(self.go):
            with m.Switch(self.i.route):
                for route, latency in self.latency.items():
                    with m.Case(route):
                        m.d.sync += [stages[latency - 1].eq(self.i), behind.eq(latency - 1)]
        with m.Switch(self.next_route):
            for route, latency in self.latency.items():
                with m.Case(route):
                    m.d.comb += self.clear.eq(behind <= latency)
        m.d.comb += [
            self.o.eq(stages[0]), self.leaving.eq(stages[1]),
            self.loading.eq(stages[self.function_delay + 1]),
            self.applying.eq(stages[self.function_delay]),
        ]

        late = Signal(self.term_delay)
        m.d.sync += late.eq(late << 1 | self.go)
        m.d.comb += self.term.eq(late[-1])

        arrives = Signal()
        m.d.comb += arrives.eq(self.o.to != To.NONE)
        m.d.sync += self.count.eq(self.count + self.go - arrives)
        return m
