"""The sums of exponentials of all columns, in FP32."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from hw.attention.geometry import vectors
from hw.attention.pipeline import delay
from hw.float.add import FloatAdd
from hw.float.scale import FixedToFloat
from hw.verilog import shared


__all__ = ["vector_update", "Totals"]


def vector_update(config):
    """How a block changes the sum of a vector, which is a column of a group."""
    return data.StructLayout({
        "vector": bits_for(vectors(config) - 1),
        "first":  1,                                    # no block was before
        "last":   1,                                    # none comes after
        "sum":    30,                                   # s
        "below":  signed(18),                           # mb - M'
        "shift":  8,                                    # d
    })


class Totals(wiring.Component):
    """Adds the sum of each block to that of its vector, which is first shifted to its maximum.

    This is ``l`` of step 7 of :func:`verif.reference.softmax.softmax`.

    Latency
    -------
    That of :class:`FixedToFloat` and :class:`FloatAdd`, and 4 cycles, from an update of a last
    block to ``sums``.

    Throughput
    ----------
    One update a cycle, but from one update of a vector to the next at least :attr:`interval`
    cycles, those of the addition.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    update_en, update : ``In(1)``, ``In(vector_update(config))``
        The sum of one vector in a block.
    sums : ``Out(stream.Signature(32))``
        ``l`` of each vector, in the order of the updates of the last block. A queue holds those of
        two heads.
    reserve : ``In(1)``
        A vector of a last block is on its way.
    room : ``Out(1)``
        The queue takes one more than is reserved.
    """

    #: Cycles between two updates of a vector.
    interval = FloatAdd.latency + 2

    def __init__(self, config):
        self.config = config
        super().__init__({
            "update_en": In(1),
            "update":    In(vector_update(config)),
            "sums":      Out(stream.Signature(32)),
            "reserve":   In(1),
            "room":      Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.to_float = to_float = shared(FixedToFloat(31))
        m.submodules.adder    = adder    = shared(FloatAdd())
        update = self.update

        # Stage 1: far below the maximum, the block's sum is 0.
        s1_en       = delay(m, self.update_en, 1, "s1_en", reset_less=False)
        s1          = delay(m, update, 1, "s1")
        s1_exponent = Signal(signed(12), reset_less=True)
        m.d.sync += s1_exponent.eq(Mux(update.below < -1000, -1000, update.below) - 24)

        # Stage 2: the block's sum as FP32.
        cycles    = to_float.latency
        s2_en     = delay(m, s1_en, cycles, "s2_en", reset_less=False)
        s2_vector = delay(m, s1.vector, cycles, "s2_vector")
        s2_shift  = delay(m, s1.shift, cycles, "s2_shift")
        s2_first  = delay(m, s1.first, cycles, "s2_first")
        m.d.comb += [to_float.value.eq(s1.sum), to_float.exponent.eq(s1_exponent)]

        # Stage 3: the sum before, shifted; operands in registers, then the addition.
        m.submodules.memory = memory = Memory(shape=32, depth=vectors(self.config), init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        exponent  = read.data[23:31]
        s3_before = Signal(32, reset_less=True)
        m.d.comb += read.addr.eq(s2_vector)
        m.d.sync += s3_before.eq(Mux(s2_first | (exponent <= s2_shift), 0,
                                     Cat(read.data[:23], exponent - s2_shift)))
        cycles   = adder.latency + 1
        s4_en    = delay(m, s2_en, cycles, "s4_en", reset_less=False)
        s4_last  = delay(m, delay(m, s1.last, to_float.latency, "s2_last"), cycles, "s4_last")
        m.d.comb += [
            adder.a.eq(s3_before),
            adder.b.eq(delay(m, to_float.o, 1, "s3_sum")),
            write.addr.eq(delay(m, s2_vector, cycles, "s4_vector")),
            write.data.eq(adder.o),
            write.en.eq(s4_en),
        ]

        # The last block's sums leave.
        depth = 2 * vectors(self.config)
        free  = Signal(range(depth + 1), init=depth)
        m.submodules.queue = queue = SyncFIFOBuffered(width=32, depth=depth)
        m.d.comb += [
            queue.w_data.eq(adder.o),
            queue.w_en.eq(s4_en & s4_last),
            self.room.eq(free != 0),
        ]
        m.d.sync += free.eq(free - self.reserve + (self.sums.valid & self.sums.ready))
        wiring.connect(m, queue.r_stream, wiring.flipped(self.sums))
        return m
