"""The larger or the smaller of two FP32 values."""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .formats import FLOAT, NAN, is_nan, is_zero


__all__ = ["FloatExtreme"]


class FloatExtreme(wiring.Component):
    """The larger of two FP32 values, or the smaller; NaN if one of them is.

    The numerical references are :func:`verif.reference.floats.maximum` and ``minimum``.

    Latency
    -------
    :attr:`latency` cycles.

    Throughput
    ----------
    One result each cycle.

    Members
    -------
    a, b : ``In(32)``
    smaller : ``In(1)``
        The smaller one is wanted; constant while values are under way.
    o : ``Out(32)``
    """

    latency    = 2
    parameters = ()

    a: In(32)
    b: In(32)
    smaller: In(1)
    o: Out(32)

    def elaborate(self, platform):
        m = Module()
        operands = {"a": self.a, "b": self.b}

        # As integers in the order of the values: positive ones above, negative ones reversed.
        flushed, order = {}, {}
        for name, bits in operands.items():
            flushed[name] = Signal(32, name=f"flushed_{name}")
            order[name]   = Signal(32, name=f"order_{name}")
            value         = flushed[name]
            m.d.comb += [
                value.eq(Mux(is_zero(data.View(FLOAT, bits)), 0, bits)),
                order[name].eq(value ^ Mux(value[31], Const(2**32 - 1, 32), Const(1 << 31, 32))),
            ]

        # Stage 1: compared.
        s1_a    = Signal(32, reset_less=True)
        s1_b    = Signal(32, reset_less=True)
        s1_less = Signal(reset_less=True)
        s1_nan  = Signal(reset_less=True)
        m.d.sync += [
            s1_a.eq(flushed["a"]), s1_b.eq(flushed["b"]),
            s1_less.eq(order["a"] < order["b"]),
            s1_nan.eq(is_nan(data.View(FLOAT, self.a)) | is_nan(data.View(FLOAT, self.b))),
        ]

        # Stage 2: chosen.
        m.d.sync += self.o.eq(Mux(s1_nan, NAN, Mux(s1_less ^ self.smaller, s1_b, s1_a)))
        return m
