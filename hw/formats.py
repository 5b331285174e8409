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


__all__ = ["Element", "Integer", "Float", "ELEMENTS", "ScaleKind", "Span", "Format", "FORMATS",
           "ACTIVATIONS", "KV", "BLOCK", "KEYS", "NAN", "PROBABILITIES", "VALUES", "expanded",
           "keys", "named", "supported", "values"]


#: What stands for a number that is none, among integers. No element has this value.
NAN = 1 - 2**31

#: Elements whose products have an exact sum, and that lie together on a tape.
BLOCK = 32


@dataclass(frozen=True)
class Element:
    """What all elements have in common.

    Attributes
    ----------
    name : str
    bits : int
        Stored bits: 4, 6, 8 or 16.
    lsb : int
        An element is an integer times ``2^lsb``.
    nans : tuple of int
        Codes that are no finite number; their integer is :data:`NAN`.
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
    def exponent(self):
        """Of the largest element: it is at least ``2^exponent``, and less than twice that."""
        return self.largest.bit_length() - 1 + self.lsb

    @property
    def dtype(self):
        """Of an array of codes."""
        return np.dtype(np.uint16 if self.bits > 8 else np.uint8)

    @property
    def shifts(self):
        """Whether elements go to the array as significand and shift."""
        return False

    @property
    def packed(self):
        """Whether memory holds two keys or values in a byte."""
        return False

    def decode(self, codes):
        """Integers of an array of codes."""
        return self.integers[np.asarray(codes)]

    @cached_property
    def _order(self):
        """Codes in the order of their integers, of equal ones the lowest first, and these."""
        order = np.argsort(self.integers, kind="stable")
        return order.astype(self.dtype), self.integers[order].astype(np.int64)

    def encode(self, integers):
        """Codes (of ``dtype``) of integers that are elements; zero has the code 0.

        Raises :class:`ValueError` if one is no element.
        """
        integers = np.asarray(integers).astype(np.int64)
        codes, sorted_ = self._order
        at = np.minimum(np.searchsorted(sorted_, integers), len(codes) - 1)
        wrong = sorted_[at] != integers
        if wrong.any():
            raise ValueError(f"{self.name} elements are {int(self.numbers[0])} to {self.largest}, "
                             f"and not all between; {integers[wrong][0]} is none")
        return codes[at]

    def circuit(self, m, code, name):
        """Signed value of the integer of ``code``, a value of ``bits`` bits."""
        wanted = Signal(signed(1 + self.largest.bit_length()), name=name)
        with m.Switch(code):
            for n, integer in enumerate(self.integers.tolist()):
                with m.Case(n):
                    m.d.comb += wanted.eq(integer)
        return wanted


@dataclass(frozen=True)
class Integer(Element):
    """Two's complement.

    Attributes
    ----------
    zeros : int
        Bits at the lower end of each code that are 0. Codes with others are no number.
    """

    zeros: int = 0

    @property
    def packed(self):
        return self.bits - self.zeros <= 4

    def integer(self, code):
        if code % (1 << self.zeros):
            return NAN
        return code - (code >> (self.bits - 1) << self.bits)

    def round(self, x):
        """Nearest integers of float64 ``x``, ties to even, saturated."""
        smallest = int(self.numbers[0]) if self.full else -self.largest
        rounded = np.rint(np.ldexp(x, -self.zeros)) * (1 << self.zeros)
        return np.clip(rounded, smallest, self.largest).astype(self.integers.dtype)

    def circuit(self, m, code, name):
        return code.as_signed()


@dataclass(frozen=True)
class Float(Element):
    """Sign, exponent and mantissa, with subnormals (OCP MX 1.0, OCP OFP8). An infinity is no
    finite number.

    Attributes
    ----------
    mantissa : int
        Bits of the mantissa.
    """

    mantissa: int = 0

    @property
    def shifts(self):
        return self.largest > 127

    @property
    def most_shift(self):
        """Largest shift of :meth:`parts`."""
        return self.largest.bit_length() - self.mantissa - 1

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
        m.d.comb += significand.eq(Mux(code[self.bits - 1], -magnitude, magnitude))
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
    Float("e2m3", 6, -3, mantissa=3),
    Float("e3m2", 6, -4, mantissa=2),
    Float("e5m2", 8, -16, nans=(*range(0x7C, 0x80), *range(0xFC, 0x100)), mantissa=2),
    Integer("int16", 16),
)}


class ScaleKind(enum.Enum, shape=3):
    """Meaning of the 16-bit scale field beside a beat."""

    FP16 = 0
    E8M0 = 1      # low 8 bits: 2^(code - 127)
    ONE = 2       # there is none
    BF16 = 3
    E4M3 = 4      # one for each half of a block, the first in the low 8 bits; without sign

    @property
    def bytes(self):
        """Of a scale field on the tape."""
        return {"ONE": 0, "E8M0": 1}.get(self.name, 2)

    @property
    def dtype(self):
        """Of an array of scales: float16, or codes. Of E4M3 there are two a block."""
        return np.dtype({"FP16": np.float16, "BF16": np.uint16}.get(self.name, np.uint8))

    @property
    def nan(self):
        """A scale that makes all elements of its group NaN."""
        return {"FP16": np.nan, "E8M0": 255, "BF16": 0x7FC0, "E4M3": 0x7F}[self.name]


class Span(enum.Enum, shape=2):
    """Blocks of a row that share a scale field."""

    BLOCK = 0
    FOUR = 1
    ROW = 2


@dataclass(frozen=True)
class Format:
    """Elements in groups along K, each group with a scale.

    Attributes
    ----------
    name : str
    element : :class:`Element`
    scale : :class:`ScaleKind`
    says : str
        A line for users.
    group : int
        Elements that share a scale: 16, 32 or 128; 0 for a whole row.
    factor : bool
        Results are multiplied by an FP32 number that belongs to the matrix.
    """

    name: str
    element: Element
    scale: ScaleKind
    says: str
    group: int = BLOCK
    factor: bool = False

    @property
    def four(self):
        """Whether two rows share a byte."""
        return self.element.bits == 4

    @property
    def six(self):
        """Whether 16 elements are packed into 12 bytes."""
        return self.element.bits == 6

    @property
    def double(self):
        """Whether an element is two bytes, of which each is a beat of its own."""
        return self.element.bits == 16

    @property
    def step(self):
        """Rows that lie on the tape together: heights of tiles are a multiple of it."""
        return 2 if self.four or self.six else 1

    @property
    def whole(self):
        """Whether rows are padded to whole blocks; else they may end in half a block."""
        return self.four or self.six

    @property
    def beats(self):
        """Beats of the array for two rows and one half of a block: 1, 2 or 4."""
        return 1 if self.four else 4 if self.double else 2

    @property
    def span(self):
        """The :class:`Span` of a scale field."""
        return {0: Span.ROW, 4 * BLOCK: Span.FOUR}.get(self.group, Span.BLOCK)

    def fields(self, blocks):
        """Scale fields of a row of so many blocks."""
        return {Span.BLOCK: blocks, Span.FOUR: -(-blocks // 4), Span.ROW: 1}[self.span]

    def scales(self, size):
        """Scales of a row of ``size`` elements."""
        return self.fields(-(-size // BLOCK)) * (2 if self.group == BLOCK // 2 else 1)

    def bits(self, size=4096):
        """Bits of a weight in memory, its share of the scales included, in rows of ``size``."""
        return self.element.bits + 8 * self.scale.bytes / (max(self.group, BLOCK) if self.group
                                                           else size)


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
    Format("nvfp4", ELEMENTS["e2m1"], ScaleKind.E4M3,
           "FP4 E2M1, an FP8 scale for each 16 and an FP32 factor (NVFP4)",
           group=16, factor=True),
    Format("mxfp6", ELEMENTS["e2m3"], ScaleKind.E8M0,
           "FP6 E2M3, a power of two for each 32 (OCP MXFP6)"),
    Format("mxfp6e3m2", ELEMENTS["e3m2"], ScaleKind.E8M0,
           "FP6 E3M2, a power of two for each 32 (OCP MXFP6)"),
    Format("mxfp8e5m2", ELEMENTS["e5m2"], ScaleKind.E8M0,
           "FP8 E5M2, a power of two for each 32 (OCP MXFP8)"),
    Format("int4g128", ELEMENTS["int4"], ScaleKind.FP16,
           "INT4, an FP16 scale for each 128 (groups of AWQ and GPTQ)", group=128),
    Format("int8row", ELEMENTS["int8"], ScaleKind.BF16, "INT8, a BF16 scale for each row", group=0),
    Format("int16", ELEMENTS["int16"], ScaleKind.BF16,
           "INT16, a BF16 scale for each row: the 16-bit baseline", group=0),
)}


def named(name):
    """The :class:`Format` of this name; :class:`ValueError` if there is none."""
    if name not in FORMATS:
        raise ValueError(f"the weight format must be one of {', '.join(FORMATS)}, not {name!r}")
    return FORMATS[name]


#: Elements of activations by name, with an E8M0 code for each 32. Their order is their number in
#: instructions, and they are among those of keys and values, in the same order.
ACTIVATIONS = {"int8": ELEMENTS["mxint8"], "e4m3": ELEMENTS["e4m3"]}

#: Elements of keys and values by name; their order is their number in instructions. Those of INT4
#: are MXINT8 with four bits less, of which memory holds the upper halves.
KV = {"int8": ELEMENTS["mxint8"], "e4m3": ELEMENTS["e4m3"], "e5m2": ELEMENTS["e5m2"],
      "int4": Integer("mxint4", 8, -6, zeros=4)}

#: What probabilities of attention are, whatever other activations are.
PROBABILITIES = ACTIVATIONS["int8"]


def supported(format, activation):
    """Whether the array multiplies a :class:`Format` with activations of this name: the limbs of
    16 bits are no wider than 8, but E4M3 would shift their sums beyond them.
    """
    return not (format.double and ACTIVATIONS[activation].shifts)


def expanded(kv):
    """The :class:`Element` that the array sees of a name of :data:`KV`."""
    return ELEMENTS["mxint8"] if KV[kv].packed else KV[kv]


def keys(kv):
    """The :class:`Format` of keys, with a name of :data:`KV`."""
    return Format("keys", expanded(kv), ScaleKind.E8M0, "a power of two for each 32")


def values(kv):
    """The :class:`Format` of values: their scale belongs to their probability."""
    return Format("values", expanded(kv), ScaleKind.ONE, "")


#: Keys and values of INT8.
KEYS, VALUES = keys("int8"), values("int8")
