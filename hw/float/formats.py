"""Parts of FP32 values, as hardware reads and writes them."""

from amaranth.hdl import Cat, Const, Mux, Signal
from amaranth.lib import data


__all__ = ["FLOAT", "NAN", "INFINITY", "significand", "is_zero", "is_nan", "is_infinite", "is_tiny",
           "pack", "first_set", "shift_left"]


#: The fields of an FP32 value.
FLOAT = data.StructLayout({"mantissa": 23, "exponent": 8, "negative": 1})

#: Bits of every NaN result, and of +infinity.
NAN = 0x7FC00000
INFINITY = 0x7F800000


def is_zero(x):
    """The value is read as zero: subnormals are."""
    return x.exponent == 0


def is_nan(x):
    """The value is a NaN."""
    return (x.exponent == 255) & x.mantissa.any()


def is_infinite(x):
    """The value is an infinity."""
    return (x.exponent == 255) & ~x.mantissa.any()


def significand(x):
    """24 bits with the leading one; 0 for zero."""
    return Mux(is_zero(x), 0, Cat(x.mantissa, Const(1, 1)))


def pack(m, *, negative, exponent, mantissa, increment, zero, nan, infinite=0):
    """Bits of a result, given as a normal number before rounding.

    Parameters
    ----------
    exponent : value
        Biased exponent, signed, of any size; too large a one gives infinity.
    mantissa : value
        23 bits below the leading one.
    increment : value
        One, if the magnitude is to be rounded up.
    zero, infinite, nan : value
        The result is this, whatever the number; the later goes before the earlier. ``zero`` is to
        include :func:`is_tiny`, from before rounding: it is the exact magnitude that is flushed.
    """
    rounded  = Signal(23 + len(exponent))
    overflow = Signal()
    m.d.comb += [
        rounded.eq(Cat(mantissa, exponent) + increment),
        # The largest finite number, rounded up, has the bits of infinity by itself.
        overflow.eq(infinite | (~exponent[-1] & (exponent[8:-1].any() | exponent[:8].all()))),
    ]
    finite = Mux(overflow, Cat(Const(INFINITY, 31), negative), Cat(rounded[:31], negative))
    return Mux(nan, NAN, Mux(zero & ~infinite, 0, finite))


def is_tiny(exponent):
    """The biased, signed exponent is that of a magnitude below the normal numbers."""
    return exponent[-1] | ~exponent.any()


def first_set(m, flags, name):
    """Number of the first of ``flags`` that is set; unspecified if none is."""
    if len(flags) == 1:
        return Const(0, 0)
    half = 1 << (len(flags) - 1).bit_length() - 1
    low, high = flags[:half], flags[half:]
    found = Signal(name=f"{name}_{len(flags)}")
    m.d.comb += found.eq(Cat(low).any())
    inner_low, inner_high = first_set(m, low, f"{name}_l"), first_set(m, high, f"{name}_h")
    return Cat(Mux(found, inner_low, inner_high), ~found)


def shift_left(m, value, amount, name, *, step=1, fill=0):
    """``value`` of constant width, shifted left by ``amount * step`` bits of ``fill``."""
    for n in reversed(range(len(amount))):
        distance = min(step << n, len(value))
        shifted = Signal(len(value), name=f"{name}_{n}")
        filling = Const(0, distance) if isinstance(fill, int) else fill.replicate(distance)
        m.d.comb += shifted.eq(Mux(amount[n], Cat(filling, value)[:len(value)], value))
        value = shifted
    return value
