"""What quantisers know of the elements that they round to."""

from hw.formats import KV


__all__ = ["Rounding", "roundings", "each"]


class Rounding:
    """Facts about one element, as hardware uses them.

    Attributes
    ----------
    name : str
        One of :data:`hw.formats.KV`.
    number : int
        Of the element in instructions.
    floating : bool
        Codes are sign and magnitude; else they are two's complement.
    bits : int
        Of a significand. Elements below the normal numbers lose one with each binade.
    exponent, least : int
        Of the largest element, and of the smallest normal one: of integers, the same.
    largest : int
        Code of the largest element, without ``zeros``.
    zeros : int
        Bits of a code behind those of its significand.
    ones : int
        The significand of the largest element is ``2 - 2^-ones``.
    """

    def __init__(self, name):
        element = KV[name]
        self.name     = name
        self.number   = list(KV).index(name)
        self.floating = hasattr(element, "mantissa")
        self.zeros    = 0 if self.floating else element.zeros
        self.bits     = (element.mantissa + 1 if self.floating
                         else element.largest.bit_length() - self.zeros)
        self.exponent = element.exponent
        self.least    = element.lsb + self.zeros + self.bits - 1
        self.largest  = int(element.encode(element.largest)) >> self.zeros
        self.ones     = f"{element.largest:b}".rstrip("0").count("1") - 1


def roundings(config):
    """The :class:`Rounding` of everything that a machine quantises to."""
    return tuple(Rounding(name) for name in KV if name in config.activations + config.kv)


def each(m, element, choices):
    """Go through ``choices``, each in the case of a switch that ``element`` is its number.

    The last one also stands for all numbers that are not among them; of one, there is no switch.
    """
    *others, last = choices
    if not others:
        yield last
        return
    with m.Switch(element):
        for rounding in others:
            with m.Case(rounding.number):
                yield rounding
        with m.Default():
            yield last
