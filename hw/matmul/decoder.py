"""Elements of weights into integers."""

from amaranth.hdl import Cat, Const, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.formats import ELEMENTS

from .layouts import pair_shape
from .timing import PAIRS


__all__ = ["ElementDecoder"]


class ElementDecoder(wiring.Component):
    """A slice's piece of a beat, as integers in two halves each.

    The numerical reference is :meth:`hw.formats.Element.decode`. An element of 8 bits is ``16 *
    high + low``, with an unsigned ``low``; of two elements of 4 bits each is a half.

    Latency
    -------
    None: it is combinational.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    element : ``In``
        ``number`` of an :class:`hw.formats.Element`.
    upper : ``In(1)``
        Of elements of 16 bits these are the upper bytes, not the lower ones.
    i : ``In(128)``
        16 bytes. Elements of 6 bits lie in the lower 96 bits.
    o : ``Out``
        16 of :func:`hw.matmul.layouts.pair_shape`.
    nan : ``Out(1)``
        An element is no number.
    """

    def __init__(self, config):
        self.config = config
        self.parameters = tuple(element.name for element in config.elements)
        super().__init__({
            "element": In(range(len(ELEMENTS))),
            "upper": In(1),
            "i": In(8 * PAIRS),
            "o": Out(PAIRS * pair_shape(config).size),
            "nan": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        shape = pair_shape(self.config)
        nans  = Signal(PAIRS)
        m.d.comb += self.nan.eq(nans.any())
        for n in range(PAIRS):
            byte, six = self.i[8 * n:8 * n + 8], self.i[6 * n:6 * n + 6]
            pair = Signal(shape, name=f"pair_{n}")
            m.d.comb += self.o[shape.size * n:shape.size * (n + 1)].eq(pair)
            with m.Switch(self.element):
                for element in self.config.elements:
                    with m.Case(element.number):
                        m.d.comb += self.decode(m, pair, six if element.bits == 6 else byte,
                                                element, f"{element.name}_{n}")
                        if element.nans:
                            m.d.comb += nans[n].eq(byte.matches(*element.nans))
        return m

    def decode(self, m, pair, byte, element, name):
        if element.bits == 4:
            return [pair.low.eq(element.circuit(m, byte[:4], f"{name}_low")),
                    pair.high.eq(element.circuit(m, byte[4:], f"{name}_high"))]
        if element.shifts:
            significand, shift = element.parts(m, byte, name)
            part = pair.low if "low" in pair.shape().members else pair.whole
            return [part.eq(significand), pair.shift.eq(shift)]
        integer = Signal(signed(9), name=name)
        if element.bits == 16:
            m.d.comb += integer.eq(Cat(byte, byte[7] & self.upper).as_signed())
        else:
            m.d.comb += integer.eq(element.circuit(m, byte, f"{name}_integer"))
        if "low" not in pair.shape().members:
            return [pair.whole.eq(integer)]
        return [pair.low.eq(Cat(integer[:4], Const(0, 1))), pair.high.eq(integer[4:].as_signed())]
