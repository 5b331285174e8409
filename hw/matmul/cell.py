"""Multipliers of one slice and one column."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.primitives import Multiplier
from hw.verilog import shared

from .layouts import act_shape, pair_shape, sum_control
from .timing import LOW_BITS, PAIRS, Timing
from .widths import half_bits, high_bits, low_bits, product_bits


__all__ = ["Cell"]


class Cell(wiring.Component):
    """Exact sums of 32 products of weights and activations, from two beats of 16.

    The cell sums the products of all low and of all high halves of a byte of weights. The block sum
    of weights of 8 bits is ``16 * high + low``. Of weights of 16 bits, upper and lower bytes are
    beats of their own. Operands that are significand and shift have products that are shifted.

    With ``technology = "ecp5"`` one hard multiplier gives both products: of ``(high << 12) + low``.

    Latency
    -------
    ``Timing.sum`` cycles from the first pairs to the sum of a beat: the multiplier's, one if
    products are shifted, and one for each ``depth`` pairs. One more from there into ``low`` and
    ``high``.

    Throughput
    ----------
    One beat each cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    weights, act : ``In``
        16 of :func:`hw.matmul.layouts.pair_shape`, and 16 of :func:`hw.matmul.layouts.act_shape`;
        group ``g`` comes ``g`` cycles later than group 0.
    sum : ``In(sum_control)``
        What becomes of the beat that came ``Timing.sum`` cycles ago.
    low, high : ``Out(signed)``
        Block sums, or those of second halves. Without 4-bit formats ``low`` is the whole sum, and
        there is no ``high``.
    first_low, first_high : ``Out(signed)``
        Sums of first halves, if the configuration has scales for halves.
    """

    def __init__(self, config):
        self.config     = config
        self.split      = config.split
        self.pair       = pair_shape(config)
        self.act_pair   = act_shape(config)
        self.bits       = dict(zip(("low", "high"), (low_bits(config), high_bits(config))))
        if not self.split:
            del self.bits["high"]
        widths = [field.width for _, field in (*self.pair, *self.act_pair)]
        self.parameters = (config.depth, config.technology, *widths, *self.bits.values(),
                           *product_bits(config), config.halves, config.having("double"))
        self.groups     = Timing(config).groups
        firsts = {f"first_{name}": Out(signed(half_bits(config))) for name in self.bits}
        super().__init__({
            "weights": In(PAIRS * self.pair.size),
            "act": In(PAIRS * self.act_pair.size),
            "sum": In(sum_control),
            **{name: Out(signed(bits)) for name, bits in self.bits.items()},
            **(firsts if config.halves else {}),
        })

    def products(self, m, n):
        """Products of pair ``n``: of the low and of the high half, or of the whole weight."""
        bits, act_bits = self.pair.size, self.act_pair.size
        weight = data.View(self.pair, self.weights[bits * n:bits * n + bits])
        act    = data.View(self.act_pair, self.act[act_bits * n:act_bits * n + act_bits])
        plain  = self.plain_products(m, n, weight, act.value)
        by_weight = [weight.shift] if "shift" in self.pair.members else []
        by_act    = [act.shift] if "shift" in self.act_pair.members else []
        found = []
        # Weights that are shifted are in the low half alone.
        for name, product, shifts in zip(("low", "high"), plain, (by_weight + by_act, by_act)):
            if shifts:
                width   = product_bits(self.config)[name == "high"]
                shifted = Signal(signed(width), name=f"shifted_{name}_{n}", reset_less=True)
                m.d.sync += shifted.eq(product << self.waiting(m, sum(shifts[1:], shifts[0]),
                                                               f"shift_{name}_{n}"))
                product = shifted
            elif self.config.shifts:
                # As late as the other half.
                later = Signal(product.shape(), name=f"later_{name}_{n}", reset_less=True)
                m.d.sync += later.eq(product)
                product = later
            found.append(product)
        return found

    def waiting(self, m, shift, name):
        """``shift``, when the product comes out of the multiplier."""
        for stage in range(Timing.multiplier(self.config)):
            held = Signal(len(shift), name=f"{name}_{stage}", reset_less=True)
            m.d.sync += held.eq(shift)
            shift = held
        return shift

    def plain_products(self, m, n, weight, act):
        """Products of pair ``n``, not shifted."""
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
        outputs = {name: getattr(self, name) for name in self.bits}

        # One stage for each group of pairs: partial sums move down.
        partial = [0] * len(outputs)
        for group in range(self.groups):
            first = group * self.config.depth
            products = [self.products(m, n) for n in range(first, first + self.config.depth)]
            for part, (terms, bits) in enumerate(zip(zip(*products), self.bits.values())):
                below = Signal(signed(bits - 1), name=f"partial_{group}_{part}", reset_less=True)
                m.d.sync += below.eq(tree(list(terms)) + partial[part])
                partial[part] = below

        # Last stage: both halves of a block.
        with m.If(self.sum.en):
            for (name, total), beat in zip(outputs.items(), partial):
                if self.config.having("double"):
                    beat = Mux(self.sum.upper, beat << 8, beat)
                alone = self.sum.start
                if self.config.halves:
                    alone |= self.sum.apart
                m.d.sync += total.eq(beat + Mux(alone, 0, total))
                if self.config.halves:
                    m.d.sync += getattr(self, f"first_{name}").eq(total)
        return m


def tree(terms):
    """Sum of terms, as a balanced tree."""
    while len(terms) > 1:
        terms = [sum(terms[n + 1:n + 2], terms[n]) for n in range(0, len(terms), 2)]
    return terms[0]
