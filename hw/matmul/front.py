"""The head of the array: takes a beat apart and gives each part to the columns at its time."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.signatures import ScaleKind, act_write

from .delays import delayed
from .layouts import (
    SCALE,
    TILE_ROWS,
    acc_control,
    drain_read,
    issue,
    lane,
    sum_control,
    value_control,
    write_control,
)
from .timing import PAIRS, Timing


__all__ = ["Front"]


#: Fields of a beat that say where its sum goes.
TARGET = ("row", "tile_row", "old", "shifted", "out", "bank", "done")


class Front(wiring.Component):
    """What comes before column 0.

    A scale is decoded once, and all delays are here, so that columns only pass on what they get.
    A beat of 4-bit weights that ends a block has two sums; the second one follows a cycle later.

    Latency
    -------
    None for ``read`` and the first pairs; :class:`hw.matmul.timing.Timing` for the rest.

    Throughput
    ----------
    One beat each cycle. In the cycle after a beat of 4-bit weights that ends a block, no other sum
    may end.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    issue : ``In(issue)``
        Beats, at most one each cycle.
    act : ``In``
        An ``act_write``, and whether there is one.
    drain : ``In(drain_read)``
        Reads of finished banks.
    o : ``Out(lane)``
        To column 0.
    done : ``Out(1)``
        The sums of a pass are in the bank of column 0, and may be read.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "issue": In(issue(config)),
            "act": In(data.StructLayout({"en": 1, "write": act_write(config)})),
            "drain": In(drain_read(config)),
            "o": Out(lane(config)),
            "done": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, timing, i = self.config, Timing(self.config), self.issue

        m.d.comb += [
            self.o.act.eq(self.act),
            self.o.drain.eq(self.drain),
            self.o.read.en.eq(i.valid), self.o.read.four.eq(i.four),
            self.o.read.address.eq(i.address),
        ]
        products = Signal(sum_control)
        m.d.comb += [products.en.eq(i.valid), products.start.eq(~i.address[0])]
        m.d.comb += self.o.sum.eq(delayed(m, products, timing.sum, "sum"))

        # Sums: one for each beat that ends a block, and of 4-bit weights another a cycle later.
        ends, high = Signal(), Signal()
        m.d.comb += ends.eq(i.valid & i.ends)
        m.d.sync += high.eq(ends & i.four)
        target = data.StructLayout({name: issue(config)[name].shape for name in TARGET})
        now, before, target = Signal(target), Signal(target), Signal(target)
        m.d.comb += [now[name].eq(i[name]) for name in TARGET]
        m.d.sync += before.eq(now)
        m.d.comb += target.eq(now)
        with m.If(high):
            m.d.comb += [target.eq(before), target.row.eq(before.row + 1),
                         target.tile_row.eq(before.tile_row + 1)]

        value = Signal(value_control)
        m.d.comb += [value.four.eq(i.four & ~high), value.high.eq(high)]
        m.d.comb += self.o.value.eq(delayed(m, value, timing.value, "value"))
        acc = Signal(acc_control(config))
        m.d.comb += [
            acc.row.eq(target.row), acc.old.eq(target.old), acc.shifted.eq(target.shifted),
        ]
        m.d.comb += self.o.acc.eq(delayed(m, acc, timing.acc, "acc"))
        write = Signal(write_control(config))
        m.d.comb += [
            write.en.eq(ends | high), write.row.eq(target.row), write.out.eq(target.out),
            write.place.eq(target.tile_row + target.bank * TILE_ROWS),
        ]
        m.d.comb += self.o.write.eq(delayed(m, write, timing.write, "write"))
        # The last sum of a pass: of 4-bit weights it is a high one.
        done = Signal()
        m.d.comb += done.eq((ends & ~i.four | high) & target.done)
        m.d.comb += self.done.eq(delayed(m, done, timing.write + 1, "done"))

        # Only FP16 scales belong to 4-bit weights.
        kind = Signal(ScaleKind)
        m.d.comb += kind.eq(Mux(high, ScaleKind.FP16, i.kind))
        four, half, width = Signal(), Signal(), 8 * config.depth
        m.d.comb += [four.eq(i.four), half.eq(i.address[0])]
        for s in range(config.slices):
            # A signal of its own: each look at a part of a wide one costs time in proportion.
            weights, scale_now = Signal(8 * PAIRS, name=f"data_{s}"), Signal(16, name=f"raw_{s}")
            m.d.comb += [weights.eq(i.beat.data[s]), scale_now.eq(i.beat.scale[s])]
            # Pairs of later groups come later.
            groups = [delayed(m, weights[n:n + width], n // width, f"data_{s}_{n}")
                      for n in range(0, 8 * PAIRS, width)]
            m.d.comb += self.o.data[s].eq(Cat(groups))
            # The first half of a block of 4-bit weights comes with the scale of the low row.
            first, last = Signal(16, name=f"first_{s}"), Signal(16, name=f"last_{s}")
            with m.If(i.valid):
                m.d.sync += last.eq(scale_now)
                with m.If(~half):
                    m.d.sync += first.eq(scale_now)
            chosen = Signal(16, name=f"chosen_{s}")
            m.d.comb += chosen.eq(Mux(high, last, Mux(four, first, scale_now)))
            scale = decode(m, chosen, kind, f"decoded_{s}")
            m.d.comb += self.o.scale[s].eq(delayed(m, scale, timing.value, f"scale_{s}"))
        return m


def decode(m, scale, kind, name):
    """Factor and exponent of a 16-bit scale field."""
    decoded = Signal(SCALE, name=name)
    mantissa, exponent, negative = scale[:10], scale[10:15], scale[15]
    subnormal = exponent == 0
    magnitude = Signal(11, name=f"{name}_magnitude")
    m.d.comb += [
        magnitude.eq(Cat(mantissa, ~subnormal)),
        decoded.factor.eq(1),
    ]
    with m.Switch(kind):
        with m.Case(ScaleKind.FP16):
            m.d.comb += [
                decoded.factor.eq(Mux(negative, -magnitude, magnitude)),
                decoded.exponent.eq(Mux(subnormal, 1, exponent) - 25),
                decoded.nan.eq(exponent == 31),
            ]
        with m.Case(ScaleKind.E8M0):
            m.d.comb += [decoded.exponent.eq(scale[:8] - 133), decoded.nan.eq(scale[:8] == 255)]
        with m.Default():
            m.d.comb += decoded.exponent.eq(-6)
    return decoded
