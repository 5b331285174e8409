"""Codes of the values of some KV blocks."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.attention.geometry import BLOCK


__all__ = ["Codes"]


#: Blocks whose codes are held.
BLOCKS = 4


class Codes(wiring.Component):
    """Holds the codes of the values of four blocks, and gives those of a beat.

    Latency
    -------
    A beat's codes can be read as many cycles after ``begins`` as it lies behind the first, and one.

    Throughput
    ----------
    ``softmax_lanes`` codes a cycle in and out. ``i.ready`` does not depend on ``i.valid``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    i : ``In(stream.Signature(256))``
        E8M0 codes of the 32 values of a block. Taken when all are held.
    begins : ``Out(1)``
        From now on the codes of a block go in, one beat a cycle.
    position, read_en, codes : ``In``, ``In(1)``, ``Out``
        Beat of the oldest block, and its codes in the cycle after.
    release : ``In(1)``
        The oldest block is read for the last time.
    """

    def __init__(self, config):
        self.lanes = config.softmax_lanes
        self.position_bits = exact_log2(BLOCK // self.lanes)
        super().__init__({
            "i":        In(stream.Signature(8 * BLOCK)),
            "begins":   Out(1),
            "position": In(self.position_bits),
            "read_en":  In(1),
            "codes":    Out(8 * self.lanes),
            "release":  In(1),
        })

    def elaborate(self, platform):
        m = Module()
        block_bits = exact_log2(BLOCKS)

        # Control: a block goes in while there is room.
        free   = Signal(range(BLOCKS + 1), init=BLOCKS)
        place  = Signal(self.position_bits + block_bits)    # beat to be written
        oldest = Signal(block_bits)
        write_en = Signal()
        position = place[:self.position_bits] if self.position_bits else Const(0)
        end      = BLOCK // self.lanes - 1
        m.d.comb += [
            write_en.eq(self.i.valid & ((free != 0) | (position != 0))),
            self.begins.eq(write_en & (position == 0)),
            self.i.ready.eq(((free != 0) | (position != 0)) & (position == end)),
        ]
        m.d.sync += [
            place.eq(place + write_en),
            free.eq(free - self.begins + self.release),
            oldest.eq(oldest + self.release),
        ]

        # The codes.
        m.submodules.memory = memory = Memory(shape=8 * self.lanes, depth=1 << len(place), init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.addr.eq(place), write.en.eq(write_en),
            write.data.eq(self.i.payload.word_select(position, 8 * self.lanes)),
            read.addr.eq(Cat(self.position, oldest)), read.en.eq(self.read_en),
            self.codes.eq(read.data),
        ]
        return m
