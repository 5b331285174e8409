"""FP32 adder."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .formats import FLOAT, first_set, is_infinite, is_nan, is_tiny, pack, shift_left, significand


__all__ = ["FloatAdd"]


#: What goes beside the magnitudes.
FLAGS = data.StructLayout({"exponent": 8, "negative": 1, "subtract": 1, "nan": 1, "infinite": 1})


class FloatAdd(wiring.Component):
    """Sum of two FP32 values, rounded once to nearest even.

    The numerical reference is :func:`verif.reference.floats.add`.

    Latency
    -------
    :attr:`latency` cycles.

    Throughput
    ----------
    One sum each cycle.

    Members
    -------
    a, b : ``In(32)``
    o : ``Out(32)``
    """

    latency    = 5
    parameters = ()

    a: In(32)
    b: In(32)
    o: Out(32)

    def elaborate(self, platform):
        m = Module()
        a, b = data.View(FLOAT, self.a), data.View(FLOAT, self.b)
        s1, s2, s3, s4 = (Signal(FLAGS, name=f"s{n}", reset_less=True) for n in range(1, 5))
        m.d.sync += [s2.eq(s1), s3.eq(s2), s4.eq(s3)]

        # Stage 1: order by magnitude.
        s1_a = Signal(24)
        s1_b = Signal(24)
        m.d.comb += [s1_a.eq(significand(a)), s1_b.eq(significand(b))]
        s1_large    = Signal(24, reset_less=True)
        s1_small    = Signal(24, reset_less=True)
        s1_distance = Signal(8, reset_less=True)
        swap        = Signal()
        opposite    = Signal()
        m.d.comb += swap.eq(self.a[:31] < self.b[:31])
        m.d.comb += opposite.eq(a.negative ^ b.negative)
        m.d.sync += [
            s1_large.eq(Mux(swap, s1_b, s1_a)),
            s1_small.eq(Mux(swap, s1_a, s1_b)),
            s1_distance.eq(Mux(swap, b.exponent - a.exponent, a.exponent - b.exponent)),
            s1.exponent.eq(Mux(swap, b.exponent, a.exponent)),
            s1.negative.eq(Mux(swap, b.negative, a.negative)),
            s1.subtract.eq(opposite),
            s1.nan.eq(is_nan(a) | is_nan(b) | (is_infinite(a) & is_infinite(b) & opposite)),
            s1.infinite.eq(is_infinite(a) | is_infinite(b)),
        ]

        # Stage 2: align the smaller one; its lowest bit tells whether anything was lost.
        s2_large = Signal(24, reset_less=True)
        s2_small = Signal(27, reset_less=True)
        m.d.sync += s2_large.eq(s1_large)
        m.d.sync += s2_small.eq(align(m, s1_small, s1_distance))

        # Stage 3: add or subtract the magnitudes.
        s3_sum = Signal(28, reset_less=True)
        addend = Signal(28)
        m.d.comb += addend.eq(s2_small ^ s2.subtract.replicate(28))
        # The lowest bit of the sum carries the one of the two's complement.
        m.d.sync += s3_sum.eq((Cat(s2.subtract, Const(0, 3), s2_large)
                               + Cat(s2.subtract, addend))[1:])

        # Stage 4: move a nibble that is not zero to the top; decide on rounding. Sums that have to
        # be moved by two bits or more are exact.
        s4_sum       = Signal(28, reset_less=True)
        s4_exponent  = Signal(signed(10), reset_less=True)
        s4_increment = Signal(reset_less=True)
        s4_zero      = Signal(reset_less=True)
        nibbles      = Signal(3)
        m.d.comb += nibbles.eq(first_set(m, [s3_sum[n:n + 4].any() for n in range(24, -4, -4)],
                                         "nibble"))
        m.d.sync += [
            s4_sum.eq(shift_left(m, s3_sum, nibbles, "coarse", step=4)),
            s4_exponent.eq(s3.exponent + 1 - (nibbles << 2)),
            s4_zero.eq(~s3_sum.any()),
            s4_increment.eq(Mux(s3_sum[27], s3_sum[3] & (s3_sum[:3].any() | s3_sum[4]),
                            Mux(s3_sum[26], s3_sum[2] & (s3_sum[:2].any() | s3_sum[3]),
                                s3_sum[25] & s3_sum[1] & (s3_sum[0] | s3_sum[2])))),
        ]

        # Stage 5: finish normalisation, round, and pack.
        s5_o = Signal(32, reset_less=True)
        left = Signal(2)
        exponent = Signal(signed(10))
        m.d.comb += left.eq(first_set(m, list(reversed(s4_sum[24:])), "bit"))
        m.d.comb += exponent.eq(s4_exponent - left)
        m.d.sync += s5_o.eq(pack(
            m, negative=s4.negative, exponent=exponent, increment=s4_increment,
            mantissa=shift_left(m, s4_sum, left, "fine")[4:27],
            zero=s4_zero | is_tiny(exponent), infinite=s4.infinite, nan=s4.nan))
        m.d.comb += self.o.eq(s5_o)
        return m


def align(m, value, distance):
    """24-bit ``value`` with three bits more, shifted right; lost bits go into the lowest bit."""
    shifted, lost = Cat(Const(0, 2), value), []
    for n in reversed(range(5)):
        stage   = Signal(26, name=f"align_{n}")
        dropped = Signal(name=f"lost_{n}")
        m.d.comb += stage.eq(Mux(distance[n], shifted[1 << n:], shifted))
        m.d.comb += dropped.eq(distance[n] & shifted[:1 << n].any())
        shifted = stage
        lost.append(dropped)
    far = Signal()
    m.d.comb += far.eq(distance[5:].any())
    # A value is zero if it has no leading one.
    return Cat(Cat(lost).any() | (far & value[-1]), Mux(far, 0, shifted))
