"""Scaling and accumulation of the block sums of one slice and one column."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.float.add import FloatAdd
from hw.float.scale import FixedToFloat
from hw.verilog import shared

from .layouts import BANKS, SCALE, TILE_ROWS, value_control, write_control
from .timing import FACTOR_BITS, low_bits, sum_bits


__all__ = ["Accumulator"]


#: An INT8 activation with an E8M0 code has an lsb of 2^(code - LSB).
LSB = 127 + 6


class Accumulator(wiring.Component):
    """FP32 sums over blocks: ``acc[row] = fl32(acc[row] * 2^-shift + fl32(sum * scale))``.

    The numerical reference is :func:`verif.reference.matmul.matmul`.

    The surroundings give each control at its own time of :class:`hw.matmul.timing.Timing`: the
    block sum, ``value``, ``scale`` and ``code`` at ``value``, ``acc_row`` at ``acc``, ``old`` and
    ``shift`` at ``old``, and ``write`` at ``write``.

    Throughput
    ----------
    One term each cycle. A row must not be read before it was written: terms of the same row are at
    least ``Timing.loop`` cycles apart.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    low, high : ``In(signed)``
        Block sums of :class:`hw.matmul.cell.Cell`.
    value : ``In(value_control)``
        Which sum counts. The high sum of 4-bit weights counts a cycle after the low one.
    scale : ``In(SCALE)``
        Scale of the weights.
    code : ``In(8)``
        E8M0 code of the activations.
    acc_row : ``In``
        Row that the term is added to.
    old : ``In(1)``, ``shift`` : ``In(8)``
        Add to the row's value times ``2^-shift``, not to 0.
    write : ``In(write_control)``
        Where the sum goes.
    place : ``In``
        Bank and row that is drained; ``result`` has its value a cycle after ``drain``.
    """

    def __init__(self, config):
        self.config     = config
        self.split      = config.split
        self.sum_bits   = sum_bits(config)
        self.parameters = (self.split, self.sum_bits, config.acc_rows, config.technology)
        sums = {"low": In(signed(low_bits(config)))}
        if self.split:
            sums["high"] = In(signed(17))
        super().__init__({
            "value": In(value_control),
            "scale": In(SCALE),
            "code": In(8),
            "acc_row": In(ceil_log2(config.acc_rows)),
            "old": In(1),
            "shift": In(8),
            "write": In(write_control(config)),
            "drain": In(1),
            "place": In(ceil_log2(BANKS * TILE_ROWS)),
            "result": Out(32),
        } | sums)

    def elaborate(self, platform):
        m = Module()
        m.submodules.scaler = scaler = shared(
            FixedToFloat(self.sum_bits, FACTOR_BITS, self.config.technology))
        m.submodules.adder = adder = shared(FloatAdd())

        # Stage 1: the sum that counts, with its exponent.
        s1_sum      = Signal(signed(self.sum_bits), reset_less=True)
        s1_factor   = Signal(signed(FACTOR_BITS), reset_less=True)
        s1_exponent = Signal(signed(11), reset_less=True)
        s1_nan      = Signal(reset_less=True)
        if self.split:
            held = Signal(signed(17), reset_less=True)
            m.d.sync += held.eq(self.high)
            with m.If(self.value.high):
                m.d.sync += s1_sum.eq(held)
            with m.Else():
                upper = Mux(self.value.four, 0, self.high)
                m.d.sync += s1_sum.eq(self.low + (upper << 4))
        else:
            m.d.sync += s1_sum.eq(self.low)
        m.d.sync += [
            s1_factor.eq(self.scale.factor),
            s1_exponent.eq(self.scale.exponent + self.code - LSB),
            s1_nan.eq(self.scale.nan | (self.code == 255)),
        ]
        m.d.comb += [
            scaler.value.eq(s1_sum),
            scaler.factor.eq(s1_factor),
            scaler.exponent.eq(s1_exponent),
            scaler.nan.eq(s1_nan),
        ]

        # Meanwhile: what the term is added to.
        m.submodules.memory = memory = Memory(shape=32, depth=self.config.acc_rows, init=[])
        read, write = memory.read_port(), memory.write_port()
        stored, old = Signal(32, reset_less=True), Signal(32, reset_less=True)
        m.d.comb += read.addr.eq(self.acc_row)
        m.d.sync += [
            stored.eq(read.data),
            old.eq(Mux(self.old, shifted(m, stored, self.shift), 0)),
        ]
        m.d.comb += [adder.a.eq(scaler.o), adder.b.eq(old)]

        # The sum.
        m.submodules.banks = banks = Memory(shape=32, depth=BANKS * TILE_ROWS, init=[])
        out, drain = banks.write_port(), banks.read_port()
        m.d.comb += [
            write.addr.eq(self.write.row), write.data.eq(adder.o), write.en.eq(self.write.en),
            out.addr.eq(self.write.place), out.data.eq(adder.o),
            out.en.eq(self.write.en & self.write.out),
            drain.addr.eq(self.place), drain.en.eq(self.drain), self.result.eq(drain.data),
        ]
        return m


def shifted(m, x, shift):
    """FP32 ``x * 2^-shift``: the exponent less ``shift``, +0 if that is not positive."""
    exponent = Signal(signed(9))
    m.d.comb += exponent.eq(x[23:31] - shift)
    normal = Cat(x[:23], exponent[:8], x[31])
    return Mux(x[23:31] == 255, x, Mux(exponent > 0, normal, 0))
