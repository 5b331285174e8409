"""The FP32 lanes of the vector unit, which also form the first levels of its reduction tree."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.verilog import shared

from .lane import Lane, LaneControl
from .steps import Route


__all__ = ["Lanes"]


class Lanes(wiring.Component):
    """``lanes`` times :class:`hw.vector.lane.Lane`.

    As a tree, the adders of lanes 0 to ``lanes - 2`` sum a row of products: the lower half adds
    pairs of products, the next quarter pairs of those sums, and so on.

    Latency
    -------
    :attr:`latency` of the route, from operands to ``o``, or to ``root`` for the tree.

    Throughput
    ----------
    One row each cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    control : ``In(LaneControl)``
    a, b, s : ``In(config.row_bits)``
        Rows of operands; see :class:`hw.vector.lane.Lane`.
    factor, addend : ``In(32)``
    o : ``Out(config.row_bits)``
    root : ``Out(32)``
        Sum of a row of products.
    """

    term_delay = Lane.term_delay

    def __init__(self, config):
        self.config = config
        self.levels = exact_log2(config.lanes)
        self.lane = Lane(config.technology, config.pages > 0)
        self.function_delay = self.lane.function_delay
        self.latency = self.lane.latency | {
            Route.TREE: Lane.term_delay + self.levels * Lane.add_delay}
        super().__init__({
            "control": In(LaneControl),
            "a": In(config.row_bits), "b": In(config.row_bits), "s": In(config.row_bits),
            "factor": In(32), "addend": In(32),
            "o": Out(config.row_bits), "root": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        count = self.config.lanes
        lanes = [shared(self.lane) for _ in range(count)]
        for n, lane in enumerate(lanes):
            m.submodules[f"lane_{n}"] = lane
            m.d.comb += [
                lane.control.eq(self.control), lane.odd.eq(n & 1),
                lane.factor.eq(self.factor), lane.addend.eq(self.addend),
            ]
            for name in ("a", "b", "s"):
                row = getattr(self, name)
                m.d.comb += getattr(lane, name).eq(row.word_select(n, 32))
                if name != "s":
                    m.d.comb += getattr(lane, f"{name}_pair").eq(row.word_select(n ^ 1, 32))
        m.d.comb += self.o.eq(Cat(lane.o for lane in lanes))

        # What the tree has to add, in the order of the lanes that do it.
        terms = [lane.product for lane in lanes] + [lane.total for lane in lanes]
        for n, lane in enumerate(lanes[:-1]):
            m.d.comb += [lane.left.eq(terms[2 * n]), lane.right.eq(terms[2 * n + 1])]
        m.d.comb += self.root.eq(lanes[-2].total)
        return m
