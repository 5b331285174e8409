"""Multipliers of one slice and one column."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.primitives import Multiplier
from hw.verilog import shared

from .layouts import pair_shape, sum_control
from .timing import LOW_BITS, PAIRS, Timing, low_bits


__all__ = ["Cell"]


class Cell(wiring.Component):
    """Exact sums of 32 products of weights and activations, from two beats of 16.

    The cell sums the products of all low and of all high halves of a byte of weights. The block sum
    of weights of 8 bits is ``16 * high + low``. If there are elements that go to the array as
    significand and shift, products of low halves, or of whole weights, are shifted.

    With ``technology = "ecp5"`` one hard multiplier gives both products: of ``(high << 12) + low``.

    Latency
    -------
    ``Timing.sum`` cycles from the first pairs to the sum of a beat: the multiplier's, and one for
    each ``depth`` pairs. One more from there into ``low`` and ``high``.

    Throughput
    ----------
    One beat each cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    weights, act : ``In``
        16 of :func:`hw.matmul.layouts.pair_shape`, and 16 bytes; group ``g`` comes ``g`` cycles
        later than group 0.
    sum : ``In(sum_control)``
        ``en``: the beat that came ``Timing.sum`` cycles ago counts; ``start``: it starts a block.
    low, high : ``Out(signed)``
        Block sums. Without 4-bit formats ``low`` is the whole sum, and there is no ``high``.
    """

    def __init__(self, config):
        self.config     = config
        self.split      = config.split
        self.pair       = pair_shape(config)
        self.parameters = (config.depth, config.technology, self.pair.size, low_bits(config))
        self.groups     = Timing(config).groups
        sums = {"low": Out(signed(low_bits(config)))}
        if self.split:
            sums["high"] = Out(signed(17))
        super().__init__({
            "weights": In(PAIRS * self.pair.size),
            "act": In(8 * PAIRS),
            "sum": In(sum_control),
        } | sums)

    def products(self, m, n):
        """Products of pair ``n``: of the low and of the high half, or of the whole weight."""
        bits   = self.pair.size
        weight = data.View(self.pair, self.weights[bits * n:bits * n + bits])
        low, *high = self.plain_products(m, n, weight)
        if not self.config.shifts:
            return low, *high
        # The shift waits for the product.
        shift = weight.shift
        for stage in range(Timing.multiplier(self.config)):
            held = Signal.like(shift, name=f"shift_{n}_{stage}", reset_less=True)
            m.d.sync += held.eq(shift)
            shift = held
        shifted = Signal(signed(low_bits(self.config) - 5), name=f"shifted_{n}")
        m.d.comb += shifted.eq(low << shift)
        return shifted, *high

    def plain_products(self, m, n, weight):
        """Products of pair ``n``, not shifted."""
        act    = self.act[8 * n:8 * n + 8].as_signed()
        if self.config.technology == "generic":
            if not self.split:
                return (weight.whole * act,)
            return weight.low * act, weight.high * act

        m.submodules[f"multiplier_{n}"] = multiplier = shared(
            Multiplier(*Timing.operands(self.config), self.config.technology))
        m.d.comb += multiplier.b.eq(act)
        if not self.split:
            m.d.comb += multiplier.a.eq(weight.whole)
            return (multiplier.o,)
        # The low half's sign runs through the high half.
        borrowed = Signal(signed(5), name=f"borrowed_{n}")
        m.d.comb += [
            borrowed.eq(weight.high - weight.low[4]),
            multiplier.a.eq(Cat(weight.low, weight.low[4].replicate(LOW_BITS - 5), borrowed)),
        ]
        product = multiplier.o
        return (product[:LOW_BITS].as_signed(),
                product[LOW_BITS:].as_signed() + product[LOW_BITS - 1])

    def elaborate(self, platform):
        m = Module()
        outputs = (self.low, self.high) if self.split else (self.low,)

        # One stage for each group of pairs: partial sums move down.
        partial = [0] * len(outputs)
        for group in range(self.groups):
            first = group * self.config.depth
            products = [self.products(m, n) for n in range(first, first + self.config.depth)]
            for part, terms in enumerate(zip(*products)):
                below = Signal(signed(len(outputs[part]) - 1),
                               name=f"partial_{group}_{part}", reset_less=True)
                m.d.sync += below.eq(tree(list(terms)) + partial[part])
                partial[part] = below

        # Last stage: both halves of a block.
        with m.If(self.sum.en):
            for total, beat in zip(outputs, partial):
                with m.If(self.sum.start):
                    m.d.sync += total.eq(beat)
                with m.Else():
                    m.d.sync += total.eq(total + beat)
        return m


def tree(terms):
    """Sum of terms, as a balanced tree."""
    while len(terms) > 1:
        terms = [sum(terms[n + 1:n + 2], terms[n]) for n in range(0, len(terms), 2)]
    return terms[0]
