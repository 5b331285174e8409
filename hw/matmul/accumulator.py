"""Scaling and accumulation of the block sums of one slice and one column."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.float.add import FloatAdd
from hw.float.scale import FixedToFloat
from hw.verilog import shared

from .layouts import groups, scale_shape, value_control, write_control
from .scaler import BlockScaler
from .widths import half_bits, high_bits, low_bits, plain_bits


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
    low, high, first_low, first_high : ``In(signed)``
        Block sums of :class:`hw.matmul.cell.Cell`.
    value : ``In(value_control)``
        Which sum counts. The high sum of 4-bit weights counts a cycle after the low one.
    scale : ``In(scale_shape(config))``
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
        Bank and group of rows that is drained; ``result`` has its values a cycle after ``drain``.
    """

    def __init__(self, config):
        self.config     = config
        self.split      = config.split
        self.parameters = (config,)
        sums = {"low": In(signed(low_bits(config)))}
        if self.split:
            sums["high"] = In(signed(high_bits(config)))
        if config.halves:
            sums |= {f"first_{name}": In(signed(half_bits(config))) for name in sums}
        super().__init__({
            "value": In(value_control),
            "scale": In(scale_shape(config)),
            "code": In(8),
            "acc_row": In(ceil_log2(config.acc_rows)),
            "old": In(1),
            "shift": In(8),
            "write": In(write_control(config)),
            "drain": In(1),
            "place": In(ceil_log2(groups(config))),
            "result": Out(32).array(config.drain_rows),
        } | sums)

    def elaborate(self, platform):
        m = Module()
        m.submodules.scaler = scaler = BlockScaler(self.config)
        m.submodules.convert = convert = shared(FixedToFloat(scaler.term_bits))
        m.submodules.adder = adder = shared(FloatAdd())

        # Stage 1: the sum that counts, with its scale.
        s1_sum   = Signal(signed(plain_bits(self.config)), reset_less=True)
        s1_scale = Signal(scale_shape(self.config), reset_less=True)
        s1_code  = Signal(signed(11), reset_less=True)
        m.d.sync += [
            s1_sum.eq(self.chosen(m, "")),
            s1_scale.eq(self.scale), s1_scale.nan.eq(self.scale.nan | (self.code == 255)),
            s1_code.eq(self.code - LSB),
        ]
        m.d.comb += [
            scaler.value.eq(s1_sum), scaler.scale.eq(s1_scale), scaler.code.eq(s1_code),
            convert.value.eq(scaler.o), convert.exponent.eq(scaler.exponent),
            convert.nan.eq(scaler.nan),
        ]
        if self.config.halves:
            s1_first = Signal(signed(half_bits(self.config)), reset_less=True)
            m.d.sync += s1_first.eq(self.chosen(m, "first_"))
            m.d.comb += [scaler.first.eq(s1_first), scaler.second.eq(s1_sum)]

        # Meanwhile: what the term is added to.
        m.submodules.memory = memory = Memory(shape=32, depth=self.config.acc_rows, init=[])
        read, write = memory.read_port(), memory.write_port()
        stored, old = Signal(32, reset_less=True), Signal(32, reset_less=True)
        m.d.comb += read.addr.eq(self.acc_row)
        m.d.sync += [
            stored.eq(read.data),
            old.eq(Mux(self.old, shifted(m, stored, self.shift), 0)),
        ]
        m.d.comb += [adder.a.eq(convert.o), adder.b.eq(old)]

        # The sum.
        m.d.comb += [
            write.addr.eq(self.write.row), write.data.eq(adder.o), write.en.eq(self.write.en),
        ]
        # Rows that are read together lie in memories of their own.
        within = exact_log2(self.config.drain_rows)
        for n, result in enumerate(self.result):
            m.submodules[f"banks_{n}"] = banks = Memory(shape=32, depth=groups(self.config),
                                                        init=[])
            out, drain = banks.write_port(), banks.read_port()
            m.d.comb += [
                out.addr.eq(self.write.place[within:]), out.data.eq(adder.o),
                out.en.eq(self.write.en & self.write.out & (self.write.place[:within] == n)),
                drain.addr.eq(self.place), drain.en.eq(self.drain), result.eq(drain.data),
            ]
        return m

    def chosen(self, m, which):
        """The block sum of weights of 8 bits or of a row of 4 bits; the high row comes late."""
        low = getattr(self, f"{which}low")
        if not self.split:
            return low
        high  = getattr(self, f"{which}high")
        held  = Signal.like(high, name=f"{which}held", reset_less=True)
        m.d.sync += held.eq(high)
        upper = Mux(self.value.four, 0, high)
        return Mux(self.value.high, held, low + (upper << 4))


def shifted(m, x, shift):
    """FP32 ``x * 2^-shift``: the exponent less ``shift``, +0 if that is not positive."""
    exponent = Signal(signed(9))
    m.d.comb += exponent.eq(x[23:31] - shift)
    normal = Cat(x[:23], exponent[:8], x[31])
    return Mux(x[23:31] == 255, x, Mux(exponent > 0, normal, 0))
