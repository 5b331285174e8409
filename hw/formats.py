"""Number formats of weights: elements, scales, and the formats that combine them.

An element is an integer times a power of two, its ``lsb``. So a block of products has an exact sum,
whatever the format, and all of the array behind the decoders knows integers only.

To add a format, add it to :data:`FORMATS`; a new element or scale, to their tables. Configurations,
tape, quantiser, array, command line and tests follow.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from amaranth.hdl import Cat, Mux, Signal, signed
from amaranth.lib import enum


__all__ = ["Element", "Integer", "Float", "ELEMENTS", "ScaleKind", "Format", "FORMATS", "KEYS",
           "NAN", "VALUES", "named"]


#: What stands for a number that is none, among integers.
NAN = -2**31


@dataclass(frozen=True)
class Element:
    """What all elements have in common.

    Attributes
    ----------
    name : str
    bits : int
        Stored bits: 4 or 8.
    lsb : int
        An element is an integer times ``2^lsb``.
    nans : tuple of int
        Codes that are no number; their integer is :data:`NAN`.
    full : bool
        Quantisers use the smallest integer too, although it has no positive counterpart.
    """

    name: str
    bits: int
    lsb: int = 0
    nans: tuple = ()
    full: bool = False

    @cached_property
    def integers(self):
        """Integer of each code: an array of 2^bits of the smallest type that holds them."""
        found = [NAN if code in self.nans else self.integer(code) for code in range(2**self.bits)]
        return np.array(found, np.min_scalar_type(-max(map(abs, found))))

    @cached_property
    def numbers(self):
        """Integers of the codes that are numbers, ascending."""
        return np.unique(self.integers[self.integers != NAN])

    @property
    def number(self):
        """By which commands know it."""
        return list(ELEMENTS).index(self.name)

    @property
    def largest(self):
        """Largest integer."""
        return int(self.numbers[-1])

    @property
    def shifts(self):
        """Whether integers need more than 8 bits: they go to the array as significand and shift."""
        return self.largest > 127

    def decode(self, codes):
        """Integers of an array of codes."""
        return self.integers[np.asarray(codes)]

    def encode(self, integers):
        """Codes (uint8) of integers that are elements; zero has the code 0.

        Raises :class:`ValueError` if one is no element.
        """
        integers = np.asarray(integers).astype(np.int64)
        low, high = int(self.numbers[0]), int(self.numbers[-1])
        table = np.full(high - low + 1, -1)
        # Of two codes the first one stays: zero is 0, not minus zero.
        for code in reversed(range(2**self.bits)):
            if code not in self.nans:
                table[int(self.integers[code]) - low] = code
        inside = np.clip(integers, low, high)
        codes, nan = table[inside - low], np.isin(integers, [NAN] if self.nans else [])
        wrong = ((codes < 0) | (inside != integers)) & ~nan
        if wrong.any():
            raise ValueError(f"{self.name} elements are {low} to {high}, and not all between; "
                             f"{integers[wrong][0]} is none")
        return np.where(nan, self.nans[0] if self.nans else 0, codes).astype(np.uint8)

    def circuit(self, m, code, name):
        """Signed value of the integer of ``code``, a value of ``bits`` bits."""
        wanted = Signal(signed(1 + self.largest.bit_length()), name=name)
        with m.Switch(code):
            for n, integer in enumerate(self.integers.tolist()):
                with m.Case(n):
                    m.d.comb += wanted.eq(integer)
        return wanted


class Integer(Element):
    """Two's complement."""

    def integer(self, code):
        return code - (code >> (self.bits - 1) << self.bits)

    def round(self, x):
        """Nearest integers of float64 ``x``, ties to even, saturated."""
        smallest = int(self.numbers[0]) if self.full else -self.largest
        return np.clip(np.rint(x), smallest, self.largest).astype(self.integers.dtype)

    def circuit(self, m, code, name):
        return code.as_signed()


