"""Exact products of block sums with the significands of their scales."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.primitives import Multiplier

from .layouts import bypasses, scale_shape
from .timing import Timing
from .widths import FACTOR_BITS, half_bits, plain_bits, scaled_bits, term_bits


__all__ = ["BlockScaler"]


class BlockScaler(wiring.Component):
    """The integer of a term: ``value * factor``, or ``first * scale 0 + second * scale 1``.

    A factor is the significand of an FP16 or BF16 scale. Sums that are too wide for one have
    scales that are powers of two, and pass by. ``first`` and ``second`` are sums of the halves of
    a block, each of which has an E4M3 scale.

    Latency
    -------
    ``Timing.scaling`` cycles.

    Throughput
    ----------
    One term each cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    value : ``In(signed)``
        Block sum.
    first, second : ``In(signed)``
        Sums of its halves, if the configuration has scales for them.
    scale : ``In(scale_shape(config))``
    code : ``In(signed(11))``
        Added to the scale's exponent.
    o, exponent, nan : ``Out(signed)``, ``Out(signed(12))``, ``Out(1)``
        The term is ``o * 2^exponent``, or NaN.
    """

    def __init__(self, config):
        self.config     = config
        self.plain_bits = plain_bits(config)
        self.scaled     = scaled_bits(config)
        self.term_bits  = term_bits(config)
        self.latency    = Timing.scaling(config)
        self.half_bits  = half_bits(config)
        halves = {"first": In(signed(self.half_bits)), "second": In(signed(self.half_bits))}
        super().__init__({
            "value": In(signed(self.plain_bits)),
            **(halves if config.halves else {}),
            "scale": In(scale_shape(config)),
            "code": In(signed(11)),
            "o": Out(signed(self.term_bits)),
            "exponent": Out(signed(12)),
            "nan": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, scale = self.config, self.scale
        beside = data.StructLayout({"exponent": signed(12), "nan": 1, "plain": 1, "halved": 1})
        s0 = Signal(beside)
        m.d.comb += [
            s0.exponent.eq(scale.exponent + self.code),
            s0.nan.eq(scale.nan),
        ]
        if bypasses(config):
            m.d.comb += s0.plain.eq(scale.plain)
        if config.halves:
            m.d.comb += s0.halved.eq(scale.halved)
        last = self.held(m, s0, self.latency, "beside")
        m.d.comb += [self.exponent.eq(last.exponent), self.nan.eq(last.nan)]

        if self.scaled:
            term = self.product(m)
        if not self.scaled or bypasses(config):
            passed = self.held(m, self.value, self.latency, "passed")
            term = Mux(last.plain, passed, term) if self.scaled else passed
        if config.halves:
            term = Mux(last.halved, self.of_halves(m), term)
        m.d.comb += self.o.eq(term)
        return m

    def held(self, m, value, cycles, name):
        """``value`` of ``cycles`` cycles ago."""
        for n in range(cycles):
            later = Signal(value.shape(), name=f"{name}_{n}", reset_less=True)
            m.d.sync += later.eq(value)
            value = later
        return value

    def product(self, m):
        """The sum times its factor."""
        m.submodules.multiplier = multiplier = Multiplier(
            self.scaled, FACTOR_BITS, self.config.technology)
        m.d.comb += [multiplier.a.eq(self.value[:self.scaled]),
                     multiplier.b.eq(self.scale.factor)]
        return self.held(m, multiplier.o, self.latency - multiplier.latency, "product")

    def of_halves(self, m):
        """The sum of both halves, scaled."""
        shifted = []
        for name in ("first", "second"):
            value, scale = getattr(self, name), self.scale[name]
            # Stage 1: significands.
            rows    = [Mux(scale.significand[n], value, 0) << n for n in range(4)]
            s1      = Signal(signed(self.half_bits + 4), name=f"s1_{name}", reset_less=True)
            s1_shift = Signal(4, name=f"s1_{name}_shift", reset_less=True)
            m.d.sync += [s1.eq(sum(rows[1:], rows[0])), s1_shift.eq(scale.shift)]
            shifted.append(s1 << s1_shift)
        # Stage 2: exponents, and the sum.
        s2_sum = Signal(signed(self.term_bits), reset_less=True)
        m.d.sync += s2_sum.eq(shifted[0] + shifted[1])
        return self.held(m, s2_sum, self.latency - 2, "halves")
