"""The head of the array: takes a beat apart and gives each part to the columns at its time."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.formats import ACTIVATIONS, PROBABILITIES, ScaleKind
from hw.signatures import act_write
from hw.verilog import shared

from .decoder import ElementDecoder
from .delays import delayed
from .layouts import (
    TILE_ROWS,
    acc_control,
    drain_read,
    issue,
    lane,
    pair_shape,
    sum_control,
    value_control,
    write_control,
)
from .scales import MEANING, ScaleDecoder, bias
from .timing import Timing


__all__ = ["Front"]


#: Fields of a beat that say where its sum goes.
TARGET = ("row", "tile_row", "old", "shifted", "out", "bank", "done")


class Front(wiring.Component):
    """What comes before column 0.

    Weights and scales are decoded once, and all delays are here, so that columns only pass on what
    they get.
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
        The sums of a pass may be read two cycles later, when the drain can ask for them.
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
            self.o.read.en.eq(i.valid),
            self.o.read.address.eq(i.address), self.o.read.activation.eq(i.activation),
        ]
        products = Signal(sum_control)
        m.d.comb += [products.en.eq(i.valid), products.start.eq(i.starts),
                     products.upper.eq(i.upper), products.apart.eq(i.apart)]
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
        m.d.comb += self.done.eq(delayed(m, done, timing.write, "done"))

        # A high sum follows its low one: what its scale means is that of the cycle before.
        meant, meant_before = Signal(MEANING), Signal(MEANING)
        m.d.comb += [meant.scale.eq(i.scale), meant.offset.eq(self.offset(m, i))]
        m.d.sync += meant_before.eq(meant)
        chosen_meaning = Signal(MEANING)
        m.d.comb += chosen_meaning.eq(Mux(high, meant_before, meant))
        four, half = Signal(), Signal()
        width = config.depth * pair_shape(config).size
        m.d.comb += [four.eq(i.four), half.eq(i.address[0])]
        for s in range(config.slices):
            # A signal of its own: each look at a part of a wide one costs time in proportion.
            m.submodules[f"decoder_{s}"] = decoder = shared(ElementDecoder(config))
            weights   = Signal.like(decoder.o, name=f"data_{s}")
            scale_now = Signal(16, name=f"raw_{s}")
            m.d.comb += [
                decoder.element.eq(i.element), decoder.upper.eq(i.upper),
                decoder.i.eq(i.beat.data[s]),
                weights.eq(decoder.o), scale_now.eq(i.beat.scale[s]),
            ]
            # Pairs of later groups come later.
            groups = [delayed(m, weights[n:n + width], n // width, f"data_{s}_{n}")
                      for n in range(0, len(weights), width)]
            m.d.comb += self.o.data[s].eq(Cat(groups))
            # The first half of a block of 4-bit weights comes with the scale of the low row.
            first, last = Signal(16, name=f"first_{s}"), Signal(16, name=f"last_{s}")
            # A block is none if an element of one of its halves is. Of 4 bits all are numbers. Of
            # values, whose blocks have a row of many tokens, no quantiser writes a code that is
            # none, and memory holds anything behind the last token.
            none = Signal(name=f"none_{s}")
            m.d.comb += none.eq(decoder.nan & (i.scale != ScaleKind.ONE))
            odd = Signal(name=f"odd_{s}")
            with m.If(i.valid):
                m.d.sync += last.eq(scale_now)
                with m.If(~half):
                    m.d.sync += [first.eq(scale_now), odd.eq(none)]
            chosen = Signal(16, name=f"chosen_{s}")
            m.d.comb += chosen.eq(Mux(high, last, Mux(four, first, scale_now)))
            m.submodules[f"scale_{s}"] = reader = shared(ScaleDecoder(config))
            m.d.comb += [
                reader.i.eq(chosen), reader.meaning.eq(chosen_meaning),
                reader.nan.eq(~high & (none | (half & odd))),
            ]
            m.d.comb += self.o.scale[s].eq(delayed(m, reader.o, timing.value, f"scale_{s}"))
        return m

    def offset(self, m, i):
        """What is added to the exponent in a scale field: its bias, and the units of elements."""
        lsb, finer = Signal(signed(9), name="lsb"), Signal(signed(9), name="finer")
        with m.Switch(i.element):
            for element in self.config.elements:
                with m.Case(element.number):
                    m.d.comb += lsb.eq(element.lsb)
        # The codes of activations are taken for those of INT8.
        with m.Switch(i.activation):
            for number, name in enumerate(ACTIVATIONS):
                if name in self.config.activations:
                    with m.Case(number):
                        m.d.comb += finer.eq(ACTIVATIONS[name].lsb - PROBABILITIES.lsb)
        return bias(m, i.scale) + lsb + finer
