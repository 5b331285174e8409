"""Turns rows of channels, as memory holds values, into rows of tokens, as the array takes them."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.attention.geometry import BLOCK, value_row
from hw.signatures import beat


__all__ = ["Transposer"]


#: Bytes of a slice in a beat, which is also the number of byte banks.
BANKS = 16


class Transposer(wiring.Component):
    """Transposes 32 tokens by 16 channels in each slice.

    The numerical reference is :func:`verif.reference.transposer.transpose`.

    Byte ``i`` of token ``t`` lies in bank ``(i + t) % 16``, so that the 16 bytes of a token, and
    the 16 tokens of a byte, lie in different banks. Two tiles fit: one fills while one leaves. A
    bank serves all slices.

    Latency
    -------
    :attr:`latency` cycles from the 32nd row of a tile to its first beat.

    Throughput
    ----------
    One row and one beat per cycle: 32 rows in, ``2 * height`` beats out. ``i.ready`` does not
    depend on ``o.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    i : ``In(stream.Signature(value_row(config)))``
        32 rows for each tile, in token order, with the tile's height.
    o : ``Out(stream.Signature(beat(config)))``
        Row 0 half 0, row 0 half 1, row 1 half 0, ...; scales are 0.
    """

    latency = 2

    def __init__(self, config):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(value_row(config))),
            "o": Out(stream.Signature(beat(config))),
        })

    def elaborate(self, platform):
        m = Module()
        slices = range(self.config.slices)
        lane   = 8 * self.config.slices

        # Control: which tile is written and read, and where in it.
        full       = Signal(2)
        heights    = [Signal(5, name=f"height_{n}") for n in range(2)]
        w_tile     = Signal()
        w_token    = Signal(range(BLOCK))
        r_tile     = Signal()
        r_row      = Signal(range(BANKS))
        r_half     = Signal()
        do_write   = Signal()
        do_read    = Signal()
        advance    = Signal()
        read_last  = Signal()
        m.d.comb += [
            self.i.ready.eq(~full.bit_select(w_tile, 1)),
            do_write.eq(self.i.valid & self.i.ready),
            advance.eq(~self.o.valid | self.o.ready),
            do_read.eq(advance & full.bit_select(r_tile, 1)),
            read_last.eq(r_half & (r_row + 1 == Mux(r_tile, heights[1], heights[0]))),
        ]
        with m.If(do_write):
            m.d.sync += w_token.eq(w_token + 1)
            with m.If(w_token == BLOCK - 1):
                m.d.sync += w_tile.eq(~w_tile)
                m.d.sync += full.bit_select(w_tile, 1).eq(1)
            for n, height in enumerate(heights):
                with m.If(w_tile == n):
                    m.d.sync += height.eq(self.i.p.height)
        with m.If(advance):
            m.d.sync += self.o.valid.eq(do_read)
        with m.If(do_read):
            m.d.sync += r_half.eq(~r_half)
            m.d.sync += r_row.eq(r_row + r_half)
            with m.If(read_last):
                m.d.sync += r_row.eq(0)
                m.d.sync += r_tile.eq(~r_tile)
                m.d.sync += full.bit_select(r_tile, 1).eq(0)

        # Write: lane i of the rotated row is bank i.
        lanes   = Cat(self.i.p.data[s][8 * i:8 * i + 8] for i in range(BANKS) for s in slices)
        written = self.rotate(m, lanes, w_token[:4], "up")

        # Read: each bank has the address of its own token, one cycle before the beat.
        s1_row = Signal(range(BANKS))
        with m.If(advance):
            m.d.sync += s1_row.eq(r_row)
        banks = []
        for n in range(BANKS):
            m.submodules[f"bank_{n}"] = bank = Memory(shape=lane, depth=2 * BLOCK, init=[])
            write, read = bank.write_port(), bank.read_port()
            token = Signal(range(BANKS), name=f"token_{n}")
            m.d.comb += [
                write.addr.eq(Cat(w_token, w_tile)),
                write.data.eq(written[n * lane:(n + 1) * lane]),
                write.en.eq(do_write),
                token.eq(n - r_row),
                read.addr.eq(Cat(token, r_half, r_tile)),
                read.en.eq(do_read),
            ]
            banks.append(read.data)
        turned = self.rotate(m, Cat(banks), s1_row, "down")
        for s in slices:
            m.d.comb += self.o.p.data[s].eq(Cat(turned[p * lane + 8 * s:p * lane + 8 * s + 8]
                                                for p in range(BANKS)))
        return m

    @staticmethod
    def rotate(m, value, lanes, direction):
        """``value`` of 16 lanes rotated by ``lanes`` lanes, to higher (up) or lower ones."""
        lane = len(value) // BANKS
        for k in range(4):
            amount  = lane << k
            rotated = value.rotate_left(amount) if direction == "up" else value.rotate_right(amount)
            level   = Signal(len(value), name=f"{direction}_{k}")
            m.d.comb += level.eq(Mux(lanes[k], rotated, value))
            value = level
        return value