@dataclass(frozen=True)
class Float(Element):
    """Sign, exponent and mantissa, with subnormals, without infinity (OCP MX 1.0).

    Attributes
    ----------
    mantissa : int
        Bits of the mantissa.
    """

    mantissa: int = 0

    def integer(self, code):
        negative, code = code >> (self.bits - 1), code & (1 << self.bits - 1) - 1
        exponent, mantissa = code >> self.mantissa, code & (1 << self.mantissa) - 1
        value = (mantissa + (1 << self.mantissa)) << exponent - 1 if exponent else mantissa
        return -value if negative else value

    def parts(self, m, code, name):
        """Significand, signed, and shift of ``code``, whose integer is ``significand << shift``.

        Those of a code that is no number have no meaning.
        """
        exponent = code[self.mantissa:self.bits - 1]
        normal   = Signal(name=f"{name}_normal")
        magnitude = Signal(self.mantissa + 1, name=f"{name}_magnitude")
        m.d.comb += [normal.eq(exponent != 0), magnitude.eq(Cat(code[:self.mantissa], normal))]
        significand = Signal(signed(self.mantissa + 2), name=f"{name}_significand")
        m.d.comb += significand.eq(Mux(code[-1], -magnitude, magnitude))
        return significand, exponent - normal

    def round(self, x):
        """Nearest integers of float64 ``x``: ties to the even mantissa, saturated."""
        magnitude = np.minimum(np.abs(x), self.largest)
        # Of the binade; that of the subnormals is that of the smallest normal numbers.
        exponent = np.maximum(np.frexp(magnitude)[1] - 1, self.mantissa)
        unit = np.ldexp(1.0, exponent - self.mantissa)
        return np.copysign(np.rint(magnitude / unit) * unit, x).astype(self.integers.dtype)


#: Elements by name. ``mxint8`` is an integer with 6 bits below the point.
ELEMENTS = {element.name: element for element in (
    Integer("int4", 4, full=True),
    Integer("int8", 8),
    Integer("mxint8", 8, -6),
    Float("e2m1", 4, -1, mantissa=1),
    Float("e4m3", 8, -9, nans=(0x7F, 0xFF), mantissa=3),
)}


class ScaleKind(enum.Enum, shape=2):
    """Meaning of the 16-bit scale field beside a beat."""

    FP16 = 0
    E8M0 = 1      # low 8 bits: 2^(code - 127)
    ONE = 2       # there is none

    @property
    def bytes(self):
        """Of a scale on the tape."""
        return self.dtype.itemsize

    @property
    def dtype(self):
        """Of an array of scales."""
        return np.dtype({"FP16": np.float16, "E8M0": np.uint8}[self.name])

    @property
    def nan(self):
        """A scale that makes all elements of its group NaN."""
        return {"FP16": np.nan, "E8M0": 255}[self.name]


@dataclass(frozen=True)
class Format:
    """Elements in groups of 32 along K, each group with a scale.

    Attributes
    ----------
    name : str
    element : :class:`Element`
    scale : :class:`ScaleKind`
    says : str
        A line for users.
    """

    name: str
    element: Element
    scale: ScaleKind
    says: str

    @property
    def four(self):
        """Whether two rows share a byte."""
        return self.element.bits == 4

    @property
    def step(self):
        """Rows of a byte."""
        return 2 if self.four else 1

    @property
    def bits(self):
        """Bits of a weight in memory, scales included."""
        return self.element.bits + self.scale.bytes * 8 / 32


#: Formats by name. Their order is their number in instructions: new ones come last.
FORMATS = {format.name: format for format in (
    Format("int8", ELEMENTS["int8"], ScaleKind.FP16, "INT8, an FP16 scale for each 32 (GGUF Q8_0)"),
    Format("int4", ELEMENTS["int4"], ScaleKind.FP16, "INT4, an FP16 scale for each 32 (GGUF Q4_0)"),
    Format("mxint8", ELEMENTS["mxint8"], ScaleKind.E8M0,
           "INT8, a power of two for each 32 (OCP MXINT8)"),
    Format("mxfp4", ELEMENTS["e2m1"], ScaleKind.E8M0,
           "FP4 E2M1, a power of two for each 32 (OCP MXFP4)"),
    Format("mxfp8", ELEMENTS["e4m3"], ScaleKind.E8M0,
           "FP8 E4M3, a power of two for each 32 (OCP MXFP8)"),
    Format("fp8", ELEMENTS["e4m3"], ScaleKind.FP16, "FP8 E4M3, an FP16 scale for each 32"),
)}


def named(name):
    """The :class:`Format` of this name; :class:`ValueError` if there is none."""
    if name not in FORMATS:
        raise ValueError(f"the weight format must be one of {', '.join(FORMATS)}, not {name!r}")
    return FORMATS[name]


#: Keys, and values: a value's scale belongs to its probability.
KEYS   = FORMATS["mxint8"]
VALUES = Format("values", ELEMENTS["mxint8"], ScaleKind.ONE, "INT8 with 6 bits below the point")
