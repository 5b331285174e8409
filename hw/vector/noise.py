"""Random numbers for the choice of a token."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .scratch import scratch_fill
from .threefry import Threefry


__all__ = ["Noise"]


class Noise(wiring.Component):
    """Fills rows of the scratch memory with numbers ``1.m``, 23 random bits each.

    The numerical reference is the first half of :func:`verif.reference.pick.noise`: element ``n``
    of a vector gets word ``n & 1`` of counter ``(n >> 1, position)``.

    Latency
    -------
    From ``fill`` to ``done``: that of :class:`hw.vector.threefry.Threefry` for each pair of
    elements.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    rows : int
        Rows of the scratch memory.

    Members
    -------
    start, index, position, seed : ``In(1)``, ``In(16)``, ``In(32)``, ``In(64)``
        Begin at block ``index`` of a vector. All but ``start`` are constant until the next start.
    fill, rows : ``In(1)``, ``In(range(rows + 1))``
        Fill so many rows, from the first one on; until ``done``.
    o : ``Out(scratch_fill(config, rows))``
    done : ``Out(1)``
        The last numbers go out.
    """

    def __init__(self, config, rows):
        self.config = config
        super().__init__({
            "start": In(1), "index": In(16), "position": In(32), "seed": In(64),
            "fill": In(1), "rows": In(range(rows + 1)),
            "o": Out(scratch_fill(config, rows)), "done": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        pairs = self.config.lanes // 2
        m.submodules.threefry = threefry = Threefry(
            # Two rounds in a cycle are the longest path of the unit on ecp5.
            rounds=1 if self.config.technology == "ecp5" else 2)

        # Control: the next pair starts when one is done.
        running = Signal()
        pair    = Signal(range(pairs))
        row     = Signal.like(self.o.row)
        last    = Signal()
        # Row and pair are constant long before they are looked at.
        m.d.sync += last.eq((pair == pairs - 1) & (row + 1 == self.rows))
        m.d.comb += [
            self.done.eq(threefry.done & last),
            threefry.start.eq(self.fill & Mux(running, threefry.done & ~last, 1)),
        ]
        with m.If(threefry.start):
            m.d.sync += running.eq(1)
        with m.If(threefry.done):
            m.d.sync += pair.eq(Mux(pair == pairs - 1, 0, pair + 1))
            with m.If(pair == pairs - 1):
                m.d.sync += row.eq(row + 1)
        with m.If(self.done):
            m.d.sync += [running.eq(0), row.eq(0)]

        # Datapath. Counters go on from fill to fill.
        number = Signal(20)
        with m.If(self.start):
            m.d.sync += number.eq(self.index << 4)
        with m.Elif(threefry.start):
            m.d.sync += number.eq(number + 1)
        m.d.comb += [
            threefry.key.eq(self.seed),
            threefry.counter.eq(Cat(number, Const(0, 12), self.position)),
            self.o.en.eq(threefry.done), self.o.row.eq(row), self.o.pairs.eq(1 << pair),
        ]
        one = Const(0x7F, 9)      # sign and exponent of 1.m
        m.d.comb += self.o.data.eq(Cat(threefry.o[9:32], one, threefry.o[41:64], one))
        return m
