"""Scales beside a beat into factors and exponents."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.formats import FORMATS, ScaleKind

from .layouts import scale_shape


__all__ = ["MEANING", "ScaleDecoder", "bias"]


#: How a scale field is read, and what is added to the exponent in it.
MEANING = data.StructLayout({"scale": ScaleKind, "offset": signed(9)})

#: What is added to the exponent of each kind of scale, for an integer significand. E4M3 has none.
BIASES = {ScaleKind.FP16: -25, ScaleKind.E8M0: -127, ScaleKind.BF16: -134, ScaleKind.E4M3: -9}


def bias(m, kind):
    """What is added to the exponent in a scale field of a :class:`hw.formats.ScaleKind`."""
    found = Signal(signed(9), name="bias")
    with m.Switch(kind):
        for scale, number in BIASES.items():
            with m.Case(scale):
                m.d.comb += found.eq(number)
    return found


class ScaleDecoder(wiring.Component):
    """Decodes a 16-bit scale field.

    The numerical reference is :func:`verif.reference.matmul.scale_parts`. Subnormal scales are
    kept. Of two E4M3 scales the lower one belongs to the first half; their signs do not count.

    Latency
    -------
    None: it is combinational.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    i : ``In(16)``
    meaning : ``In(MEANING)``
    nan : ``In(1)``
        An element is no number.
    o : ``Out(scale_shape(config))``
    """

    def __init__(self, config):
        self.config = config
        self.kinds  = {FORMATS[name].scale for name in config.formats}
        self.shape  = scale_shape(config)
        self.parameters = (*sorted(kind.name for kind in self.kinds), *self.shape.members)
        super().__init__({"i": In(16), "meaning": In(MEANING), "nan": In(1),
                          "o": Out(self.shape)})

    def elaborate(self, platform):
        m = Module()
        i, o, factored = self.i, self.o, "factor" in self.shape.members
        field, nan = Signal(8), Signal()
        m.d.comb += [o.exponent.eq(field + self.meaning.offset), o.nan.eq(nan | self.nan)]
        if factored:
            m.d.comb += o.factor.eq(1)
        if "plain" in self.shape.members:
            m.d.comb += o.plain.eq((self.meaning.scale == ScaleKind.E8M0)
                                   | (self.meaning.scale == ScaleKind.ONE))
        with m.Switch(self.meaning.scale):
            with m.Case(ScaleKind.E8M0):
                m.d.comb += [field.eq(i[:8]), nan.eq(i[:8].all())]
            for kind, mantissa in ((ScaleKind.FP16, 10), (ScaleKind.BF16, 7)):
                if kind in self.kinds:
                    with m.Case(kind):
                        exponent  = i[mantissa:15]
                        normal    = exponent.any()
                        magnitude = Signal(mantissa + 1, name=f"{kind.name.lower()}_magnitude")
                        m.d.comb += [
                            magnitude.eq(Cat(i[:mantissa], normal)),
                            o.factor.eq(Mux(i[15], -magnitude, magnitude)),
                            field.eq(Mux(normal, exponent, 1)), nan.eq(exponent.all()),
                        ]
            if self.config.halves:
                with m.Case(ScaleKind.E4M3):
                    m.d.comb += [o.halved.eq(1), nan.eq(i[:7].all() | i[8:15].all())]
                    for half, code in ((o.first, i[:7]), (o.second, i[8:15])):
                        normal = code[3:].any()
                        m.d.comb += [half.significand.eq(Cat(code[:3], normal)),
                                     half.shift.eq(code[3:] - normal)]
        return m
