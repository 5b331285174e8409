"""Protects words by the code of :mod:`hw.hsiao`."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .hsiao import check_bits, columns


__all__ = ["encode", "Decoder"]


def encode(word):
    """Check bits of an Amaranth value, combinationally.

    The reference is :func:`verif.reference.ecc.encode`.
    """
    names = columns(len(word))
    return Cat(Cat(bit for bit, name in zip(word, names, strict=True) if name >> row & 1).xor()
               for row in range(check_bits(len(word))))


class Decoder(wiring.Component):
    """Corrects one wrong bit of a code word, and detects two. Combinational.

    The reference is :func:`verif.reference.ecc.decode`.

    Parameters
    ----------
    width : int
        Bits of a word, without its check bits.

    Members
    -------
    i : ``In(width + check_bits(width))``
        The word, and its check bits above it.
    o : ``Out(width)``
    single : ``Out(1)``
        A bit was wrong, of the word or of its check bits; ``o`` is right.
    double : ``Out(1)``
        Two bits were wrong; ``o`` is not to be used. Of three or more some are taken for one.
    """

    def __init__(self, width):
        self.width = width
        self.parameters = (width,)
        super().__init__({"i": In(width + check_bits(width)), "o": Out(width),
                          "single": Out(1), "double": Out(1)})

    def elaborate(self, platform):
        m = Module()
        word, check = self.i[:self.width], self.i[self.width:]
        syndrome = Signal(len(check))
        names = columns(self.width)
        wrong = Cat(syndrome == name for name in names)
        # Check bits have columns of one bit.
        known = wrong.any() | Cat(syndrome == 1 << row for row in range(len(check))).any()
        m.d.comb += [
            syndrome.eq(encode(word) ^ check),
            self.o.eq(word ^ wrong),
            self.single.eq(known), self.double.eq((syndrome != 0) & ~known),
        ]
        return m
