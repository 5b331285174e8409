"""Arithmetic that technologies provide as hard blocks."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


__all__ = ["Multiplier"]


#: Operand bits of the ECP5 multiplier.
DSP_BITS = 18

#: A product of parts whose widths multiply to no more than this is made of adders.
SMALL = 40


class Multiplier(wiring.Component):
    """Product of two integers, both signed or both unsigned.

    Operands of more than 18 bits are split, and the products of the parts are summed in one cycle
    more; the latency is that with every technology.

    Latency
    -------
    2 cycles (input and output registers), or 3 if an operand is split; see :attr:`latency`.

    Throughput
    ----------
    One product each cycle.

    Parameters
    ----------
    a_width, b_width : int
        Bits of the operands.
    technology : str
        ``ecp5`` places ``MULT18X18D`` with its own registers, one for each pair of parts that is
        not small; ``generic`` multiplies between registers.
    signed : bool
        Operands and product are signed.

    Members
    -------
    a, b : ``In(a_width)``, ``In(b_width)``, signed or not
    o : ``Out(a_width + b_width)``, signed or not
    """

    def __init__(self, a_width, b_width, technology="generic", *, signed=True):
        for name, width in (("a_width", a_width), ("b_width", b_width)):
            most = 3 * DSP_BITS - 2 * bool(signed)
            if not isinstance(width, int) or not 1 <= width <= most:
                raise ValueError(f"{name} must be 1 to {most}, not {width!r}")
        if technology not in ("generic", "ecp5"):
            raise ValueError(f"technology must be generic or ecp5, not {technology!r}")
        self.parameters = (a_width, b_width, technology, signed)
        self.technology = technology
        super().__init__({
            "a": In(Shape(a_width, signed)),
            "b": In(Shape(b_width, signed)),
            "o": Out(Shape(a_width + b_width, signed)),
        })

    @staticmethod
    def latency_of(a_width, b_width):
        """Cycles from operands of these widths to their product."""
        return 2 if max(a_width, b_width) <= DSP_BITS else 3

    @property
    def latency(self):
        """Cycles from operands to product."""
        return self.latency_of(*self.parameters[:2])

    def elaborate(self, platform):
        m = Module()
        if self.technology == "generic":
            a, b = register(m, self.a, "s1_a"), register(m, self.b, "s1_b")
            o = register(m, a * b, "s2_o")
            m.d.comb += self.o.eq(o if self.latency == 2 else register(m, o, "s3_o"))
            return m

        step = chunk_bits(self.a)
        products = [[product(m, f"part_{i}_{j}", a, b) for j, b in enumerate(chunks(self.b))]
                    for i, a in enumerate(chunks(self.a))]
        if self.latency == 2:
            m.d.comb += self.o.eq(products[0][0])
            return m
        if len(products) == 2 and len(products[0]) == 2:
            (low, b_high), (a_high, high) = products
            # The outer products do not overlap.
            outer = Signal.like(self.o)
            m.d.comb += outer.eq(Cat(low[:2 * step], high))
            total = outer + ((a_high + b_high) << step)
        else:
            terms = [value << step * (i + j) for i, row in enumerate(products)
                     for j, value in enumerate(row)]
            total = sum(terms[1:], terms[0])
        s3_o = Signal.like(self.o, reset_less=True)
        m.d.sync += s3_o.eq(total)
        m.d.comb += self.o.eq(s3_o)
        return m


def register(m, value, name):
    """``value``, one cycle later."""
    held = Signal(Shape.cast(value.shape()), name=name, reset_less=True)
    m.d.sync += held.eq(value)
    return held


def chunk_bits(value):
    """Bits of each part but the last of an operand."""
    return DSP_BITS - 1 if value.shape().signed else DSP_BITS


def chunks(value):
    """Parts of ``value`` that each fit a multiplier, from the least significant.

    The lower parts of a signed value are unsigned, and taken with a zero sign.
    """
    if len(value) <= DSP_BITS:
        return [value]
    step = chunk_bits(value)
    if value.shape().signed:
        return [Cat(value[:step], Const(0, 1)).as_signed(), *chunks(value[step:].as_signed())]
    return [value[:step], *chunks(value[step:])]


def product(m, name, a, b):
    """Product of two parts, two cycles later: in a hard multiplier, or in logic if it is small."""
    shape = Shape(len(a) + len(b), a.shape().signed)
    if len(a) * len(b) > SMALL:
        result = Signal(shape, name=name)
        m.submodules[name] = dsp(a, b, result)
        return result
    if len(a) > len(b):
        a, b = b, a
    a, b = register(m, a, f"{name}_a"), register(m, b, f"{name}_b")
    # Not written as a product, for synthesis would take a hard multiplier for that.
    rows = [Mux(a[n], b, 0) << n for n in range(len(a))]
    if shape.signed:
        rows[-1] = -rows[-1]
    return register(m, sum(rows[1:], rows[0]), name)


def dsp(a, b, o):
    """A ``MULT18X18D`` with input and output registers."""
    is_signed = a.shape().signed
    ports = {}
    for letter, value in (("A", a), ("B", b)):
        padding = (value[-1] if is_signed else Const(0, 1)).replicate(DSP_BITS - len(value))
        ports |= {f"i_{letter}{n}": bit for n, bit in enumerate(Cat(value, padding))}
        ports[f"i_SIGNED{letter}"] = Const(is_signed, 1)
        ports[f"i_SOURCE{letter}"] = Const(0, 1)
        ports[f"p_REG_INPUT{letter}_CLK"] = "CLK0"
    ports |= {f"o_P{n}": bit for n, bit in enumerate(o)}
    return Instance("MULT18X18D", p_REG_OUTPUT_CLK="CLK0", i_CLK0=ClockSignal(),
                    i_CE0=Const(1), i_RST0=Const(0), **ports)
