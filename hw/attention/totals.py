"""The sums of exponentials of all columns, in FP32."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.attention.pipeline import delay
from hw.attention.probabilities import column_update
from hw.float.add import FloatAdd
from hw.float.scale import FixedToFloat
from hw.verilog import shared


__all__ = ["Totals"]


class Totals(wiring.Component):
    """Adds the sum of each block to that of its column, which is first shifted to its maximum.

    This is ``l`` of step 7 of :func:`verif.reference.softmax.softmax`.

    Latency
    -------
    That of :class:`FixedToFloat` and :class:`FloatAdd`, and 2 cycles, from an update until the next
    of the same column may come. The unit is busy meanwhile.

    Throughput
    ----------
    One update a cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    update_en, update : ``In(1)``, ``In(column_update(config))``
        The sum of one column in a block.
    first, last : ``In(1)``
        No block was before; no block comes after. Constant until the unit is no longer busy.
    sums : ``Out(stream.Signature(32))``
        ``l`` of each column, in the order of the updates of the last block. A queue holds those of
        two blocks.
    room : ``Out(1)``
        The queue takes the sums of all columns.
    busy : ``Out(1)``
        An update is not yet done.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "update_en": In(1),
            "update":    In(column_update(config)),
            "first":     In(1),
            "last":      In(1),
            "sums":      Out(stream.Signature(32)),
            "room":      Out(1),
            "busy":      Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        columns = self.config.columns
        m.submodules.to_float = to_float = shared(FixedToFloat(31))
        m.submodules.adder    = adder    = shared(FloatAdd())

        # Control: a bit travels beside each update.
        moving = Signal(to_float.latency + adder.latency + 1)
        s2_en  = moving[-1]
        m.d.sync += moving.eq(Cat(self.update_en, moving))
        m.d.comb += self.busy.eq(moving.any())

        # Stage 1: the block's sum as FP32. Far below the maximum it is 0.
        below = self.update.below
        m.d.comb += [
            to_float.value.eq(self.update.sum),
            to_float.exponent.eq(Mux(below < -1000, -1000, below) - 24),
        ]

        # Stage 2: the sum before, shifted; operands in registers, then the addition.
        m.submodules.memory = memory = Memory(shape=32, depth=columns, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        s1_column = delay(m, self.update.column, to_float.latency, "s1_column")
        s1_shift  = delay(m, self.update.shift, to_float.latency, "s1_shift")
        exponent  = read.data[23:31]
        s2_before = Signal(32, reset_less=True)
        m.d.comb += read.addr.eq(s1_column)
        m.d.sync += s2_before.eq(Mux(self.first | (exponent <= s1_shift), 0,
                                     Cat(read.data[:23], exponent - s1_shift)))
        m.d.comb += [
            adder.a.eq(s2_before),
            adder.b.eq(delay(m, to_float.o, 1, "s2_sum")),
            write.addr.eq(delay(m, s1_column, adder.latency + 1, "s2_column")),
            write.data.eq(adder.o),
            write.en.eq(s2_en),
        ]

        # The last block's sums leave.
        m.submodules.queue = queue = SyncFIFO(width=32, depth=2 * columns)
        m.d.comb += [
            queue.w_data.eq(adder.o),
            queue.w_en.eq(s2_en & self.last),
            self.room.eq(queue.level <= columns),
        ]
        wiring.connect(m, queue.r_stream, wiring.flipped(self.sums))
        return m
